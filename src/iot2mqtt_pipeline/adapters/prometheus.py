"""What a stage counts, as Prometheus reads it."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from iot2mqtt_pipeline.stage import Partition

_SIZES = (1, 10, 100, 1000, 5000, 20_000, 100_000)
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class PrometheusFigures:
    """The metrics of a process, whatever number of stages it runs.

    Args:
        registry: Where they are.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"iot2mqtt_pipeline_{name}", text, ["stage", *labels], registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"iot2mqtt_pipeline_{name}", text, ["stage"], buckets=buckets, registry=registry)

        self.received = counter("received", "Messages or records that came in, repeats included.")
        self.forwarded = counter("forwarded", "Records that are safe where they were to go.")
        self.dead_letters = counter("dead_letters", "Records that were set aside, by reason.", "reason")
        self.duplicates = counter("duplicates", "Rows that were in the table already.")
        self.troubles = counter("troubles", "Times that a server was away or refused for now.", "what")
        self.connections = counter("connections", "Connections that were made, the first one too.")
        self.sizes = histogram("batch_records", "Records of a batch.", _SIZES)
        self.seconds = histogram("batch_seconds", "Time from receiving a batch until it was safe.", _SECONDS)
        self.lag = Gauge(
            "iot2mqtt_pipeline_lag_records",
            "Records that are still to be read.",
            ["stage", "topic", "partition"],
            registry=registry,
        )
        ProcessCollector(registry=registry)


class StageFigures:
    """The figures of one stage (stage.Figures).

    Args:
        metrics: Where they are shown.
        stage: bridge, processor or sink; the label of every figure.
    """

    def __init__(self, metrics: PrometheusFigures, stage: str) -> None:
        self._received = metrics.received.labels(stage)
        self._forwarded = metrics.forwarded.labels(stage)
        self._dead_letters = metrics.dead_letters
        self._duplicates = metrics.duplicates.labels(stage)
        self._sizes = metrics.sizes.labels(stage)
        self._seconds = metrics.seconds.labels(stage)
        self._troubles = metrics.troubles
        self._connections = metrics.connections.labels(stage)
        self._lag = metrics.lag
        self._stage = stage
        self._lagging: set[Partition] = set()

    def received(self, count: int) -> None:
        """Count records or messages that came in."""
        self._received.inc(count)

    def forwarded(self, count: int) -> None:
        """Count records that are safe where they were to go."""
        self._forwarded.inc(count)

    def dead_letter(self, reason: str) -> None:
        """Count a record that went to the dead letters."""
        self._dead_letters.labels(self._stage, reason).inc()

    def duplicates(self, count: int) -> None:
        """Count rows that were there already."""
        self._duplicates.inc(count)

    def batch(self, size: int, seconds: float) -> None:
        """Note a batch."""
        self._sizes.observe(size)
        self._seconds.observe(seconds)

    def trouble(self, what: str) -> None:
        """Count a transient failure."""
        self._troubles.labels(self._stage, what).inc()

    def connected(self) -> None:
        """Count a connection that was made."""
        self._connections.inc()

    def lag(self, lag: Mapping[Partition, int]) -> None:
        """Note how many records are still to be read; partitions that others have taken over are left out."""
        for topic, partition in self._lagging - lag.keys():
            self._lag.remove(self._stage, topic, str(partition))
        for (topic, partition), records in lag.items():
            self._lag.labels(self._stage, topic, str(partition)).set(records)
        self._lagging = set(lag)
