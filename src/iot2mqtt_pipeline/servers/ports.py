"""Ports for servers of our own."""

import secrets
import socket

_PORTS = range(12_000, 20_000)
"""The conformance suite takes its own from above them."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free, from a range that systems do not give to outgoing connections."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
