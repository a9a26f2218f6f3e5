"""Loopback ports: which are free, and whose they are."""

import errno
import random
import socket

import psutil

_ADDRESSES = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - those that a listener on 127.0.0.1 may show
_RESERVED = range(20_000, 32_000)
_BLOCK = 100
_MOST_BLOCKS = 8
"""Of one process: whoever needs more ports begins again with those that it had first, and are free by then."""
_chance = random.SystemRandom()  # a seed that several processes share would lead them to the same ports
_own: list[int] = []
_claims: dict[int, int] = {}
"""Descriptors by the first port of a block. They stay open until the process ends."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now and was not returned a moment ago.

    It is none that systems give to outgoing connections, so that nobody takes it by chance before it is used; and none
    that a suite in another process returns.
    """
    while True:
        if not _own:
            _own.extend(_more())
        port = _own.pop()
        if not in_use(port):
            return port


def _more() -> list[int]:
    """Return ports that no other process has, until this one ends; any, where others have claimed all."""
    starts = list(_RESERVED[::_BLOCK]) if len(_claims) < _MOST_BLOCKS else []
    _chance.shuffle(starts)
    claimed = next(filter(_claimed, starts), None)
    blocks = list(_claims) if claimed is None else [claimed]
    ports = [port for start in blocks for port in range(start + 1, start + _BLOCK)] or _RESERVED
    return _chance.sample(ports, len(ports))


def _claimed(start: int) -> bool:
    """Whether a block of ports is this process's from now on: its first port, on which nobody listens, says so."""
    claim = socket.socket()
    try:
        claim.bind(("127.0.0.1", start))
    except OSError:
        claim.close()
        return False
    _claims[start] = claim.detach()
    return True


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
