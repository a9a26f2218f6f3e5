"""The amqtt broker as a program of its own: `python -m iot2mqtt_conformance.services.amqtt_program PORT`.

Two faults of amqtt (seen in 0.11 and 0.12) are mended here, because each makes conforming connectors look wrong.
"""

import asyncio
import logging
import signal
import sys
from typing import Any

from amqtt.broker import Broker
from amqtt.session import Session


class MendedBroker(Broker):  # type: ignore[misc]  # amqtt carries no types
    """amqtt without the faults that the suite would stumble over."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._gone: set[int] = set()

    async def _handle_disconnect(self, client_session: Session, *rest: Any) -> None:
        self._gone.add(id(client_session))
        await super()._handle_disconnect(client_session, *rest)

    async def _handle_message_delivery(self, client_session: Session, handler: Any, waiter: Any) -> bool:
        # A message that arrived before the connection broke is handled after the will: it must not outlast it.
        message = waiter.result()
        if id(client_session) in self._gone and message and message.topic == client_session.will_topic:
            return True
        delivered: bool = await super()._handle_message_delivery(client_session, handler, waiter)
        return delivered

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # At a connection amqtt goes through the filters of all clients: only the session's own may count.
        if any(mine is session for mine, _qos in self._subscriptions.get(subscription[0], [])):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def serve(port: int) -> None:
    """Run the broker on a loopback port until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    broker = MendedBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 500}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(int(sys.argv[1])))
