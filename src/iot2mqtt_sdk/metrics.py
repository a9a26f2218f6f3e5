"""The optional Prometheus endpoint of a connector (METRICS_PORT); needs the extra `metrics`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.runtime.device import DeviceState

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Metrics:
    """What Prometheus is told; collected anew whenever it asks.

    Args:
        mqtt: The connection, with what was counted.
        about: Labels of the connector.
        devices: Its devices by id.
    """

    def __init__(self, *, mqtt: MQTTClient, about: dict[str, str], devices: Mapping[str, DeviceState]) -> None:
        self._mqtt = mqtt
        self._figures = mqtt.figures
        self._about = about
        self._devices = devices

    def collect(self) -> Iterator["Metric"]:
        """Yield the metrics, as prometheus-client's registries ask for them."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        enabled = [device for device in self._devices.values() if device.enabled]
        yield InfoMetricFamily("iot2mqtt_connector", "The connector.", value=self._about)
        yield GaugeMetricFamily("iot2mqtt_connected", "1 while the instance is online.", value=self._mqtt.connected)
        yield GaugeMetricFamily("iot2mqtt_devices", "Enabled devices.", value=len(enabled))
        online = sum(device.online for device in enabled)
        yield GaugeMetricFamily("iot2mqtt_devices_online", "Enabled devices that can be reached.", value=online)
        yield from self._counters()
        yield self._durations()

    def _counters(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily

        figures = self._figures
        reconnects = max(0, figures.connections - 1)
        for name, text, value in (
            ("polls", "Readings of a device: polls, and those that follow a command or a get.", figures.polls),
            ("poll_failures", "Polls that failed.", figures.failures),
            ("messages_published", "Messages handed to the broker.", figures.published),
            ("messages_received", "Messages that came from the broker.", figures.received),
            ("reconnects", "Times that the instance came back online.", reconnects),
        ):
            yield CounterMetricFamily(f"iot2mqtt_{name}", text, value=value)
        commands = CounterMetricFamily(
            "iot2mqtt_commands", "Commands by result: success, or the code of the error.", labels=["result"]
        )
        for result, count in sorted(figures.commands.items()):
            commands.add_metric([result], count)
        yield commands

    def _durations(self) -> "Metric":
        from prometheus_client.core import HistogramMetricFamily

        buckets = [
            ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in self._figures.cumulative()
        ]
        return HistogramMetricFamily(
            "iot2mqtt_poll_duration_seconds",
            "How long polls took.",
            buckets=buckets,
            sum_value=self._figures.seconds,
        )


class Endpoint:
    """The HTTP server that Prometheus asks.

    Args:
        metrics: What it is told.
        host: METRICS_HOST.
        port: METRICS_PORT.
    """

    def __init__(self, metrics: Metrics, *, host: str, port: int) -> None:
        self._metrics = metrics
        self._host = host
        self._port = port
        self._server: Any = None

    def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigurationError: prometheus-client is not installed, or nobody can listen there.
        """
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
        except ModuleNotFoundError:
            raise ConfigurationError(
                "METRICS_PORT is set, and prometheus-client is not installed: pip install 'iot2mqtt-sdk[metrics]'"
            ) from None
        registry = CollectorRegistry()
        registry.register(self._metrics)
        ProcessCollector(registry=registry)
        try:
            self._server, _thread = start_http_server(self._port, self._host, registry)
        except OSError as error:
            place = f"{self._host}:{self._port}"
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"the metrics cannot be served on {place}: {reason}; set METRICS_HOST and METRICS_PORT to an address "
                "of this machine that is free"
            ) from None

    def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
