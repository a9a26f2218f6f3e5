"""amqtt, a broker from pip alone, as a child process: `python -m iot2mqtt_conformance.services.embedded PORT`."""

import asyncio
import logging
import signal
import sys
from importlib.metadata import PackageNotFoundError, version

from iot2mqtt_conformance.services.base import Broker


def find() -> str | None:
    """Return amqtt's version, or None where it is not installed."""
    try:
        return version("amqtt")
    except PackageNotFoundError:
        return None


def amqtt(its_version: str) -> Broker:
    """Return an amqtt broker that is not started yet."""
    return Broker(f"amqtt {its_version}", [sys.executable, "-W", "ignore", "-m", __name__, "{port}"])


async def serve(port: int) -> None:
    """Run the broker until SIGTERM."""
    from amqtt.broker import Broker as Amqtt

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 500}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Amqtt(config)
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(int(sys.argv[1])))
