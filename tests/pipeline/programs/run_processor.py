"""A processor as a process of its own; its arguments are one JSON object. SIGTERM ends it."""

import json
import logging
import signal
import sys
from threading import Event

from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.adapters.kafka_out import KafkaTransaction
from iot2mqtt_pipeline.parameters import ParameterTable
from iot2mqtt_pipeline.processor import Processor


def main() -> None:
    given = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO)
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    source = KafkaSource(client=given["kafka"], group=given["group"], topics=[given["raw"]])
    processor = Processor(
        source=source,
        transaction=KafkaTransaction(client=given["producer"], name=given["name"], source=source),
        parameters=lambda: ParameterTable([]),
        unknown="pass",
        raw_topic=given["raw"],
        decoded_topic=given["decoded"],
        batch=given["batch"],
    )
    processor.run(stopping.is_set)


if __name__ == "__main__":
    main()
