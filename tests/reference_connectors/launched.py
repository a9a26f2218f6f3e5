"""A reference connector that runs as a program at a Mosquitto, beside its simulated devices."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from iot2mqtt_conformance.launch import connector_environment
from tests.conformance.suite_runs import REFERENCES
from tests.sdk.brokers import Broker, Recorder
from tests.sdk.workshop import Program


@dataclass(frozen=True, slots=True)
class Launched:
    """A running connector of the instance `box`, and what is heard of it."""

    program: Program
    seen: Recorder

    def error(self, device: str, text: str, **how: Any) -> dict[str, Any]:
        """Wait for an error message of a device in which a text stands."""
        found = self.seen.wait(f"devices/{device}/error", lambda seen: text in seen.json["message"], **how)
        message: dict[str, Any] = found.json
        return message

    def state(self, device: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a state of a device from now on that shows some values, or for any."""
        return self.state_since(self.seen.mark(), device, **wanted)

    def state_since(self, since: int, device: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a state of a device from a mark on that shows some values."""
        found = self.seen.wait(
            f"devices/{device}/state", lambda seen: wanted.items() <= seen.json["state"].items(), since=since
        )
        values: dict[str, Any] = found.json["state"]
        return values

    def errors(self, since: int = 0) -> set[str]:
        """Return the devices of which there was an error."""
        topics = (seen.topic.removeprefix(f"{self.seen.root}/").split("/") for seen in self.seen.all[since:])
        return {levels[1] for levels in topics if levels[0] == "devices" and levels[-1] == "error"}

    def child(self, text: str) -> psutil.Process | None:
        """Return the child process whose command line holds a text, or None where there is none."""
        for process in psutil.Process(self.program.process.pid).children():
            try:
                if text in " ".join(process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None

    def family(self, *texts: str) -> list[psutil.Process]:
        """Return the child processes with these texts, which must be there."""
        found = [child for text in texts if (child := self.child(text)) is not None]
        assert len(found) == len(texts), found
        return found

    def availability(self, device: str, word: str, **how: Any) -> None:
        """Wait until a device is said to be online or offline."""
        self.seen.wait(f"devices/{device}/availability", lambda seen: seen.json == word, **how)


@contextmanager
def launched(
    name: str, program: str, instance: Mapping[str, Any], *, broker: Broker, folder: Path, **variables: str
) -> Iterator[Launched]:
    """Run a connector once it is online, and end it."""
    base = f"house/{uuid4().hex}"
    with (
        closing(Recorder(broker.port, base)) as seen,
        started(name, program, instance, broker=broker, folder=folder, base=base, **variables) as running,
    ):
        seen.wait_status("online")
        yield Launched(running, seen)


@contextmanager
def started(
    name: str,
    program: str,
    instance: Mapping[str, Any],
    *,
    broker: Broker,
    folder: Path,
    base: str = "house",
    **variables: str,
) -> Iterator[Program]:
    """Run a connector, whether it will be online or not, and end it."""
    (folder / "instances").mkdir(parents=True, exist_ok=True)
    (folder / "instances" / "box.json").write_text(json.dumps(instance), encoding="utf-8")
    environment = connector_environment(
        {
            "IOT2MQTT_PATH": str(folder),
            "INSTANCE_NAME": "box",
            "CONNECTOR_TYPE": name,
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(broker.port),
            "MQTT_BASE_TOPIC": base,
            # Connectors of several tests may be at one broker, and must not take each other's session over.
            "MQTT_CLIENT_PREFIX": f"test{uuid4().hex[:8]}",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
    )
    running = Program([sys.executable, program], cwd=REFERENCES / name, environment=environment)
    try:
        yield running
    finally:
        _end(running)


def _end(program: Program) -> None:
    """Let a connector of several processes end them before it is killed itself."""
    program.process.terminate()
    try:
        program.wait()
    finally:
        program.close()


@contextmanager
def simulated(name: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a connector's simulator until it says that it is ready."""
    command = [sys.executable, "simulator.py", "serve", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=REFERENCES / name, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.terminate()


def told(name: str, port: int, verb: str, *words: str) -> None:
    """Tell a running simulator something."""
    command = [sys.executable, "simulator.py", verb, "--port", str(port), *words]
    subprocess.run(command, cwd=REFERENCES / name, check=True, capture_output=True)


def called(name: str, tool: str, **values: Any) -> dict[str, Any]:
    """Run an action script as a backend does: one JSON object in, one out."""
    request = json.dumps({"tool": tool, "input": values})
    result = subprocess.run(
        [sys.executable, f"actions/{tool}.py"],
        cwd=REFERENCES / name,
        input=request,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer
