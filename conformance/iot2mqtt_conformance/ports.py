"""Loopback ports: which are free, and whose they are."""

import errno
import secrets
import socket

import psutil

_ADDRESSES = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - those that a listener on 127.0.0.1 may show
_RESERVED = range(20_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now and has not been returned before.

    It is none that systems give to outgoing connections, so that nobody takes it by chance before it is used.
    """
    while True:
        port = secrets.choice(_RESERVED)
        if port not in _given and not in_use(port):
            _given.add(port)
            return port


def in_use(port: int) -> bool:
    """Whether somebody listens on a TCP port, so that nobody else can on 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections of the past do not count.
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def listens(pid: int, port: int) -> bool:
    """Whether it is this very process that listens on a TCP port of 127.0.0.1."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    listening = [found.laddr for found in connections if found.status == psutil.CONN_LISTEN]
    return any(address.port == port and address.ip in _ADDRESSES for address in listening)
