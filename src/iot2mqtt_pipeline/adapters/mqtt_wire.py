"""The packets of MQTT 3.1.1 and 5 that a subscriber needs; those that it sends, and those that it reads.

Why not paho: it reads each packet with several system calls and sends each acknowledgement with two, which leaves no
time for Kafka. Here thousands of messages share one read, and their acknowledgements one write. QoS 2 is not spoken: a
subscription at QoS 1 has the broker send at most that.
"""

from collections.abc import Iterable, Iterator, Sequence

CONNACK, PUBLISH, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 3, 9, 11, 13, 14
"""Kinds of packets, as the upper half of their first byte."""
PINGREQ = b"\xc0\x00"
GOODBYE = b"\xe0\x00"
NEVER = 0xFFFF_FFFF
"""The expiry of a session that the broker keeps for good."""
_LENGTH_BYTES = 4
_FAILURE = 0x80


class ProtocolError(ValueError):
    """The broker sent what no broker may send."""


def connect(
    *,
    version: int,
    client_id: str,
    keepalive: int,
    username: str | None,
    password: str | None,
    window: int,
    expiry: int = NEVER,
) -> bytes:
    """Return a CONNECT for a session that the broker keeps.

    Args:
        version: 5, or 4 for MQTT 3.1.1.
        client_id: Whose session it is.
        keepalive: Seconds after which the broker may give a silent client up.
        username: Or None.
        password: Or None.
        window: How many messages may be unacknowledged; MQTT 3.1.1 has no word for it.
        expiry: Seconds without a connection after which the broker forgets the session; where they are not NEVER,
            MQTT 3.1.1, which knows no others, has it forgotten at once.
    """
    flags = 0x02 if version != 5 and expiry != NEVER else 0  # noqa: PLR2004 - the number of the protocol
    flags |= (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = _text("MQTT") + bytes([version, flags]) + keepalive.to_bytes(2, "big")
    if version == 5:  # noqa: PLR2004 - the number of the protocol
        properties = b"\x11" + expiry.to_bytes(4, "big") + b"\x21" + min(window, 65535).to_bytes(2, "big")
        body += bytes([len(properties)]) + properties
    body += _text(client_id)
    for credential in (username, password):
        if credential is not None:
            body += _text(credential)
    return _packet(0x10, body)


def subscribe(filters: Sequence[str], *, version: int) -> bytes:
    """Return a SUBSCRIBE at QoS 1; at version 5, retained messages come with a new subscription only."""
    new_only = 0x10
    modern = version == 5  # noqa: PLR2004 - the number of the protocol
    options = bytes([1 | new_only if modern else 1])
    body = b"\x00\x01" + (b"\x00" if modern else b"")
    return _packet(0x82, body + b"".join(_text(one) + options for one in filters))


def unsubscribe(filters: Sequence[str], *, version: int) -> bytes:
    """Return an UNSUBSCRIBE."""
    body = b"\x00\x02" + (b"\x00" if version == 5 else b"")  # noqa: PLR2004 - the number of the protocol
    return _packet(0xA2, body + b"".join(map(_text, filters)))


def pubacks(packet_ids: Iterable[int]) -> bytes:
    """Return a PUBACK for each packet id, in their order."""
    return b"".join([b"\x40\x02" + number.to_bytes(2, "big") for number in packet_ids])


def packets(data: bytearray, limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield the first byte and the body of complete packets, and take them out of the data.

    Args:
        data: What was read; an incomplete packet stays in it.
        limit: How many PUBLISH packets at the most; what follows them stays too.

    Raises:
        ProtocolError: A length that is none.
    """
    view = bytes(data)
    start, end = 0, len(view)
    try:
        while limit > 0 and end - start >= 2:  # noqa: PLR2004 - the shortest packet
            length = view[start + 1]
            body = start + 2
            if length >= _FAILURE:
                length, body = _length(view, start + 1)
            if body + length > end or body > end:
                return
            first = view[start]
            start = body + length
            limit -= first >> 4 == PUBLISH
            yield first, view[body:start]
    finally:
        del data[:start]


def publish(first: int, body: bytes, *, version: int) -> tuple[str, bytes, int]:
    """Return topic, payload and packet id (0 at QoS 0) of a PUBLISH.

    Raises:
        ProtocolError: It is cut short, or its topic is no text.
    """
    at = 2 + (body[0] << 8 | body[1])
    try:
        topic = body[2:at].decode()
        packet_id = 0
        if first & 0x06:
            packet_id = body[at] << 8 | body[at + 1]
            at += 2
        if version == 5:  # noqa: PLR2004 - the number of the protocol
            length, at = _length(body, at)
            at += length
    except (IndexError, UnicodeDecodeError) as fault:
        raise ProtocolError(f"a PUBLISH that cannot be read: {fault}") from None
    return topic, body[at:], packet_id


def refused(body: bytes, *, version: int) -> int:
    """Return how many filters a SUBACK refuses."""
    start = 2
    if version == 5:  # noqa: PLR2004 - the number of the protocol
        length, start = _length(body, start)
        start += length
    return sum(code >= _FAILURE for code in body[start:])


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    encoded = bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (_FAILURE if length else 0))
        if not length:
            return bytes([first]) + encoded + body


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable length and where it ends; beyond the data where that is cut short."""
    length = 0
    for place in range(_LENGTH_BYTES):
        if at + place >= len(data):
            return length, len(data) + 1
        byte = data[at + place]
        length |= (byte & 0x7F) << (7 * place)
        if byte < _FAILURE:
            return length, at + place + 1
    raise ProtocolError("a length of more than four bytes")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded
