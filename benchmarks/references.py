"""Measures every reference connector with ten devices on a Mosquitto of this machine, and prints a Markdown table.

    python -m benchmarks.references

Columns:
    lines     of the program itself, without blanks, comments, docstrings, action scripts and simulators
    start     milliseconds from the start of the process to `online` at a subscriber, the median of five
    memory    resident megabytes (10^6 bytes) of all its processes together, at `online` and 5 s later

The exit code is 1 where the connector on BaseConnector is over one of its limits.
"""

import asyncio
import json
import platform
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.source_lines import languages
from iot2mqtt_conformance.declaration import FILE_NAME, Declaration, load
from iot2mqtt_conformance.launch import Process, connector_environment
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.peripherals import Peripherals, filled, placed
from iot2mqtt_conformance.preparing import prepare
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.services.choose import choose

REFERENCES = Path(__file__).parents[1] / "reference_connectors"
STARTS = 5
DEVICES = 10
SETTLED = 5.0
"""Seconds between the two looks at the memory."""
ON_BASE_CONNECTOR = "simple"
START_LIMIT = 300.0
"""Milliseconds until a connector on BaseConnector with ten devices must be online."""
MEMORY_LIMIT = 32.0
"""Megabytes that it may hold."""
HEAD = """\
| connector | style | language | lines | start | memory at `online` | memory after 5 s |
|---|---|---|--:|--:|--:|--:|"""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one connector: milliseconds and megabytes."""

    name: str
    style: str
    languages: Mapping[str, int]
    start: float
    memory: float
    settled: float

    def __str__(self) -> str:
        """Return the row of the table."""
        code = f"{', '.join(self.languages)} | {sum(self.languages.values())}"
        figures = f"{self.start:.0f} ms | {self.memory:.0f} MB | {self.settled:.0f} MB"
        return f"| [{self.name}]({self.name}) | {self.style} | {code} | {figures} |"


class Seen:
    """Wakes whoever waits for `online`, and remembers whose state was published."""

    def __init__(self) -> None:
        self.online = asyncio.Event()
        self.states: set[str] = set()

    def __call__(self, topic: str, payload: bytes, *, retained: bool) -> None:  # noqa: ARG002 - the observer's call
        """Take one message."""
        if topic.endswith("/state"):
            self.states.add(topic)
        elif payload == b"online":
            self.online.set()


def ten_devices(declaration: Declaration) -> dict[str, Any]:
    """Return the instance configuration with the enabled devices repeated until there are ten."""
    devices = [device for device in declaration.instance["devices"] if device.get("enabled", True)]
    ten = [{**devices[n % len(devices)], "device_id": f"device{n}"} for n in range(DEVICES)]
    return {**declaration.instance, "devices": ten, "groups": [], "update_interval": 1}


def resident(pid: int) -> float:
    """Return the resident memory of a process and all its descendants in megabytes."""
    total = 0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def environment(declaration: Declaration, folder: Path, broker: Broker, name: str) -> dict[str, str]:
    """Return the connector's environment."""
    return connector_environment(
        {
            "IOT2MQTT_PATH": str(folder),
            "IOT2MQTT_SECRETS_DIR": str(folder),
            "INSTANCE_NAME": name,
            "CONNECTOR_TYPE": declaration.name,
            "MQTT_HOST": broker.host,
            "MQTT_PORT": str(broker.port),
            "LOG_LEVEL": "WARNING",
        }
    )


async def launch(declaration: Declaration, broker: Broker, name: str, *, settle: bool) -> tuple[float, float, float]:
    """Start a connector once; return milliseconds to `online`, and megabytes then and, if asked for, later."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iot2mqtt-bench-")))
        peripherals = Peripherals(declaration, name, seconds=declaration.start_deadline, broker=broker.port)
        places = (await stack.enter_async_context(peripherals)).places
        config = placed({**ten_devices(declaration), "instance_id": name}, places)
        (folder / "instances").mkdir()
        (folder / "instances" / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
        seen = Seen()
        observer = await stack.enter_async_context(Observer((broker.host, broker.port), seen))
        for topic in ("status", "devices/+/state"):
            await observer.follow(f"IoT2mqtt/v1/instances/{name}/{topic}")
        words = [filled(word, places) for word in declaration.command]
        env = environment(declaration, folder, broker, name)
        process = Process(words, cwd=declaration.workdir, env=env, label=name)
        stack.push_async_callback(process.close)
        began = time.monotonic()
        await process.start()
        await asyncio.wait_for(seen.online.wait(), declaration.start_deadline)
        start = (time.monotonic() - began) * 1000
        pid = process.pid or 0
        memory = resident(pid)
        if settle:
            await asyncio.sleep(SETTLED)
            if len(seen.states) < DEVICES:
                sys.exit(f"{name} published {len(seen.states)} of {DEVICES} states: its figures would mean nothing")
        return start, memory, resident(pid)


def style(folder: Path) -> str:
    """Return what the title of a connector's README says after the name."""
    readme = folder / "README.md"
    title = re.match(r"# .+?: (.+)", readme.read_text(encoding="utf-8")) if readme.exists() else None
    return title[1] if title else "?"


async def measure(folder: Path, broker: Broker) -> Row:
    """Measure one reference connector."""
    declaration = prepare(load(folder))
    runs = [
        await launch(declaration, broker, f"{folder.name}{number}", settle=number == STARTS - 1)
        for number in range(STARTS)
    ]
    return Row(
        name=folder.name,
        style=style(folder),
        languages=languages(folder, declaration),
        start=median(start for start, _, _ in runs),
        memory=runs[-1][1],
        settled=runs[-1][2],
    )


async def main() -> int:
    """Print the table and how the limits were kept."""
    new_broker, services = choose("local")
    broker = new_broker()
    await broker.start()
    try:
        rows = [await measure(file.parent, broker) for file in sorted(REFERENCES.glob(f"*/{FILE_NAME}"))]
    finally:
        await broker.stop()
    machine = f"{psutil.cpu_count()} processors, load {psutil.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    sys.stdout.write("\n".join([HEAD, *map(str, rows), "", f"{machine}; {services}", ""]))
    row = next(row for row in rows if row.name == ON_BASE_CONNECTOR)
    sys.stdout.write(
        f"BaseConnector with {DEVICES} devices: {row.start:.0f} ms of {START_LIMIT:.0f} ms,"
        f" {row.settled:.1f} MB of {MEMORY_LIMIT:.0f} MB\n"
    )
    return int(row.start > START_LIMIT or row.settled > MEMORY_LIMIT)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
