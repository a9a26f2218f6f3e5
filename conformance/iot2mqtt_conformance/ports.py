"""Free loopback ports."""

import socket

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
