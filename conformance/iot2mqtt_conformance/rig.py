"""One launch of the connector under judgement, and what a scenario does with it.

A rig has a folder, a proxy, peripherals and an observer of its own, and an instance name and base topic that nothing
else uses, so that scenarios run side by side without seeing each other.
"""

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from iot2mqtt_conformance.launch import LaunchError, Process, connector_environment, wholly
from iot2mqtt_conformance.launch_image import SIGN_OF_LIFE, Container
from iot2mqtt_conformance.noticing import is_online, is_publish, saying
from iot2mqtt_conformance.observer import Observer, retained
from iot2mqtt_conformance.outfit import Outfit
from iot2mqtt_conformance.peripherals import READY_WITHIN, Peripherals, filled
from iot2mqtt_conformance.ports import free_port
from iot2mqtt_conformance.proxy import Proxy
from iot2mqtt_conformance.readonly import snapshot
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.waiting import ON_ITS_WAY, WhileItRuns

PATIENCE = 5.0
"""Seconds that an answer may take, before the measured round trip is added."""
STRUCK_WITHIN = 10.0
"""Seconds that the command of a stimulus may take."""


class Rig:
    """A running connector with everything around it; an async context manager that leaves nothing behind."""

    def __init__(
        self,
        stage: Stage,
        run: str,
        *,
        setting: Setting | None = None,
        broker: Broker | None = None,
        instance_of: str | None = None,
        base_of: str | None = None,
    ) -> None:
        self.stage = stage
        self.run = run
        self.setting = setting or Setting()
        self.broker = broker or stage.broker
        # Longer than the 23 bytes that a client id had in MQTT 3.1, so that cutting it down to them shows.
        self.instance = f"{(instance_of or run).replace('.', '_')}_{stage.salt}_conformance"
        self.base = f"site{stage.salt}/{base_of or run}"
        if stage.attached is not None:
            self.setting = stage.attached.setting(self.setting)
            self.instance, self.base = stage.attached.instance, stage.attached.base
        self.root = f"{self.base}/v1/instances/{self.instance}"
        self.proxy = Proxy()
        self._stack = AsyncExitStack()
        self._places: dict[str, int] = {}
        self._process: Process | None = None
        self._observer: Observer | None = None
        self._ended: Record | None = None
        self.config: dict[str, Any] = {}
        self.mute: Callable[[dict[str, Any]], bool] = lambda _facts: False
        """Says of a packet that it is not to be written down."""
        self.tap: Callable[[Record], object] = lambda _record: None
        """Told of everything on the wire right after it is written down, and before it is passed on."""

    # ------------------------------------------------------------------ life
    async def __aenter__(self) -> Self:
        """Start everything around the connector, then the connector."""
        try:
            await self._set_up()
        except BaseException:
            await wholly(self._stack.aclose())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, the connector first."""
        await wholly(self._stack.aclose())

    async def _set_up(self) -> None:
        if self.stage.attached is not None:
            self.config = dict(self.stage.declaration.instance)
            self.note("run", announce=True, environment_set=[], config=self.config, tz=self.setting.tz, attached=True)
            self._observer = await self.stage.attached.enter(self, self._stack)
            return
        folder = Path(tempfile.mkdtemp(prefix="iot2mqtt-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._stack.push_async_callback(self.proxy.close)
        if self.setting.late:
            self.proxy.port = free_port()
        else:
            await self.open()
        self._observer = Observer((self.broker.host, self.broker.port), self._on_seen)
        await self._stack.enter_async_context(self._observer)
        await self._observer.follow(self.topic("status"))
        peripherals = Peripherals(
            self.stage.declaration,
            self.run,
            seconds=self.stage.deadline(READY_WITHIN),
            broker=self.broker.port,
        )
        self._places = (await self._stack.enter_async_context(peripherals)).places
        outfit = Outfit(self.stage, self.setting, self.instance, self.base, self._places)
        self.config = outfit.configuration()
        environment = outfit.environment(folder, self.proxy.port)
        self.note("run", announce=True, environment_set=sorted(environment), config=self.config, tz=self.setting.tz)
        outfit.write_files(folder, self.config, self.proxy.port)
        self._stack.callback(self._look_at_files, folder, snapshot(folder))
        for suffix, payload in self.setting.retained.items():
            await self.send(suffix, payload, retain=True, probe="retained", kept=payload.decode())
        await self._launch(folder, environment)

    def _program(self, environment: Mapping[str, str]) -> Process:
        declaration = self.stage.declaration
        return Process(
            [filled(part, self._places) for part in declaration.command],
            cwd=declaration.workdir,
            env=connector_environment(environment),
            label=self.run,
            on_line=self._on_line,
            on_exit=self._on_exit,
        )

    def _image(self, folder: Path, environment: Mapping[str, str]) -> Container:
        return Container(
            self.stage.image,
            folder=folder,
            env=environment,
            label=self.run,
            healthy=self.setting.healthy,
            on_line=self._on_line,
            on_exit=self._on_exit,
        )

    async def _launch(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = self._image(folder, environment) if self.stage.image else self._program(environment)
        self._stack.push_async_callback(self._process.close)
        if isinstance(self._process, Container):
            await self._start_in_turn(self._process)
        else:
            await self._start(self._process)

    async def _start(self, process: Process) -> None:
        await process.start()
        self.stage.recorder.add(self.run, "proc.start", pid=process.pid)

    async def _start_in_turn(self, container: Container) -> None:
        """Let few containers start at once: many would starve each other past every deadline."""
        async with self.stage.turn:
            since = self.mark
            await self._start(container)
            await self.stage.recorder.wait(
                self.run,
                lambda r: r.kind in {"out", "conn.open", "conn.refused", "proc.exit"} or r.kind.startswith("tls."),
                since=since,
                seconds=SIGN_OF_LIFE,
            )
            await container.look_up()

    # ------------------------------------------------------------------ records
    def _on_line(self, stream: str, line: str) -> None:
        self.stage.recorder.add(self.run, "out", stream=stream, line=line)

    def _on_exit(self, code: int) -> None:
        self._ended = self.stage.recorder.add(self.run, "proc.exit", code=code)

    def _on_wire(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "packet" and self.mute(facts):
            return
        self.tap(self.stage.recorder.add(self.run, kind, **facts))

    def _look_at_files(self, folder: Path, before: Mapping[str, int]) -> None:
        """Write down what has happened to the files that are read-only to the connector."""
        now = snapshot(folder)
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        self.stage.recorder.add(self.run, "files", looked_at=len(before), changed=changed)

    def _on_seen(self, topic: str, payload: bytes, *, retained: bool) -> None:
        text = payload.decode("utf-8", "replace")
        self.stage.recorder.add(self.run, "seen", topic=topic, payload=text, retained=retained)

    def note(self, name: str, *, announce: bool = False, **facts: Any) -> Record:
        """Write down what the scenario does, for the judges to relate the wire to."""
        if announce:
            names = {"instance": self.instance, "base": self.base, "root": self.root, "port": self.proxy.port}
            return self.stage.recorder.add(self.run, "run", **names, **self.setting.facts(), **facts)
        return self.stage.recorder.add(self.run, "step", name=name, **facts)

    @property
    def mark(self) -> int:
        """The index of the next record: where to wait from."""
        return len(self.stage.recorder.transcript)

    async def until(
        self,
        predicate: Callable[[Record], bool],
        what: str,
        *,
        since: int = 0,
        seconds: float = PATIENCE,
        outlives: bool = False,
    ) -> Record | None:
        """Wait for a record; what did not come in time is written down, and None returned.

        Args:
            predicate: Whether a record is the one.
            what: What it is, for those who read that it did not come.
            since: The index of the first record that counts.
            seconds: The deadline, before it is widened by the round trip.
            outlives: Whether it may come long after the connector's end; otherwise that end is as good as the deadline.
        """
        limit = self.stage.deadline(seconds)
        begin = self.stage.recorder.now()
        if outlives:
            record = await self.stage.recorder.wait(self.run, predicate, since=since, seconds=limit)
        else:
            extra = self.stage.deadline(ON_ITS_WAY)
            wait = WhileItRuns(self.stage.recorder, self.run, lambda: self._ended, extra=extra)
            record = await wait.until(predicate, since=since, seconds=limit)
        if record is None:
            waited = min(limit, self.stage.recorder.now() - begin)
            self.note("timeout", what=what, seconds=round(waited, 3))
        return record

    async def kept(self, suffix: str) -> str | None:
        """Return what the broker keeps for a topic below the instance, as a new subscriber sees it."""
        if self.stage.attached is not None:
            return await self.stage.attached.kept(self.topic(suffix))
        return await retained((self.broker.host, self.broker.port), self.topic(suffix))

    # ------------------------------------------------------------------ the connector
    async def open(self) -> None:
        """Listen where the connector looks for its broker."""
        await self.proxy.start((self.broker.host, self.broker.port), self._on_wire)

    @property
    def pid(self) -> int:
        """The connector's process id.

        Raises:
            LaunchError: It was not started.
        """
        if self._process is None or self._process.pid is None:
            raise LaunchError("the connector was not started")
        return self._process.pid

    @property
    def container(self) -> str:
        """The name of the connector's container.

        Raises:
            LaunchError: It is no image.
        """
        if not isinstance(self._process, Container):
            raise LaunchError("the connector was not started as an image")
        return self._process.name

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
        return await self.states_of(self.stage.declaration.enabled, since=since, seconds=seconds)

    async def states_of(self, devices: Iterable[str], *, since: int = 0, seconds: float = PATIENCE) -> bool:
        """Wait for a state of each of these devices; one that is only sent again does not count."""
        waits = [
            self.until(
                saying(self.topic(f"devices/{device}/state")), f"state of {device}", since=since, seconds=seconds
            )
            for device in devices
        ]
        return all(await asyncio.gather(*waits))

    async def ended(self, *, since: int = 0, seconds: float) -> Record | None:
        """Wait until the process has ended."""
        return await self.until(lambda r: r.kind == "proc.exit", "the end of the process", since=since, seconds=seconds)

    def placed(self, text: str) -> str:
        """Return a text of the declaration with its placeholders replaced by this launch's ports."""
        return filled(text, self._places)

    def signal(self, number: signal.Signals) -> Record:
        """Send a signal to the connector."""
        record = self.stage.recorder.add(self.run, "proc.signal", signal=number.name)
        if self._process is not None:
            self._process.signal(number)
        return record

    async def stimulate(self, name: str) -> bool:
        """Let something happen to the world outside the connector, as declared; whether that was possible."""
        command = [filled(part, self._places) for part in self.stage.declaration.stimuli[name]]
        said: list[str] = []
        stimulus = Process(
            command,
            cwd=self.stage.declaration.workdir,
            env=connector_environment({}),
            label=f"{self.run}:{name}",
            on_line=lambda _stream, line: said.append(line),
            on_exit=lambda code: self.note("stimulus_end", stimulus=name, code=code, said=" | ".join(said[-5:])),
        )
        since = self.note("stimulus", stimulus=name, device=self.stage.declaration.struck(name)).i
        try:
            await stimulus.start()
            ended = await self.until(
                lambda r: r.kind == "step" and r.data["name"] == "stimulus_end",
                f"the end of the stimulus {name}",
                since=since,
                seconds=STRUCK_WITHIN,
                outlives=True,
            )
        finally:
            await stimulus.close()
        return ended is not None and ended.data["code"] == 0

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
        facts = {"device": device, "values": dict(values), "timestamp": stamp}
        return await self.order(f"devices/{device}", payload, probe=probe, command_id=command_id, **facts)

    async def order(
        self, target: str, payload: bytes, *, probe: str, command_id: str | None, **facts: Any
    ) -> Record | None:
        """Send a command as it stands to a device or a group, and wait for its response where it has an id."""
        since = self.mark
        await self.send(f"{target}/cmd", payload, probe=probe, id=command_id, **facts)
        if command_id is None:
            return None
        topic = self.topic(f"{target}/cmd/response")
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
