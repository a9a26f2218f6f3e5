"""Ports of the loopback interface."""

import errno
import socket

import click

HOST = "127.0.0.1"


def free_port(preferred: int) -> int:
    """Return a TCP port that nobody listens on: the preferred one if possible, any with 0.

    Raises:
        ClickException: No port is free.
    """
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections of the past do not count.
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise click.ClickException(f"no port of {HOST} is free: end a program that listens there")


def in_use(port: int) -> bool:
    """Whether somebody listens on a TCP port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
