"""A connector in this process behind the suite's proxy, written down in the suite's form, for the suite's judges."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.sdk.brokers import Faults, Recorder
from tests.sdk.workshop import Workshop

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration, load
from iot2mqtt_conformance.names import KEEPALIVE, PREFIX
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome
from iot2mqtt_conformance.view import View
from iot2mqtt_sdk import BaseConnector

PATIENCE = 15.0
"""Seconds that anything may take."""
DECLARATION = """
[connector]
name = "lamps"
command = ["python", "main.py"]
instance = "instance.json"
[features]
commands = true
groups = true
property_topics = true
[[devices]]
id = "light1"
writable = { level = [1, 2] }
[[devices]]
id = "light2"
writable = { level = [1, 2] }
"""

Chosen = Callable[[Record], bool]


class Wire(Faults):
    """The proxy, with whatever happens on it written down."""

    def __init__(self, upstream: int, write: Callable[[str, dict[str, Any]], object]) -> None:
        self._write = write
        super().__init__(upstream)

    def _tell(self, kind: str, facts: dict[str, Any], /) -> None:
        self._write(kind, facts)


class JudgedRun:
    """One launch.

    Args:
        kind: The connector's class.
        config: Its instance file.
        workshop: Where connectors are made.
        broker: The broker's port.
    """

    def __init__(self, kind: type[BaseConnector], config: dict[str, Any], *, workshop: Workshop, broker: int) -> None:
        self.base = f"site/{uuid4().hex}"
        self.root = f"{self.base}/v1/instances/box"
        self.records: list[Record] = []
        self._began, self._wall = time.monotonic(), time.time()
        self._news = threading.Condition()
        self._config = config
        self.wire = Wire(broker, self.write)
        self.others = Recorder(broker, self.base)
        workshop.env(
            MQTT_PORT=str(self.wire.port),
            MQTT_BASE_TOPIC=self.base,
            MQTT_CLIENT_PREFIX=PREFIX,
            MQTT_KEEPALIVE=str(KEEPALIVE),
            CONNECTOR_TYPE="lamps",
        )
        workshop.configure(config)
        self._announce()
        self.connector = kind()

    def _announce(self) -> None:
        names = {"instance": "box", "base": self.base, "root": self.root, "port": self.wire.port, "tz": "UTC"}
        settings = {"qos": 1, "retain": True, "keepalive": KEEPALIVE, "interval": self._config["update_interval"]}
        self.write("run", {**names, **settings, "username": None, "password": None, "config": self._config})
        self.write("proc.start", {"pid": 0})

    # ------------------------------------------------------------------ writing down
    def write(self, kind: str, data: dict[str, Any]) -> Record:
        with self._news:
            at = round(time.monotonic() - self._began, 6)
            record = Record(len(self.records), at, "", kind, data)
            self.records.append(record)
            self._news.notify_all()
        return record

    def note(self, name: str, **facts: Any) -> Record:
        return self.write("step", {"name": name, **facts})

    def wait(self, chosen: Chosen, what: str, *, since: int = 0) -> Record:
        """Wait for a record; AssertionError where none comes in time."""

        def found() -> Record | None:
            return next((record for record in self.records[since:] if chosen(record)), None)

        with self._news:
            record = self._news.wait_for(found, PATIENCE)
        assert record is not None, f"waited in vain for {what}"
        return record

    def published(self, suffix: str, word: str = "") -> Chosen:
        """Choose what the connector publishes on a topic, with a word in the payload."""

        def chosen(record: Record) -> bool:
            data = record.data
            mine = record.kind == "packet" and data["dir"] == "c2b" and data["type"] == "PUBLISH"
            return mine and data["topic"] == f"{self.root}/{suffix}" and word in data.get("payload", "")

        return chosen

    # ------------------------------------------------------------------ what the others do
    def send(self, target: str, values: Any, *, probe: str, **facts: Any) -> Record:
        """Send a command with an id to a device or group."""
        identity = f"{probe}-{uuid4().hex[:8]}"
        suffix = f"{target}/cmd"
        sent = self.note("send", probe=probe, suffix=suffix, id=identity, values=values, **facts)
        self.others.publish(suffix, {"id": identity, "values": values, "timeout": 10_000})
        return sent

    def ask(self, name: str) -> None:
        """Ask a meta question and wait for the answer."""
        since = len(self.records)
        self.others.publish(f"meta/request/{name}", {})
        self.wait(self.published(f"meta/{name}"), f"meta/{name}", since=since)

    def close(self) -> None:
        self.connector.stop()
        self.others.close()
        self.wire.close()

    # ------------------------------------------------------------------ judging
    def accepted(self) -> set[str]:
        """Return the ids of the commands whose delivery the connector has acknowledged."""
        delivered: dict[tuple[int, int], str] = {}
        found = set()
        for data in (record.data for record in self.records if record.kind == "packet"):
            if data["type"] == "PUBLISH" and data["dir"] == "b2c" and data["topic"].endswith("/cmd"):
                delivered[data["conn"], data["id"]] = _id(data, "id")
            elif data["type"] == "PUBACK" and data["dir"] == "c2b":
                found.add(delivered.get((data["conn"], data["id"]), ""))
        return found - {""}

    def answered(self) -> set[str]:
        """Return the ids of the commands that have a response."""
        return {_id(record.data, "cmd_id") for record in self.records if _is_response(record)}

    def judge(self, clause: str, run: str, records: Iterable[Record], declaration: Declaration) -> None:
        """Have the suite's judge of a clause judge records as a launch of one of the suite's scenarios."""
        renamed = [Record(r.i, r.t, run, r.kind, r.data) for r in records]
        verdict = JUDGES[clause].function(View(Transcript(renamed, wall=self._wall)), declaration)
        shown = "\n".join(f"  {r.t:.3f} {r.kind} {str(r.data)[:220]}" for r in self.records[-60:])
        assert verdict.outcome is Outcome.PASS, f"{clause}: {verdict}\n{shown}"

    def once(self) -> list[Record]:
        """Return the records without what was sent again on a new connection because the old one was lost.

        MQTT delivers at least once: a response that the broker has not acknowledged in time is sent twice.
        """
        last = {_id(r.data, "cmd_id"): r.data["conn"] for r in self.records if _is_response(r)}
        return [r for r in self.records if not _is_response(r) or last[_id(r.data, "cmd_id")] == r.data["conn"]]


def _is_response(record: Record) -> bool:
    data = record.data
    mine = record.kind == "packet" and data["type"] == "PUBLISH" and data["dir"] == "c2b"
    return mine and data["topic"].endswith("/cmd/response")


def _id(data: dict[str, Any], key: str) -> str:
    """Return the id in a payload; empty where it has none that may be one."""
    try:
        found = json.loads(data["payload"])[key]
    except (ValueError, TypeError, KeyError):
        return ""
    return found if isinstance(found, str) else ""


def declare(folder: Path, config: dict[str, Any]) -> Declaration:
    """Write and load the declaration of the lamps."""
    (folder / "main.py").touch()
    (folder / "instance.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "conformance.toml").write_text(DECLARATION, encoding="utf-8")
    return load(folder)
