"""Moves the bytes of one paho client, on the thread that calls it.

paho's own loop uses select(), which cannot watch a socket numbered above 1023: a connector of many devices has such.
"""

import selectors
import socket
import ssl
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

LOOK = 1.0
"""Seconds after which paho gets to look after its keep-alive, at the latest."""


class Pump:
    """The loop of one client; to be made before it connects."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        # paho calls this on whatever thread publishes; with it, it leaves the writing to the loop.
        client.on_socket_register_write = self._wake

    def _wake(self, _client: paho.Client, _data: Any, _socket: Any) -> None:
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            pass  # it is awake already
        except OSError:
            pass  # the loop has ended, and with it the connection

    def close(self) -> None:
        """Let go of what waking takes."""
        self._woken.close()
        self._waker.close()

    def run(self, keepalive: float) -> None:
        """Serve the connection until it ends.

        Args:
            keepalive: Seconds; a fraction of it is how precisely it is watched.
        """
        client = self._client
        connection = client.socket()
        if not isinstance(connection, socket.socket):
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            number = connection.fileno()
            selector.register(number, selectors.EVENT_READ)
            while client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS and client.socket() is connection:
                write = selectors.EVENT_WRITE if client.want_write() else 0
                selector.modify(number, selectors.EVENT_READ | write)
                pending = isinstance(connection, ssl.SSLSocket) and connection.pending() > 0
                self._serve(selector.select(0 if pending else min(LOOK, keepalive / 8)), connection, pending=pending)

    def _serve(self, ready: list[tuple[selectors.SelectorKey, int]], connection: Any, *, pending: bool) -> None:
        events = {key.fileobj: mask for key, mask in ready}
        if self._woken in events:
            self._woken.recv(4096)
        mask = events.get(connection.fileno(), 0)
        if pending or mask & selectors.EVENT_READ:
            self._client.loop_read()
        if mask & selectors.EVENT_WRITE:
            self._client.loop_write()
