"""MQTT packets of versions 3.1.1 and 5, read from a stream of bytes without any I/O of its own."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LARGEST = 16 * 1024 * 1024
"""Bytes of the largest packet that is read; a longer one is an error, not a reason to run out of memory."""
SHOWN = 65_536
"""Bytes of a payload that a record keeps whole: judges parse it, so this is above what connectors publish."""
START = 4096
"""Bytes that a record keeps of the start of a longer one, beside its size and digest."""
VERSION_5 = 5
VERSIONS = {"MQIsdp": (3,), "MQTT": (4, VERSION_5)}

TYPES = {
    1: "CONNECT",
    2: "CONNACK",
    3: "PUBLISH",
    4: "PUBACK",
    5: "PUBREC",
    6: "PUBREL",
    7: "PUBCOMP",
    8: "SUBSCRIBE",
    9: "SUBACK",
    10: "UNSUBSCRIBE",
    11: "UNSUBACK",
    12: "PINGREQ",
    13: "PINGRESP",
    14: "DISCONNECT",
    15: "AUTH",
}


_FLAGS = {"PUBREL": 2, "SUBSCRIBE": 2, "UNSUBSCRIBE": 2}
"""Reserved flags of the fixed header; those of every other packet but PUBLISH are 0."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: the bytes as they came, and what they say."""

    type: str
    raw: bytes
    fields: dict[str, Any]

    def as_record(self) -> dict[str, Any]:
        """Return what a transcript keeps of it: JSON-able, with the password as it came."""
        return {"type": self.type, **self.fields}


class WireError(Exception):
    """The bytes are no MQTT.

    Attributes:
        before: The whole packets that the same bytes held before the fault.
    """

    before: tuple[Packet, ...] = ()


@dataclass(slots=True)
class Session:
    """What both directions of a connection know of each other: the version, and MQTT 5 topic aliases.

    Attributes:
        version: 3, 4 (MQTT 3.1.1) or 5; 0 until CONNECT has said which.
    """

    version: int = 0
    aliases: dict[tuple[str, int], str] = field(default_factory=dict)


class PacketReader:
    """Cuts one direction of a connection into packets."""

    def __init__(self, session: Session, direction: str) -> None:
        self._session = session
        self._direction = direction
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes and return the packets that are complete now.

        Raises:
            WireError: The bytes are no MQTT, or a packet is too large. The reader is of no use from then on.
        """
        self._buffer += data
        packets: list[Packet] = []
        try:
            while (size := self._size()) is not None and len(self._buffer) >= size:
                raw = bytes(self._buffer[:size])
                del self._buffer[:size]
                packets.append(self._packet(raw))
        except WireError as error:
            error.before = tuple(packets)
            raise
        return packets

    def _kind(self, first: int) -> str:
        """Return the type of a packet by its first byte, which alone tells most noise from MQTT."""
        kind, flags = TYPES.get(first >> 4), first & 0x0F
        if kind is None:
            raise WireError(f"packet type {first >> 4} does not exist")
        if not self._session.version and kind != "CONNECT":
            raise WireError(f"{kind} before CONNECT")
        sound = flags >> 1 & 3 != 3 if kind == "PUBLISH" else flags == _FLAGS.get(kind, 0)  # noqa: PLR2004 - no such QoS
        if not sound:
            raise WireError(f"a malformed {kind}: the flags {flags:#06b} do not exist")
        return kind

    def _size(self) -> int | None:
        """Return the size of the first packet with its header, or None while that is unknown."""
        if self._buffer:
            self._kind(self._buffer[0])
        length = 0
        for number, byte in enumerate(self._buffer[1:5]):
            length |= (byte & 0x7F) << (7 * number)
            if not byte & 0x80:
                if length > LARGEST:
                    raise WireError(f"a packet of {length} bytes is longer than {LARGEST}")
                return 2 + number + length
        if len(self._buffer) > 4:  # noqa: PLR2004 - a length takes at most four bytes
            raise WireError("the length of a packet takes more than four bytes")
        return None

    def _packet(self, raw: bytes) -> Packet:
        kind = self._kind(raw[0])
        start = next(i for i in range(1, 5) if not raw[i] & 0x80) + 1
        reader = _Fields(raw[start:])
        decode = _DECODERS.get(kind, _nothing)
        try:
            found = decode(reader, raw[0] & 0x0F, self._session, self._direction)
        except (IndexError, UnicodeDecodeError) as error:
            raise WireError(f"a malformed {kind}: {error}") from None
        if reader.more:
            raise WireError(f"a malformed {kind}: {len(raw) - start - reader.at} bytes too many")
        return Packet(kind, raw, found)


class _Fields:
    """Reads MQTT's field types one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise IndexError("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2))

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return self.binary().decode("utf-8")

    def variable(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise IndexError("a length takes more than four bytes")

    def properties(self) -> dict[int, Any]:
        """Read MQTT 5 properties; user properties come as one list."""
        end = self.variable() + self.at
        found: dict[int, Any] = {}
        while self.at < end:
            key = self.variable()
            reader = _PROPERTIES.get(key)
            if reader is None:
                raise IndexError(f"property {key} does not exist")
            value = reader(self)
            found[key] = [*found.get(key, []), value] if key == _USER else value
        if self.at > end:
            raise IndexError("a property is longer than all of them")
        return found

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    @property
    def more(self) -> bool:
        return self.at < len(self.data)


_USER = 38
_ALIAS = 35
_BYTES = (1, 23, 25, 36, 37, 40, 41, 42)
_NUMBERS = (19, 33, 34, _ALIAS)
_LONGS = (2, 17, 24, 39)
_TEXTS = (3, 8, 18, 21, 26, 28, 31)
_PROPERTIES: dict[int, Callable[[_Fields], Any]] = {
    **dict.fromkeys(_BYTES, _Fields.byte),
    **dict.fromkeys(_NUMBERS, _Fields.number),
    **dict.fromkeys(_LONGS, lambda fields: int.from_bytes(fields.take(4))),
    **dict.fromkeys(_TEXTS, _Fields.text),
    **dict.fromkeys((9, 22), lambda fields: fields.binary().hex()),
    11: _Fields.variable,
    _USER: lambda fields: [fields.text(), fields.text()],
}
_TOLD = {
    1: "payload_format",
    2: "message_expiry",
    3: "content_type",
    8: "response_topic",
    9: "correlation_data",
    11: "subscription_identifier",
    _ALIAS: "topic_alias",
    _USER: "user",
}
"""The properties of a PUBLISH, as a record names them."""


def _skip_properties(fields: _Fields, session: Session) -> dict[int, Any]:
    return fields.properties() if session.version >= VERSION_5 and fields.more else {}


def _content(payload: bytes) -> dict[str, Any]:
    """Return what a record keeps of a payload: text, base64, or start, size and digest of a long one.

    The start has a name of its own: a truncated text must never be judged as if it were the payload.
    """
    if len(payload) > SHOWN:
        return {
            "payload_start": payload[:START].decode("utf-8", "replace"),
            "payload_size": len(payload),
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
        }
    try:
        return {"payload": payload.decode("utf-8")}
    except UnicodeDecodeError:
        return {"payload_b64": base64.b64encode(payload).decode()}


def _connect(fields: _Fields, _flags: int, session: Session, _direction: str) -> dict[str, Any]:
    name = fields.text()
    version = fields.byte()
    if version not in VERSIONS.get(name, ()):
        raise WireError(f"CONNECT of the protocol {name!r}, version {version}")
    session.version = version
    flags, keepalive = fields.byte(), fields.number()
    _skip_properties(fields, session)
    found: dict[str, Any] = {
        "version": session.version,
        "client_id": fields.text(),
        "keepalive": keepalive,
        "clean": bool(flags & 2),
    }
    found["will"] = _will(fields, flags, session) if flags & 4 else None
    found["username"] = fields.text() if flags & 0x80 else None
    found["password"] = fields.binary().decode("utf-8", "replace") if flags & 0x40 else None
    return found


def _will(fields: _Fields, flags: int, session: Session) -> dict[str, Any]:
    if session.version >= VERSION_5:
        fields.properties()
    return {"topic": fields.text(), **_content(fields.binary()), "qos": flags >> 3 & 3, "retain": bool(flags & 0x20)}


def _connack(fields: _Fields, _flags: int, session: Session, _direction: str) -> dict[str, Any]:
    present, code = fields.byte(), fields.byte()
    _skip_properties(fields, session)
    return {"session_present": bool(present & 1), "code": code}


def _publish(fields: _Fields, flags: int, session: Session, direction: str) -> dict[str, Any]:
    topic, qos = fields.text(), flags >> 1 & 3
    found: dict[str, Any] = {"topic": topic, "qos": qos, "retain": bool(flags & 1), "dup": bool(flags & 8)}
    if qos:
        found["id"] = fields.number()
    properties = _skip_properties(fields, session)
    if properties:
        found["properties"] = {_TOLD.get(key, str(key)): value for key, value in properties.items()}
    alias = properties.get(_ALIAS)
    if alias is not None and topic:
        session.aliases[direction, alias] = topic
    elif alias is not None:
        found["topic"] = session.aliases.get((direction, alias), "")
    return {**found, **_content(fields.rest())}


def _acknowledgement(fields: _Fields, flags: int, session: Session, direction: str) -> dict[str, Any]:
    return {"id": fields.number(), **_reason(fields, flags, session, direction)}


def _subscribe(fields: _Fields, _flags: int, session: Session, _direction: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": fields.number()}
    _skip_properties(fields, session)
    found["filters"] = []
    while fields.more:
        found["filters"].append({"filter": fields.text(), "qos": fields.byte() & 3})
    return found


def _suback(fields: _Fields, _flags: int, session: Session, _direction: str) -> dict[str, Any]:
    number = fields.number()
    _skip_properties(fields, session)
    return {"id": number, "codes": list(fields.rest())}


def _unsubscribe(fields: _Fields, _flags: int, session: Session, _direction: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": fields.number()}
    _skip_properties(fields, session)
    found["filters"] = []
    while fields.more:
        found["filters"].append(fields.text())
    return found


def _reason(fields: _Fields, _flags: int, session: Session, _direction: str) -> dict[str, Any]:
    code = fields.byte() if fields.more else 0
    _skip_properties(fields, session)
    return {"code": code}


def _nothing(_fields: _Fields, _flags: int, _session: Session, _direction: str) -> dict[str, Any]:
    return {}


_DECODERS: dict[str, Callable[[_Fields, int, Session, str], dict[str, Any]]] = {
    "CONNECT": _connect,
    "CONNACK": _connack,
    "PUBLISH": _publish,
    **dict.fromkeys(("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"), _acknowledgement),
    "SUBSCRIBE": _subscribe,
    **dict.fromkeys(("SUBACK", "UNSUBACK"), _suback),
    "UNSUBSCRIBE": _unsubscribe,
    **dict.fromkeys(("DISCONNECT", "AUTH"), _reason),
}
