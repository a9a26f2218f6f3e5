"""One launch of the connector under judgement, and what a scenario does with it.

A rig has a folder, a proxy, peripherals and an observer of its own, and an instance name and base topic that nothing
else uses, so that scenarios run side by side without seeing each other.
"""

import asyncio
import copy
import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.launch import LaunchError, PeripheralProcess, Process, connector_environment
from iot2mqtt_conformance.names import DISABLED, KEEPALIVE, NEIGHBOUR, PREFIX
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.ports import free_port
from iot2mqtt_conformance.proxy import Proxy
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.transcript import Record, Recorder

PATIENCE = 5.0
"""Seconds that an answer may take, before the measured round trip is added."""
ROUND_TRIPS = 10
"""How many measured round trips every deadline grows by."""


@dataclass(slots=True)
class Stage:
    """What all rigs of one judgement share.

    Attributes:
        declaration: The connector under judgement.
        recorder: Where everything is written down.
        broker: The broker of all rigs that do not bring their own.
        new_broker: Starts a further one.
        salt: A random word in every name.
        seed: The seed of generated payloads.
        payloads: Those payloads, made before anything is timed.
        round_trip: Seconds that a question took in the smoke phase.
    """

    declaration: Declaration
    recorder: Recorder
    broker: Broker
    new_broker: Callable[[], Broker]
    salt: str
    seed: int
    payloads: list[bytes]
    round_trip: float = 0.0
    smoke_passed: asyncio.Event = field(default_factory=asyncio.Event)
    smoke_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def smoke_ended_or_passed(self) -> None:
        """Wait until the first launch has shown whether the connector works, whichever way."""
        waits = [asyncio.create_task(event.wait()) for event in (self.smoke_passed, self.smoke_ended)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    def deadline(self, seconds: float) -> float:
        """Return a deadline in seconds, widened by the round trip of this connector on this machine."""
        return seconds + ROUND_TRIPS * self.round_trip


@dataclass(frozen=True, slots=True)
class Setting:
    """How one launch differs from the usual one.

    Attributes:
        interval: update_interval in seconds.
        tz: The time zone variable.
        username: MQTT_USERNAME; None leaves it unset.
        password: MQTT_PASSWORD; None leaves it unset.
        env_file: Lines of the .env file.
        config_text: Turns the instance file's text into what is written instead; None writes no file.
    """

    interval: float = 1.0
    tz: str = "UTC"
    username: str | None = "conformance"
    password: str | None = field(default="pa55-" + "word", repr=False)
    env_file: str = ""
    config_text: Callable[[str], str] | None = str


def is_publish(record: Record, topic: str) -> bool:
    """Whether a record is a PUBLISH of the connector to a topic."""
    data = record.data
    return record.kind == "packet" and data["dir"] == "c2b" and data["type"] == "PUBLISH" and data["topic"] == topic


def is_online(record: Record, topic: str) -> bool:
    """Whether a record is the connector's `online`."""
    return is_publish(record, topic) and record.data.get("payload") == "online"


def publishing(topic: str) -> Callable[[Record], bool]:
    """Return a predicate: the connector publishes on a topic."""
    return lambda record: is_publish(record, topic)


class Rig:
    """A running connector with everything around it; an async context manager that leaves nothing behind."""

    def __init__(self, stage: Stage, run: str, *, setting: Setting | None = None, broker: Broker | None = None) -> None:
        self.stage = stage
        self.run = run
        self.setting = setting or Setting()
        self.broker = broker or stage.broker
        # Longer than the 23 bytes that a client id had in MQTT 3.1, so that cutting it down to them shows.
        self.instance = f"{run.replace('.', '_')}_{stage.salt}_conformance"
        self.base = f"site{stage.salt}/{run}"
        self.root = f"{self.base}/v1/instances/{self.instance}"
        self.proxy = Proxy()
        self._stack = AsyncExitStack()
        self._places: dict[str, int] = {}
        self._process: Process | None = None
        self._observer: Observer | None = None
        self.config: dict[str, Any] = {}

    # ------------------------------------------------------------------ life
    async def __aenter__(self) -> Self:
        """Start everything around the connector, then the connector."""
        try:
            await self._set_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, the connector first."""
        await self._stack.aclose()

    async def _set_up(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="iot2mqtt-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        await self.proxy.start((self.broker.host, self.broker.port), self._on_wire)
        self._stack.push_async_callback(self.proxy.close)
        self._observer = Observer((self.broker.host, self.broker.port), self._on_seen)
        await self._stack.enter_async_context(self._observer)
        await self._observer.follow(self.topic("status"))
        self._places = {"port": free_port()} if self.stage.declaration.peripherals else {}
        for peripheral in self.stage.declaration.peripherals:
            await self._start_peripheral(peripheral.name, peripheral.command, peripheral.ready)
        self.config = self._configuration()
        environment = self._environment(folder)
        self.note("run", announce=True, environment_set=sorted(environment), config=self.config, tz=self.setting.tz)
        self._write_files(folder)
        await self._launch(environment)

    async def _start_peripheral(self, name: str, command: tuple[str, ...], ready: str) -> None:
        port = self._places["port"] if f"{name}.port" not in self._places and len(self._places) == 1 else free_port()
        self._places[f"{name}.port"] = port
        own = {**self._places, "port": port}
        process = PeripheralProcess(
            [_fill(part, own) for part in command],
            cwd=self.stage.declaration.workdir,
            env=connector_environment({}),
            label=f"{self.run}:{name}",
            ready=_fill(ready, own),
        )
        self._stack.push_async_callback(process.stop)
        await process.start(self.stage.deadline(10))

    def _configuration(self) -> dict[str, Any]:
        config: dict[str, Any] = _place(copy.deepcopy(dict(self.stage.declaration.instance)), self._places)
        first = next(device for device in config["devices"] if device.get("enabled", True))
        config["devices"].append({**first, "device_id": DISABLED, "enabled": False})
        config.update(instance_id=self.instance, connector_type=self.stage.declaration.name)
        if self.stage.declaration.reporting == "polling":
            config["update_interval"] = self.setting.interval
        return config

    def _environment(self, folder: Path) -> dict[str, str]:
        chosen = {
            "IOT2MQTT_PATH": str(folder),
            "IOT2MQTT_SECRETS_DIR": str(folder / "secrets"),
            "INSTANCE_NAME": self.instance,
            "CONNECTOR_TYPE": self.stage.declaration.name,
            "MODE": "production",
            "PYTHONUNBUFFERED": "1",
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(self.proxy.port),
            "MQTT_USERNAME": self.setting.username,
            "MQTT_PASSWORD": self.setting.password,
            "MQTT_BASE_TOPIC": self.base,
            "MQTT_CLIENT_PREFIX": PREFIX,
            "MQTT_QOS": "1",
            "MQTT_RETAIN": "true",
            "MQTT_KEEPALIVE": str(KEEPALIVE),
            "LOG_LEVEL": "INFO",
            "TZ": self.setting.tz,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def _write_files(self, folder: Path) -> None:
        for name in ("instances", "shared", "secrets"):
            (folder / name).mkdir()
        (folder / ".env").write_text(self.setting.env_file, encoding="utf-8")
        if self.setting.config_text is not None:
            text = self.setting.config_text(json.dumps(self.config, indent=2))
            (folder / "instances" / f"{self.instance}.json").write_text(text, encoding="utf-8")
        neighbour = {"instance_id": NEIGHBOUR, "devices": [{"device_id": f"{NEIGHBOUR}1"}], "groups": []}
        text = json.dumps({**self.config, **neighbour})
        (folder / "instances" / f"{NEIGHBOUR}.json").write_text(text, encoding="utf-8")

    async def _launch(self, environment: Mapping[str, str]) -> None:
        declaration = self.stage.declaration
        self._process = Process(
            [_fill(part, self._places) for part in declaration.command],
            cwd=declaration.workdir,
            env=connector_environment(environment),
            label=self.run,
            on_line=lambda stream, line: self.stage.recorder.add(self.run, "out", stream=stream, line=line),
            on_exit=lambda code: self.stage.recorder.add(self.run, "proc.exit", code=code),
        )
        self._stack.push_async_callback(self._process.close)
        await self._process.start()
        self.stage.recorder.add(self.run, "proc.start", pid=self._process.pid)

    # ------------------------------------------------------------------ records
    def _on_wire(self, kind: str, facts: dict[str, Any]) -> None:
        self.stage.recorder.add(self.run, kind, **facts)

    def _on_seen(self, topic: str, payload: bytes, *, retained: bool) -> None:
        text = payload.decode("utf-8", "replace")
        self.stage.recorder.add(self.run, "seen", topic=topic, payload=text, retained=retained)

    def note(self, name: str, *, announce: bool = False, **facts: Any) -> Record:
        """Write down what the scenario does, for the judges to relate the wire to."""
        if announce:
            names = {"instance": self.instance, "base": self.base, "root": self.root, "port": self.proxy.port}
            setting = {
                "username": self.setting.username,
                "password": self.setting.password,
                "interval": self.setting.interval,
            }
            return self.stage.recorder.add(self.run, "run", **names, **setting, **facts)
        return self.stage.recorder.add(self.run, "step", name=name, **facts)

    @property
    def mark(self) -> int:
        """The index of the next record: where to wait from."""
        return len(self.stage.recorder.transcript)

    async def until(
        self, predicate: Callable[[Record], bool], what: str, *, since: int = 0, seconds: float = PATIENCE
    ) -> Record | None:
        """Wait for a record; what did not come in time is written down, and None returned."""
        limit = self.stage.deadline(seconds)
        record = await self.stage.recorder.wait(self.run, predicate, since=since, seconds=limit)
        if record is None:
            self.note("timeout", what=what, seconds=limit)
        return record

    # ------------------------------------------------------------------ the connector
    def topic(self, suffix: str) -> str:
        """Return a full topic below the instance."""
        return f"{self.root}/{suffix}"

    async def online(self, *, since: int = 0, seconds: float | None = None) -> Record | None:
        """Wait until the connector says `online`, or is gone."""
        limit = seconds or self.stage.declaration.start_deadline
        record = await self.until(
            lambda r: is_online(r, self.topic("status")) or r.kind == "proc.exit", "online", since=since, seconds=limit
        )
        return record if record is not None and record.kind == "packet" else None

    async def states(self, *, since: int = 0, seconds: float = PATIENCE) -> bool:
        """Wait for a state of every enabled device."""
        waits = [
            self.until(
                publishing(self.topic(f"devices/{device}/state")), f"state of {device}", since=since, seconds=seconds
            )
            for device in self.stage.declaration.enabled
        ]
        return all(await asyncio.gather(*waits))

    async def ended(self, *, since: int = 0, seconds: float) -> Record | None:
        """Wait until the process has ended."""
        return await self.until(lambda r: r.kind == "proc.exit", "the end of the process", since=since, seconds=seconds)

    def signal(self, number: signal.Signals) -> Record:
        """Send a signal to the connector."""
        record = self.stage.recorder.add(self.run, "proc.signal", signal=number.name)
        if self._process is not None:
            self._process.signal(number)
        return record

    # ------------------------------------------------------------------ messages
    async def send(self, suffix: str, payload: bytes, *, retain: bool = False, **facts: Any) -> Record:
        """Publish to the connector; the record carries what the scenario wants judges to know of it."""
        record = self.note("send", suffix=suffix, size=len(payload), **facts)
        await self.observer.publish(self.topic(suffix), payload, retain=retain)
        return record

    @property
    def observer(self) -> Observer:
        """The suite's own connection to the broker."""
        if self._observer is None:
            raise LaunchError("the rig is not set up")
        return self._observer

    async def command(
        self,
        device: str,
        values: Mapping[str, Any],
        *,
        probe: str,
        identified: bool = True,
        timestamp: str | None = None,
    ) -> Record | None:
        """Send a command and wait for its response; one without an id is only sent."""
        command_id = f"{probe}-{uuid4().hex[:8]}" if identified else None
        stamp = timestamp or datetime.now(UTC).isoformat().replace("+00:00", "Z")
        body = {"id": command_id, "timestamp": stamp, "values": dict(values), "timeout": 5000}
        payload = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        since = self.mark
        await self.send(
            f"devices/{device}/cmd",
            payload,
            probe=probe,
            device=device,
            id=command_id,
            values=dict(values),
            timestamp=stamp,
        )
        if command_id is None:
            return None
        topic = self.topic(f"devices/{device}/cmd/response")
        return await self.until(
            lambda r: is_publish(r, topic) and f'"{command_id}"' in r.data.get("payload", ""),
            f"the response to {probe}",
            since=since,
        )

    async def get(self, device: str, payload: bytes = b"", *, probe: str, since: int | None = None) -> Record | None:
        """Ask for a device's state and wait for it."""
        begin = self.mark if since is None else since
        await self.send(f"devices/{device}/get", payload, probe=probe, device=device)
        topic = self.topic(f"devices/{device}/state")
        return await self.until(lambda r: is_publish(r, topic), f"the answer to {probe}", since=begin)

    async def meta(self, name: str, *, probe: str, seconds: float = PATIENCE) -> Record | None:
        """Ask a meta question and wait for its answer."""
        since = self.mark
        await self.send(f"meta/request/{name}", b"{}", probe=probe)
        return await self.until(
            lambda r: is_publish(r, self.topic(f"meta/{name}")), f"meta/{name}", since=since, seconds=seconds
        )


def _fill(text: str, places: Mapping[str, int]) -> str:
    for name, port in places.items():
        text = text.replace("{" + name + "}", str(port))
    return text


def _place(value: Any, places: Mapping[str, int]) -> Any:
    """Fill placeholders of a JSON value; a string that is nothing but one becomes the number."""
    if isinstance(value, dict):
        return {key: _place(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_place(item, places) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value[1:-1] in places:
        return places[value[1:-1]]
    return _fill(value, places)
