"""Finds bulbs: one UDP datagram asks, each bulb answers with its address and abilities.

The protocol is like SSDP, but on a port of its own, and speaks of `wifi_bulb` only.
"""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

EVERYBODY = IPv4Address("239.255.255.250")
"""The multicast group of all bulbs."""
ANY_INTERFACE = IPv4Address(0)
PORT = 1982
AGAIN = 0.5
"""Seconds after which the question is sent once more: datagrams get lost."""
LONGEST_DATAGRAM = 65535


class Network(BaseModel):
    """Where to search.

    Attributes:
        address: Who is asked: the multicast group of all bulbs, or one bulb.
        port: The UDP port that bulbs listen on.
        interface: The address of this machine that the question leaves from; 0.0.0.0 lets the system choose.
        timeout: Seconds that a search takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: IPv4Address = EVERYBODY
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    interface: IPv4Address = ANY_INTERFACE
    timeout: Annotated[float, Field(gt=0, le=60)] = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """A bulb that has answered.

    Attributes:
        bulb_id: What its maker calls this very bulb, such as `0x000000000015243f`.
        host: Its address.
        port: Its TCP port.
        model: Its model, such as `color`.
        name: What its owner calls it; often empty.
        support: The methods that it knows.
    """

    bulb_id: str
    host: str
    port: int
    model: str
    name: str
    support: tuple[str, ...]


async def search(network: Network, *, only: str | None = None) -> list[Found]:
    """Return the bulbs that answer.

    Args:
        network: Where to search.
        only: The id of a bulb; the search ends as soon as this one has answered.

    Raises:
        OSError: The question cannot be sent from this interface.
    """
    found: dict[str, Found] = {}
    with outlet(network) as outgoing, contextlib.suppress(TimeoutError):
        async with asyncio.timeout(network.timeout):
            while only is None or only not in found:
                await asyncio.get_running_loop().sock_sendto(
                    outgoing, _question(network), (str(network.address), network.port)
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        await _listen(outgoing, found, only)
    return sorted((bulb for bulb in found.values() if only in (None, bulb.bulb_id)), key=lambda bulb: bulb.bulb_id)


def outlet(network: Network) -> socket.socket:
    """Return a socket that sends from the interface.

    Raises:
        OSError: This machine has no such address.
    """
    outgoing = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        outgoing.setblocking(False)
        outgoing.bind((str(network.interface), 0))
        outgoing.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, network.interface.packed)
    except OSError as error:
        outgoing.close()
        raise OSError(f"bulbs cannot be searched for from {network.interface}: {error.strerror}") from error
    return outgoing


async def _listen(incoming: socket.socket, found: dict[str, Found], only: str | None) -> None:
    """Collect answers until the wanted one is there, or for ever."""
    while only is None or only not in found:
        datagram, _ = await asyncio.get_running_loop().sock_recvfrom(incoming, LONGEST_DATAGRAM)
        bulb = parse(datagram)
        if bulb is not None:
            found[bulb.bulb_id] = bulb


def _question(network: Network) -> bytes:
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {network.address}:{network.port}",
        'MAN: "ssdp:discover"',
        "ST: wifi_bulb",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def parse(datagram: bytes) -> Found | None:
    """Return the bulb that an answer tells of, or None where it is no answer of a bulb."""
    first, *lines = datagram.decode("utf-8", "replace").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not first.startswith("HTTP/1.1 200"):
        return None
    try:
        host, port = _location(headers)
        return Found(
            bulb_id=headers["id"],
            host=host,
            port=port,
            model=headers.get("model", ""),
            name=headers.get("name", ""),
            support=tuple(headers.get("support", "").split()),
        )
    except (KeyError, ValueError):
        return None


def _location(headers: Mapping[str, str]) -> tuple[str, int]:
    location = urlsplit(headers["location"])
    if location.scheme != "yeelight" or not location.hostname or not location.port:
        raise ValueError(f"{headers['location']} is no address of a bulb")
    return location.hostname, location.port
