"""The packet codec, against the bytes of a real client and against bytes that are no MQTT."""

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from iot2mqtt_conformance.encoding import (
    encode_connack,
    encode_connect,
    encode_disconnect,
    encode_publish,
    encode_subscribe,
)
from iot2mqtt_conformance.wire import LARGEST, SHOWN, START, Packet, PacketReader, Session, WireError

DEADLINE = 10
BOTH = pytest.mark.parametrize("version", [4, 5])


class PahoBytes:
    """A paho client on a socket whose other end is read by the codec."""

    def __init__(self, client: Client, peer: socket.socket, reader: PacketReader) -> None:
        self.client = client
        self.raw = b""
        self._peer = peer
        self._reader = reader
        self._found: list[Packet] = []

    def packet(self) -> dict[str, Any]:
        while not self._found:
            data = self._peer.recv(65536)
            assert data, "the client closed the connection"
            self.raw += data
            self._found = self._reader.feed(data)
        return self._found.pop(0).as_record()

    def answer(self, data: bytes) -> None:
        self._peer.sendall(data)
        self.client.loop(timeout=DEADLINE)


def properties_of(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


@contextmanager
def paho(version: int, prepare: Callable[[Client], object] = lambda _client: None) -> Iterator[PahoBytes]:
    protocol = MQTTProtocolVersion(MQTTv5 if version == 5 else MQTTv311)
    client = Client(CallbackAPIVersion.VERSION2, client_id="lamp", protocol=protocol)
    prepare(client)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client.connect("127.0.0.1", server.getsockname()[1], keepalive=37)
        peer, _ = server.accept()
        with peer:
            peer.settimeout(DEADLINE)
            yield PahoBytes(client, peer, PacketReader(Session(), "c2b"))
            client.disconnect()


def decoded(data: bytes, version: int = 4, direction: str = "c2b") -> list[dict[str, Any]]:
    return [packet.as_record() for packet in PacketReader(Session(version), direction).feed(data)]


@BOTH
def test_connect_of_paho_is_read_with_will_and_credentials(version: int) -> None:
    def prepare(client: Client) -> None:
        properties = None
        if version == 5:
            properties = properties_of(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = 3
            properties.UserProperty = ("k", "v")
        client.will_set("a/status", "offline", qos=1, retain=True, properties=properties)
        client.username_pw_set("zoë", "sécret")

    with paho(version, prepare) as wire:
        assert wire.packet() == {
            "type": "CONNECT",
            "version": version,
            "client_id": "lamp",
            "keepalive": 37,
            "clean": True,
            "will": {"topic": "a/status", "payload": "offline", "qos": 1, "retain": True},
            "username": "zoë",
            "password": "sécret",
        }


@BOTH
def test_what_paho_says_after_connect_is_read_and_its_bytes_kept(version: int) -> None:
    with paho(version) as wire:
        assert wire.packet()["will"] is None
        wire.answer(encode_connack(0, version))
        assert wire.client.is_connected()
        wire.client.subscribe(
            [("a/#", 1), ("b/+", 0)] if version == 4 else [("a/#", SubscribeOptions(1, noLocal=True))]
        )
        filters = [{"filter": "a/#", "qos": 1}, {"filter": "b/+", "qos": 0}]
        assert wire.packet() == {"type": "SUBSCRIBE", "id": 1, "filters": filters[: 2 if version == 4 else 1]}
        wire.client.publish("a/ü", "größe", qos=1, retain=True)
        assert wire.packet() == {
            "type": "PUBLISH",
            "topic": "a/ü",
            "payload": "größe",
            "qos": 1,
            "retain": True,
            "dup": False,
            "id": 2,
        }
        wire.client.publish("a", b"\xff\x00", qos=0)
        assert wire.packet() == {
            "type": "PUBLISH",
            "topic": "a",
            "payload_b64": "/wA=",
            "qos": 0,
            "retain": False,
            "dup": False,
        }
        wire.client.unsubscribe(["a/#", "b/+"])
        assert wire.packet() == {"type": "UNSUBSCRIBE", "id": 4, "filters": ["a/#", "b/+"]}
        wire.answer(encode_publish("t", b"", version, qos=1, packet_id=77))
        assert wire.packet() == {"type": "PUBACK", "id": 77, "code": 0}
        wire.answer(encode_publish("t", b"", version, qos=2, packet_id=78))
        assert wire.packet() == {"type": "PUBREC", "id": 78, "code": 0}
        wire.client.disconnect()
        assert wire.packet() == {"type": "DISCONNECT", "code": 0}
    assert b"".join(p.raw for p in PacketReader(Session(), "c2b").feed(wire.raw)) == wire.raw


def test_a_topic_alias_of_paho_is_resolved_and_publish_properties_are_named() -> None:
    with paho(5) as wire:
        wire.packet()
        wire.answer(encode_connack(0, 5))
        properties = properties_of(PacketTypes.PUBLISH)
        properties.TopicAlias = 3
        properties.ContentType = "application/json"
        properties.CorrelationData = b"\x01\xff"
        properties.UserProperty = [("k", "1"), ("k", "2")]
        wire.client.publish("long/topic", "1", properties=properties)
        first = wire.packet()
        again = properties_of(PacketTypes.PUBLISH)
        again.TopicAlias = 3
        wire.client.publish("", "2", properties=again)
        second = wire.packet()
    assert (first["topic"], second["topic"]) == ("long/topic", "long/topic")
    assert first["properties"] == {
        "topic_alias": 3,
        "content_type": "application/json",
        "correlation_data": "01ff",
        "user": [["k", "1"], ["k", "2"]],
    }


def test_a_topic_alias_of_one_direction_means_nothing_in_the_other() -> None:
    session = Session(5)
    alias = b"\x03\x23\x00\x01"
    PacketReader(session, "c2b").feed(b"\x30\x08\x00\x02up" + alias)
    PacketReader(session, "b2c").feed(b"\x30\x0a\x00\x04down" + alias)
    used = b"\x30\x06\x00\x00" + alias
    assert PacketReader(session, "c2b").feed(used)[0].fields["topic"] == "up"
    assert PacketReader(session, "b2c").feed(used)[0].fields["topic"] == "down"


@pytest.mark.parametrize(
    ("data", "record"),
    [
        ("20 02 01 05", {"type": "CONNACK", "session_present": True, "code": 5}),
        ("90 04 00 0a 01 80", {"type": "SUBACK", "id": 10, "codes": [1, 128]}),
        ("b0 02 00 0a", {"type": "UNSUBACK", "id": 10, "codes": []}),
        ("62 02 00 0a", {"type": "PUBREL", "id": 10, "code": 0}),
        ("70 02 00 0a", {"type": "PUBCOMP", "id": 10, "code": 0}),
        ("c0 00", {"type": "PINGREQ"}),
        ("d0 00", {"type": "PINGRESP"}),
        ("e0 00", {"type": "DISCONNECT", "code": 0}),
    ],
)
def test_packets_of_3_1_1_are_read_as_the_standard_writes_them(data: str, record: dict[str, Any]) -> None:
    assert decoded(bytes.fromhex(data)) == [record]


@pytest.mark.parametrize(
    ("data", "record"),
    [
        ("20 06 00 87 03 21 00 14", {"type": "CONNACK", "session_present": False, "code": 0x87}),
        ("40 08 00 0a 10 04 1f 00 01 78", {"type": "PUBACK", "id": 10, "code": 0x10}),
        ("90 07 00 0a 03 1f 00 00 01", {"type": "SUBACK", "id": 10, "codes": [1]}),
        ("b0 04 00 0a 00 11", {"type": "UNSUBACK", "id": 10, "codes": [0x11]}),
        ("e0 06 8e 04 1f 00 01 78", {"type": "DISCONNECT", "code": 0x8E}),
        ("f0 06 18 04 15 00 01 78", {"type": "AUTH", "code": 0x18}),
    ],
)
def test_packets_of_5_are_read_past_their_properties(data: str, record: dict[str, Any]) -> None:
    assert decoded(bytes.fromhex(data), 5) == [record]


def test_a_payload_up_to_the_limit_is_recorded_whole() -> None:
    (record,) = decoded(encode_publish("t", b"x" * SHOWN, 4))
    assert record["payload"] == "x" * SHOWN


def test_a_longer_payload_is_recorded_by_start_size_and_digest_and_never_as_payload() -> None:
    payload = b"1" + b" " * SHOWN
    (packet,) = PacketReader(Session(4), "c2b").feed(encode_publish("t", payload, 4))
    assert packet.raw.endswith(payload)
    record = packet.as_record()
    assert (record["payload_size"], record["payload_start"]) == (SHOWN + 1, "1" + " " * (START - 1))
    assert record["payload_sha256"] == hashlib.sha256(payload).hexdigest()
    assert not {"payload", "payload_b64"} & set(record)


@pytest.mark.parametrize(
    ("code", "version", "said"), [(5, 4, 5), (5, 5, 0x87), (4, 5, 0x86), (0x88, 5, 0x88), (0, 5, 0)]
)
def test_a_refusal_is_said_in_the_words_of_the_version(code: int, version: int, said: int) -> None:
    assert decoded(encode_connack(code, version), version, "b2c")[0]["code"] == said


@pytest.mark.parametrize(
    ("data", "version", "message"),
    [
        (b"GET", 0, "PUBACK before CONNECT"),
        (b"\x00", 4, "packet type 0 does not exist"),
        (b"\x36", 4, "malformed PUBLISH: the flags"),
        (b"\x80", 4, "malformed SUBSCRIBE: the flags"),
        (b"\xc0\x01\x00", 4, "malformed PINGREQ: 1 bytes too many"),
        (b"\x40\x01\x00", 4, "malformed PUBACK: it ends too early"),
        (b"\x30\x04\x00\x02\xff\xfe", 4, "malformed PUBLISH"),
        (b"\x30\x05\x00\x01t\x01\x01", 5, "malformed PUBLISH: it ends too early"),
        (b"\x30\x08\x00\x01t\x02\x02\x00\x00\x00", 5, "malformed PUBLISH"),
        (b"\x30\x09\x00\x01t\x02\x02\x00\x00\x00\x01", 5, "a property is longer than all of them"),
        (b"\x30\x05\x00\x01t\x01\x7f", 5, "property 127 does not exist"),
        (b"\x30\xff\xff\xff\xff", 4, "takes more than four bytes"),
        (encode_connect("x", 6), 0, "version 6"),
        (encode_connect("x", 4).replace(b"MQTT", b"HTTP"), 0, "'HTTP'"),
    ],
)
def test_what_is_no_mqtt_is_refused_with_a_reason(data: bytes, version: int, message: str) -> None:
    with pytest.raises(WireError, match=message):
        decoded(data, version)


def test_a_packet_over_the_limit_is_refused_by_its_header() -> None:
    header = encode_publish("t", b"x" * LARGEST, 4)[:5]
    with pytest.raises(WireError, match="longer than"):
        decoded(header)


def test_whole_packets_before_a_malformed_one_are_handed_over() -> None:
    good = encode_publish("t", b"1", 4)
    with pytest.raises(WireError) as caught:
        decoded(good + encode_disconnect() + b"\x00")
    assert [packet.type for packet in caught.value.before] == ["PUBLISH", "DISCONNECT"]
    assert caught.value.before[0].raw == good


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
IDS = st.integers(1, 0xFFFF)
CONTENT = st.binary(max_size=300)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, list[tuple[bytes, dict[str, Any]]]]:
    """A version, and packets with what they say, the first of them CONNECT."""
    version = draw(st.sampled_from([4, 5]))
    name, user, password = draw(TEXTS), draw(st.none() | TEXTS), draw(st.none() | TEXTS)
    keepalive = draw(st.integers(0, 0xFFFF))
    raw = encode_connect(name, version, keepalive=keepalive, username=user, password=password)
    said = {"type": "CONNECT", "version": version, "client_id": name, "keepalive": keepalive, "clean": True}
    packets = [(raw, {**said, "will": None, "username": user, "password": password})]
    for _ in range(draw(st.integers(0, 6))):
        number, topic = draw(IDS), draw(TEXTS)
        if draw(st.booleans()):
            wanted = draw(st.dictionaries(TEXTS, st.integers(0, 2), max_size=4))
            filters = [{"filter": key, "qos": qos} for key, qos in wanted.items()]
            raw = encode_subscribe(number, wanted, version)
            packets.append((raw, {"type": "SUBSCRIBE", "id": number, "filters": filters}))
            continue
        text, qos, retain = draw(TEXTS), draw(st.integers(0, 2)), draw(st.booleans())
        raw = encode_publish(topic, text.encode(), version, qos=qos, retain=retain, packet_id=number)
        identity = {"id": number} if qos else {}
        said = {"type": "PUBLISH", "topic": topic, "payload": text, "qos": qos, "retain": retain, "dup": False}
        packets.append((raw, {**said, **identity}))
    return version, packets


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[left:right] for left, right in pairwise(places)]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_packets_are_the_same_wherever_the_stream_is_split(
    stream: tuple[int, list[tuple[bytes, dict[str, Any]]]], cuts: list[int]
) -> None:
    _, expected = stream
    reader = PacketReader(Session(), "c2b")
    found = [p for chunk in chunks(b"".join(raw for raw, _ in expected), cuts) for p in reader.feed(chunk)]
    assert [(packet.raw, packet.as_record()) for packet in found] == expected


@given(st.binary(max_size=400), st.sampled_from([0, 4, 5]), st.lists(st.integers(0, 400), max_size=5))
def test_random_bytes_raise_nothing_but_wire_error_and_records_are_json(
    data: bytes, version: int, cuts: list[int]
) -> None:
    reader = PacketReader(Session(version), "b2c")
    try:
        records = [packet.as_record() for chunk in chunks(data, cuts) for packet in reader.feed(chunk)]
    except WireError as error:
        records = [packet.as_record() for packet in error.before]
    assert json.loads(json.dumps(records)) == records


@given(streams(), st.integers(0), st.integers(0, 255), CONTENT)
def test_a_damaged_stream_raises_nothing_but_wire_error(
    stream: tuple[int, list[tuple[bytes, dict[str, Any]]]], place: int, byte: int, tail: bytes
) -> None:
    data = bytearray(b"".join(raw for raw, _ in stream[1]))
    data[place % len(data)] = byte
    reader = PacketReader(Session(), "c2b")
    try:
        records = [packet.as_record() for packet in reader.feed(bytes(data) + tail)]
    except WireError as error:
        records = [packet.as_record() for packet in error.before]
    assert json.loads(json.dumps(records)) == records
