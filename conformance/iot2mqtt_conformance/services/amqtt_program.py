"""The amqtt broker as a program of its own: `python -m iot2mqtt_conformance.services.amqtt_program PORT`.

amqtt (seen in 0.11 and 0.12) departs from MQTT 3.1.1 in ways that make conforming connectors look wrong, and others
right. What the suite could stumble over is mended here; the sections named are those of the standard. What is left:

- only MQTT 3.1.1 is spoken;
- a malformed packet, such as a PUBLISH to a topic with a wildcard, is passed over, and the connection goes on (4.8);
- what a persistent session has not acknowledged when its connection breaks is not sent again (4.4).
"""

import asyncio
import logging
import math
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from amqtt.broker import Broker
from amqtt.errors import AMQTTError, BrokerError, MQTTError, NoDataError
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler, Subscription, UnSubscription
from amqtt.session import Session
from amqtt.utils import gen_client_id

REFUSED = 0x80
PATIENCE = 1.5
"""How many keep-alives a client may be silent (3.1.2.10)."""
AGAIN = 0.1
"""Seconds after which a reader that does not end is told again to do so."""
OF_A_CONNECTION = (
    "clean_session",
    "will_flag",
    "will_message",
    "will_topic",
    "will_qos",
    "will_retain",
    "keep_alive",
    "username",
    "password",
)


class MendedHandler(BrokerProtocolHandler):  # type: ignore[misc]  # amqtt carries no types
    """One connection, whose packets are worked on in the order in which they came (4.6).

    amqtt keeps a queue for each kind of packet: what a client publishes right before it disconnects is lost, and what
    it publishes before its connection breaks may outlast its will.
    """

    async def handle_subscribe(self, subscribe: Any) -> None:
        """A SUBSCRIBE came."""
        await self._work(Subscription(subscribe.variable_header.packet_id, subscribe.payload.topics))

    async def handle_unsubscribe(self, unsubscribe: Any) -> None:
        """An UNSUBSCRIBE came."""
        await self._work(UnSubscription(unsubscribe.variable_header.packet_id, unsubscribe.payload.topics))

    async def handle_disconnect(self, disconnect: DisconnectPacket | None) -> None:
        """The end of the connection; None where the client did not announce it."""
        await self._work(disconnect)

    async def handle_connect(self, connect: Any) -> None:
        """A second CONNECT is a violation that ends the connection (3.1.0-2)."""
        del connect
        await self._work(None)

    def handle_read_timeout(self) -> None:
        """Nothing came for one and a half keep-alives: the connection has ended (3.1.2.10)."""
        self.session.delivered_message_queue.put_nowait(None)

    async def stop(self) -> None:
        """End the connection; up to Python 3.11 a task that is in asyncio.wait_for may miss that it is cancelled."""
        reader = self._reader_task
        while reader is not None and reader is not asyncio.current_task() and not reader.done():
            reader.cancel()
            await asyncio.wait({reader}, timeout=AGAIN)
        await super().stop()

    async def _work(self, what: Any) -> None:
        await self.session.delivered_message_queue.put(what)


class MendedBroker(Broker):  # type: ignore[misc]  # amqtt carries no types
    """amqtt without the faults that the suite would stumble over."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._served: dict[str, tuple[MendedHandler, asyncio.Event]] = {}
        self._sending: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------------ connections
    async def _initialize_client_session(
        self, reader: Any, writer: Any, remote_address: str, remote_port: int
    ) -> tuple[MendedHandler, Session]:
        del remote_address, remote_port
        try:
            handler, session = await MendedHandler.init_from_connect(reader, writer, self.plugins_manager)
        except (AMQTTError, MQTTError, NoDataError):
            await writer.close()
            raise
        session.client_id = session.client_id or gen_client_id()
        session.keep_alive = math.ceil(session.keep_alive * PATIENCE)
        await self._take_over(session.client_id)
        kept, _ = self._sessions.get(session.client_id, (None, None))
        if kept is None or session.clean_session:
            await self._delete_session(session.client_id)
            session.parent = 0
            return handler, session
        for name in OF_A_CONNECTION:
            setattr(kept, name, getattr(session, name))
        kept.delivered_message_queue = asyncio.Queue()
        kept.parent = 1
        return handler, kept

    async def _take_over(self, client_id: str) -> None:
        """End the older connection of a client id before the newer one begins (3.1.4-2)."""
        if client_id in self._served:
            handler, ended = self._served[client_id]
            await handler.handle_disconnect(None)
            await ended.wait()

    async def _authenticate(self, session: Session, listener: Any) -> bool:
        # An anonymous client may have a session that lasts, too.
        del session, listener
        return True

    async def _client_message_loop(self, client_session: Session, handler: MendedHandler) -> None:
        ended = asyncio.Event()
        self._served[client_session.client_id] = (handler, ended)
        try:
            last = await self._serve(client_session, handler)
            await self._part(client_session, handler, last)
        finally:
            if self._served.get(client_session.client_id) == (handler, ended):
                del self._served[client_session.client_id]
            ended.set()

    async def _serve(self, session: Session, handler: MendedHandler) -> DisconnectPacket | None:
        """Work on what a client sends until its connection ends; return how."""
        while True:
            work = await session.delivered_message_queue.get()
            if work is None or isinstance(work, DisconnectPacket):
                return work
            if isinstance(work, Subscription):
                await self._subscribe(session, handler, work)
            elif isinstance(work, UnSubscription):
                for topic_filter in work.topics:
                    self._del_subscription(topic_filter, session)
                self._send(handler.mqtt_acknowledge_unsubscription(work.packet_id))
            else:
                await self._publish(session, work)

    async def _part(self, session: Session, handler: MendedHandler, last: DisconnectPacket | None) -> None:
        """A connection has ended: publish the will of a client that did not say DISCONNECT (3.1.2.5)."""
        # The will is for the others: nothing is sent any more on a connection that ends.
        session.transitions.disconnect()
        if last is None and session.will_flag:
            self._pass_on(session.will_topic, session.will_message, session.will_qos)
            if session.will_retain:
                await self.retain_message(session, session.will_topic, session.will_message, session.will_qos)
        await self._stop_handler(handler)
        if session.clean_session:
            await self._delete_session(session.client_id)

    # ------------------------------------------------------------------ messages
    async def _publish(self, session: Session, message: Any) -> None:
        if message.topic.startswith("$"):
            return
        self._pass_on(message.topic, message.data, message.qos)
        if message.publish_packet.retain_flag:
            await self.retain_message(session, message.topic, message.data, message.qos)

    def _pass_on(self, topic: str, data: bytes, qos: int) -> None:
        """Send a message to whoever is subscribed now, with the lower of the two QoS and without the flag (3.3.1-9)."""
        for topic_filter, subscriptions in self._subscriptions.items():
            if self._matches(topic, topic_filter):
                for session, granted in subscriptions:
                    self._give(session, topic, data, min(qos, granted), retain=False)

    def _give(self, session: Session, topic: str, data: bytes, qos: int, *, retain: bool) -> None:
        handler = self._get_handler(session)
        if handler is not None and session.transitions.state == "connected":
            self._send(handler.mqtt_publish(topic, data, qos, retain=retain))
        elif qos and not session.clean_session:
            session.retained_messages.put_nowait((topic, data, qos))

    async def _publish_session_retained_messages(self, session: Session) -> None:
        """Send what came while a session was away: to amqtt these are retained, to the standard live (3.3.1-9)."""
        for _ in range(session.retained_messages.qsize()):
            self._give(session, *session.retained_messages.get_nowait(), retain=False)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """At a connection amqtt sends what is retained for the filters of all clients; only SUBSCRIBE asks for it."""

    async def _subscribe(self, session: Session, handler: MendedHandler, wanted: Subscription) -> None:
        """Acknowledge, then send what is retained, before anything that is published later.

        A subscription that is there already is replaced, and what is retained is sent again (3.8.4-3).
        """
        granted = []
        for topic_filter, qos in wanted.topics:
            self._del_subscription(topic_filter, session)
            granted.append(await self.add_subscription((topic_filter, qos), session))
        self._send(handler.mqtt_acknowledge_subscription(wanted.packet_id, granted))
        for (topic_filter, _), qos in zip(wanted.topics, granted, strict=True):
            for topic, kept in list(self._retained_messages.items()):
                if qos != REFUSED and self._matches(topic, topic_filter):
                    self._give(session, topic, kept.data, min(qos, kept.qos), retain=True)

    def _send(self, sending: Coroutine[Any, Any, Any]) -> None:
        """Send in the order of the calls, without waiting for a client that is slow to acknowledge."""
        task = asyncio.ensure_future(sending)
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[Any]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # A client that has gone, or does not acknowledge, is no fault of the broker.


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
    logging.disable()
    try:
        await broker.start()
    except BrokerError as error:
        sys.exit(str(error))
    logging.disable(logging.NOTSET)
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(int(sys.argv[1])))
