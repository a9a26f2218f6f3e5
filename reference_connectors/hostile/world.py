"""The world outside: a port on which stimulus.py tells what happens to the lights."""

import logging
import socket
from collections.abc import Callable
from threading import Thread

HOST = "127.0.0.1"

LOG = logging.getLogger("hostile")


def listen(port: int, happen: Callable[[list[str]], bool]) -> None:
    """Let things happen that are told on a port, one line each, in the background.

    Args:
        port: TCP port of this machine.
        happen: Takes the words of a line and returns, once it has happened, whether they were understood.
    """
    try:
        server = socket.create_server((HOST, port))
    except OSError as error:
        LOG.warning("nothing can happen to the lights: port %d cannot be opened: %s", port, error.strerror)
        return
    Thread(target=_serve, args=(server, happen), daemon=True).start()


def _serve(server: socket.socket, happen: Callable[[list[str]], bool]) -> None:
    while True:
        caller, _ = server.accept()
        with caller, caller.makefile("rw", encoding="utf-8") as stream:
            stream.write("ok\n" if happen(stream.readline().split()) else "not understood\n")
