"""A member of a consumer group, where the group does not answer it."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import pytest

from iot2mqtt_pipeline.adapters import kafka
from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.stage import Partition, Record
from tests.pipeline.kafkas import Topics
from tests.waiting import DEADLINE, wait_until

PATIENT = {"socket.timeout.ms": "300000", "api.version.request.timeout.ms": "300000"}
"""Settings with which the driver gives up nothing on its own while a test runs."""


@contextmanager
def deaf(port: int) -> Iterator[int]:
    """Stand in front of a Kafka, and answer nothing to who comes first, until he has hung up; give the port."""
    links: list[socket.socket] = []

    def serve() -> None:
        first, _ = door.accept()
        with first:
            while first.recv(65536):
                pass
        while True:
            try:
                near, _ = door.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            links.extend((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=carry, args=(one, other), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield door.getsockname()[1]
        finally:
            door.shutdown(socket.SHUT_RDWR)
            for link in links:
                link.close()


def carry(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass


def test_a_member_that_its_group_does_not_answer_gives_way_to_a_new_one(
    topics: Topics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka, "JOINED_WITHIN", 6.0)
    topics.write(topics.raw, [(b"key", b"value")])
    found: list[Record] = []

    def read() -> list[Record]:
        found.extend(source.poll(10, 0.2))
        return found

    with deaf(int(topics.server.bootstrap.rpartition(":")[2])) as port:
        client = PATIENT | {"bootstrap.servers": f"127.0.0.1:{port}"}
        with closing(KafkaSource(client=client, group=topics.group(), topics=[topics.raw])) as source:
            wait_until(read, DEADLINE)
            said = [record.getMessage() for record in caplog.records if "a new one joins" in record.getMessage()]
    assert [record.value for record in found] == [b"value"]
    assert said


def test_members_that_share_the_partitions_stay(topics: Topics, caplog: pytest.LogCaptureFixture) -> None:
    """Four members for three partitions: three of them have lost some, and one never gets any; all have heard so."""
    shares: dict[int, int] = {}

    def member(number: int) -> KafkaSource:
        def assigned(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
            shares[number] = shares.get(number, 0) + len(partitions)
            return {}

        def revoked(partitions: Sequence[Partition]) -> None:
            shares[number] -= len(partitions)

        return KafkaSource(
            client=topics.client, group=topics.group(), topics=[topics.raw], on_assign=assigned, on_revoke=revoked
        )

    with ExitStack() as stack:
        members: list[KafkaSource] = []

        def shared(wanted: Sequence[int]) -> bool:
            for one in members:
                one.poll(1, 0.05)
            return sorted(shares.values()) == wanted

        for wanted in ([3], [1, 2], [1, 1, 1], [0, 1, 1, 1]):
            members.append(stack.enter_context(closing(member(len(members)))))
            wait_until(partial(shared, wanted))
        wait_until(lambda: shared([0, 1, 1, 1]) and not any(one._waits for one in members))
    assert "a new one joins" not in caplog.text
