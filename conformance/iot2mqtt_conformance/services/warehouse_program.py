"""Runs Kafka and PostgreSQL until SIGTERM, and prints one line of JSON: where they are, or why they are not.

A process of its own, because it alone of the suite imports the pipeline's code, and only to start these servers.
"""

import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Never

from iot2mqtt_pipeline.servers import embedded, kafka_jars
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.kafka import running as running_kafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres, temporary_folder
from iot2mqtt_pipeline.servers.postgres import running as running_postgres
from iot2mqtt_sdk.errors import ConfigurationError

TOPICS = ("raw_iot_data", "decoded_iot_data", "raw_iot_data.dlq", "decoded_iot_data.dlq")
"""What the embedded Kafka cannot create later."""
GENTLY = 3
"""How much later than connectors they get the processor: what starts here must make no connector look slow."""


def _kafka(mode: str, folder: Path, stack: ExitStack) -> tuple[str, str]:
    """Start Kafka; return its address, and what it is."""
    if mode == "local" or (mode == "auto" and kafka_jars.at_hand()):
        return stack.enter_context(
            running_kafka(LocalKafka(folder=folder / "kafka"))
        ).bootstrap, "Kafka of this machine"
    return stack.enter_context(embedded.kafka(TOPICS)), "Kafka embedded (the mock cluster of librdkafka, in memory)"


def _serve(mode: str) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        server = LocalPostgres(folder=folder / "postgres", durable=False, from_pip=mode == "embedded")
        stack.enter_context(running_postgres(server))
        kafka, said = _kafka(mode, folder, stack)
        _say(kafka=kafka, database=server.connection(), said=said)
        # In slices: a signal that arrives just before a wait does not end it.
        while not threading.Event().wait(1):
            pass


def _say(**facts: Any) -> None:
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()


def _end(number: int, _frame: object) -> Never:
    """Leave from wherever we are, also while a server starts; what has started is stopped on the way."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def main() -> int:
    """Serve until told to end, and return the exit code."""
    os.nice(GENTLY)
    signal.signal(signal.SIGTERM, _end)
    try:
        _serve(sys.argv[1])
    except ConfigurationError as error:
        _say(error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
