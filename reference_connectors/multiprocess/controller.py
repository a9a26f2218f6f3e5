"""Speaks to the pump house's controller: one line out, one line back, over TCP."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from worker import DeviceError

TIMEOUT = 5.0
"""Seconds that an answer may take."""
LONGEST = 65536
"""Bytes of an answer, at the most."""


async def ask(connection: Mapping[str, Any], line: str) -> Any:
    """Return what the controller answers, on a connection of its own: a slow device keeps no other one waiting.

    Raises:
        DeviceError: It says no, or something that is no answer, or nothing.
    """
    try:
        async with asyncio.timeout(TIMEOUT), opened(connection) as (reader, writer):
            writer.write(f"{line}\n".encode())
            answer = await reader.readline()
    except TimeoutError:
        raise DeviceError(f"the controller has not answered `{line}` within {TIMEOUT:g} s") from None
    word, _, rest = answer.decode("utf-8", "replace").partition(" ")
    if word == "error":
        raise DeviceError(rest.strip())
    if word.strip() != "ok" or not answer.endswith(b"\n"):
        raise DeviceError(f"the controller answered `{line}` with half a line or nonsense: {answer[:80]!r}")
    return document(rest) if rest.strip() else None


def document(text: str) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        DeviceError: It is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DeviceError(f"the controller sent what is no JSON object: {text[:80]!r}")
    return found


@asynccontextmanager
async def opened(connection: Mapping[str, Any]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the controller.

    Raises:
        DeviceError: It cannot be reached.
    """
    host, port = connection["host"], connection["port"]
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=LONGEST)
    except OSError as error:
        raise DeviceError(f"the controller at {host}:{port} cannot be reached: {error.strerror or error}") from None
    try:
        yield reader, writer
    except OSError as error:
        raise DeviceError(f"the controller at {host}:{port} hung up: {error.strerror or error}") from None
    except ValueError:
        raise DeviceError(f"the controller at {host}:{port} sent a line of more than {LONGEST} bytes") from None
    finally:
        writer.close()
