"""Loopback ports: which are free, and whose they are."""

import errno
import socket

import psutil

_ADDRESSES = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - those that a listener on 127.0.0.1 may show
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now and has not been returned before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
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
