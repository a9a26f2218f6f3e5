"""Which adapter a stage speaks through; nothing here does any work."""

from collections.abc import Callable
from dataclasses import dataclass

from iot2mqtt_pipeline.adapters.checks import database_fault, kafka_fault, mqtt_fault
from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.adapters.kafka_logs import KafkaLogs
from iot2mqtt_pipeline.adapters.kafka_out import KafkaDeadLetters, KafkaOutbox, KafkaTransaction
from iot2mqtt_pipeline.adapters.mqtt import MqttInbox
from iot2mqtt_pipeline.adapters.mqtt_wire import NEVER
from iot2mqtt_pipeline.adapters.parameters import LiveParameters
from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.bridge import Bridge
from iot2mqtt_pipeline.health import Check
from iot2mqtt_pipeline.letters import SUFFIX
from iot2mqtt_pipeline.processor import Processor
from iot2mqtt_pipeline.settings import Kafka, Settings
from iot2mqtt_pipeline.sink import Sink
from iot2mqtt_pipeline.stage import Figures
from iot2mqtt_pipeline.topics import filters

PROCESSORS = "iot2mqtt-processor"
"""The consumer group of processors, and what their transactional ids begin with."""
SINKS = "iot2mqtt-sink"
"""The consumer group of sinks."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the stages of a pipeline need, each under the name that /health/ready gives it."""

    settings: Settings

    def of(self, stage: str) -> dict[str, Check]:
        """Return the checks of one stage."""
        checks: dict[str, Callable[[], str | None]] = {"kafka": lambda: kafka_fault(self.settings.kafka.client())}
        if stage == "bridge":
            checks["mqtt"] = lambda: mqtt_fault(self.settings.mqtt.host, self.settings.mqtt.port)
        if stage == "processor":
            checks["postgres"] = lambda: database_fault(self.settings.postgres.connection())
        if stage == "sink":
            checks["timescale"] = lambda: database_fault(self.settings.timescale.connection())
        return checks


def topics(kafka: Kafka) -> dict[str, int]:
    """Return the topics of the pipeline and how many partitions each begins with."""
    read = {kafka.raw_topic: kafka.partitions, kafka.decoded_topic: kafka.partitions}
    return read | dict.fromkeys((topic + SUFFIX for topic in read), 1)


def bridge(settings: Settings, figures: Figures, *, expiry: int = NEVER) -> Bridge:
    """Return a bridge from MQTT to Kafka, whose session the broker forgets after so many seconds without it."""
    mqtt = settings.mqtt
    inbox = MqttInbox(settings=mqtt, filters=filters(mqtt.base_topic), figures=figures, expiry=expiry)
    outbox = KafkaOutbox(client=settings.kafka.client())
    return Bridge(inbox=inbox, outbox=outbox, topic=settings.kafka.raw_topic, figures=figures)


def processor(settings: Settings, figures: Figures, *, name: str, parameters: LiveParameters) -> Processor:
    """Return a processor.

    Args:
        settings: The settings.
        figures: Counts what happens.
        name: Distinguishes it from other processors that run, and is the same when it is started again.
        parameters: Followed by whoever runs it.
    """
    client = settings.kafka.client()
    source = KafkaSource(client=client, group=PROCESSORS, topics=[settings.kafka.raw_topic])
    return Processor(
        source=source,
        transaction=KafkaTransaction(client=client, name=f"{PROCESSORS}-{name}", source=source),
        parameters=parameters.current,
        unknown=settings.unknown,
        raw_topic=settings.kafka.raw_topic,
        decoded_topic=settings.kafka.decoded_topic,
        figures=figures,
        batch=settings.batch_size,
    )


def sink(settings: Settings, figures: Figures) -> Sink:
    """Return a sink."""
    client = settings.kafka.client()
    store = TimescaleStore(
        parameters=settings.timescale.connection(),
        retention_days=settings.retention_days,
        logs=KafkaLogs(client=client),
    )
    return Sink(
        source=KafkaSource(client=client, group=SINKS, topics=[settings.kafka.decoded_topic], on_assign=store.starts),
        store=store,
        dead_letters=KafkaDeadLetters(client=client),
        batch_size=settings.batch_size,
        batch_timeout=settings.batch_timeout,
        figures=figures,
    )
