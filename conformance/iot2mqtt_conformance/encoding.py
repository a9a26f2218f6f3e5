"""MQTT packets of versions 3.1.1 and 5, written as bytes."""

from collections.abc import Mapping

from iot2mqtt_conformance.wire import TYPES, VERSION_5

_NUMBERS_OF_TYPES = {kind: number for number, kind in TYPES.items()}
_CODES_OF_5 = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""What MQTT 5 says in place of the return codes of 3.1.1."""


def _packed(kind: str, flags: int, body: bytes) -> bytes:
    head, length = bytearray([_NUMBERS_OF_TYPES[kind] << 4 | flags]), len(body)
    while length > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(head) + bytes([length]) + body


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _no_properties(version: int) -> bytes:
    return b"\0" if version >= VERSION_5 else b""


def encode_connack(code: int, version: int) -> bytes:
    """Return a CONNACK without a session; the return codes 1 to 5 of MQTT 3.1.1 are said in MQTT 5's words to a 5."""
    said = _CODES_OF_5.get(code, code) if version >= VERSION_5 else code
    return _packed("CONNACK", 0, bytes([0, said]) + _no_properties(version))


def encode_connect(
    client_id: str, version: int, *, keepalive: int = 60, username: str | None = None, password: str | None = None
) -> bytes:
    """Return a CONNECT with a clean session and no will."""
    flags = 2 | (username is not None) << 7 | (password is not None) << 6
    head = _text("MQTT") + bytes([version, flags]) + keepalive.to_bytes(2) + _no_properties(version)
    given = (text for text in (client_id, username, password) if text is not None)
    return _packed("CONNECT", 0, head + b"".join(map(_text, given)))


def encode_publish(
    topic: str, payload: bytes, version: int, *, qos: int = 0, retain: bool = False, packet_id: int = 1
) -> bytes:
    """Return a PUBLISH; one of QoS 0 has no id."""
    number = packet_id.to_bytes(2) if qos else b""
    return _packed("PUBLISH", qos << 1 | retain, _text(topic) + number + _no_properties(version) + payload)


def encode_subscribe(packet_id: int, filters: Mapping[str, int], version: int) -> bytes:
    """Return a SUBSCRIBE to filters with the QoS wanted of each."""
    wanted = b"".join(_text(name) + bytes([qos]) for name, qos in filters.items())
    return _packed("SUBSCRIBE", 2, packet_id.to_bytes(2) + _no_properties(version) + wanted)


def encode_disconnect() -> bytes:
    """Return a DISCONNECT for no particular reason, alike in all versions."""
    return _packed("DISCONNECT", 0, b"")
