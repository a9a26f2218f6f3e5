# Written as connectors for IoT2mqtt are: only the import of the SDK is new.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, ARG001, G004
import logging
import os
import signal
import sys

from connector import Connector

logging.basicConfig(level=getattr(logging, os.getenv("LOG_LEVEL", "INFO").upper(), logging.INFO))
logger = logging.getLogger(__name__)


def main():
    instance_name = os.getenv("INSTANCE_NAME")
    if not instance_name:
        logger.error("INSTANCE_NAME not set")
        sys.exit(1)
    connector = Connector(instance_name=instance_name)

    def signal_handler(signum, frame):
        logger.info(f"Received signal {signum}")
        connector.stop()
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal_handler)
    signal.signal(signal.SIGINT, signal_handler)
    if not connector.start():
        sys.exit(1)
    connector.run_forever()


if __name__ == "__main__":
    main()
