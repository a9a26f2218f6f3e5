"""The suite's own MQTT connection: it speaks to the connector through the broker, past the proxy."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

import aiomqtt

MOST_AT_ONCE = 50
"""Publications that may be under way without a warning."""


class OnSeen(Protocol):
    """Called for every message of a followed topic."""

    def __call__(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Take one message."""


class Observer:
    """Publishes, and follows topics; after a broker's restart call `again`."""

    def __init__(
        self, address: tuple[str, int], on_seen: OnSeen, *, options: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._address = address
        self._options = options
        self._on_seen = on_seen
        self._followed: list[str] = []
        self._stack = AsyncExitStack()
        self._client: aiomqtt.Client | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect, also from a broker that is gone."""
        await self._close()

    async def _connect(self) -> None:
        host, port = self._address
        name = f"suite-{uuid4().hex[:12]}"
        client = aiomqtt.Client(host, port, identifier=name, max_queued_outgoing_messages=0, **self._options)
        client.pending_calls_threshold = MOST_AT_ONCE
        self._client = await self._stack.enter_async_context(client)
        reader = asyncio.create_task(self._read(client))
        self._stack.push_async_callback(_cancel, reader)
        for topic in self._followed:
            await client.subscribe(topic, qos=1)

    async def _close(self) -> None:
        with suppress(aiomqtt.MqttError):
            await self._stack.aclose()
        self._client = None

    async def again(self) -> None:
        """Connect anew, with the same followed topics."""
        await self._close()
        await self._connect()

    async def _read(self, client: aiomqtt.Client) -> None:
        with suppress(aiomqtt.MqttError):
            async for message in client.messages:
                self._on_seen(str(message.topic), bytes(message.payload), retained=bool(message.retain))

    async def follow(self, topic: str) -> None:
        """Subscribe to a topic for good; returns once the broker has acknowledged it."""
        self._followed.append(topic)
        await self._connected.subscribe(topic, qos=1)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1; returns once the broker has acknowledged it."""
        await self._connected.publish(topic, payload, qos=1, retain=retain)

    @property
    def _connected(self) -> aiomqtt.Client:
        if self._client is None:
            raise aiomqtt.MqttError("the observer is not connected")
        return self._client


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def retained(
    address: tuple[str, int], topic: str, *, options: Mapping[str, Any] = MappingProxyType({})
) -> str | None:
    """Return what a broker keeps for a topic, as a new subscriber sees it, or None.

    A message of our own on a second topic, sent after the subscription, proves that nothing retained was coming.
    """
    sentinel = f"conformance-suite/{uuid4().hex}"
    host, port = address
    async with aiomqtt.Client(host, port, identifier=f"suite-{uuid4().hex[:12]}", **options) as client:
        await client.subscribe(sentinel, qos=1)
        await client.subscribe(topic, qos=1)
        await client.publish(sentinel, b"", qos=1)
        async for message in client.messages:
            if str(message.topic) == sentinel:
                return None
            if message.retain:
                return bytes(message.payload).decode("utf-8", "replace")
    return None
