"""The simulated devices of a connector's folder: the [[peripherals]] of its conformance.toml."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from iot2mqtt_sdk.cli._port import HOST, free_port, in_use

FILE = "conformance.toml"
PATIENCE = 10.0
"""Seconds in which a simulated device must be ready, or end."""
BROKER = "broker.port"
"""The place where the broker is, for what stands for an application that is connected to it as well."""
STEP = 0.02
"""Seconds between two looks at whether a port is open, which nothing tells of."""
_PLACE = re.compile(r"\{((?:\w+\.)?port)\}")


def declaration(folder: Path) -> dict[str, Any]:
    """Return a folder's conformance.toml; {} where there is none.

    Raises:
        ClickException: It cannot be read.
    """
    file = folder / FILE
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file} cannot be read: {error}") from None


def program(arguments: Sequence[str]) -> list[str]:
    """Return a declared command; its `python` is the one that runs this."""
    return [sys.executable if arguments[0] == "python" else arguments[0], *arguments[1:]]


def ports_of(folder: Path, declared: Mapping[str, Any], instance: Path) -> dict[str, int] | None:
    """Return the ports at which an instance looks for the simulated devices, by the names that conformance.toml uses.

    The example that conformance.toml names has `{port}` in their place. An instance is made for the simulated devices
    if all that stands beside `{port}` is the same in both.

    Returns:
        The ports, or None where there are no simulated devices, or the instance is made for others.
    """
    name = declared.get("connector", {}).get("instance")
    if not declared.get("peripherals") or not isinstance(name, str):
        return None
    try:
        example = json.loads((folder / name).read_text(encoding="utf-8"))
        actual = json.loads(instance.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # The connector itself says what is wrong with its instance file.
    ports: dict[str, int] = {}
    return ports if _agree(example, actual, ports, strict=False) else None


def _agree(example: Any, actual: Any, ports: dict[str, int], *, strict: bool) -> bool:
    """Whether two documents agree wherever there are places for ports, which are collected."""
    if isinstance(example, str) and (names := _PLACE.findall(example)):
        pattern = r"(\d{1,5})".join(map(re.escape, _PLACE.split(example)[::2]))
        found = re.fullmatch(pattern, str(actual))
        numbers = map(int, found.groups()) if found else ()
        return found is not None and all(ports.setdefault(n, p) == p for n, p in zip(names, numbers, strict=True))
    if isinstance(example, dict):
        here = strict or any(isinstance(item, str) and _PLACE.search(item) for item in example.values())
        given = actual if isinstance(actual, dict) else {}
        return all(_agree(item, given.get(key), ports, strict=here) for key, item in example.items())
    if isinstance(example, list):
        entries = actual if isinstance(actual, list) else []
        return all(
            _agree(item, entries[number] if number < len(entries) else None, ports, strict=strict)
            for number, item in enumerate(example)
        )
    return not strict or bool(example == actual)


@contextmanager
def devices(folder: Path, declared: Mapping[str, Any], ports: Mapping[str, int]) -> Iterator[None]:
    """Start the simulated devices, wait until each is ready, and end them in the end.

    One whose port is taken already is left to whoever plays it there.

    Raises:
        ClickException: The declaration is wrong, a program does not start or is not ready in time, or it wants to know
            of a broker that `ports` does not name.
    """
    workdir = folder / str(declared["connector"].get("workdir", "."))
    with ExitStack() as stack:
        for number, entry in enumerate(declared["peripherals"]):
            name, command, ready = _checked(entry, number)
            port = ports.get(f"{name}.port") or (ports.get("port") if number == 0 else None) or free_port(0)
            if in_use(port):
                click.echo(
                    f"{HOST}:{port} is taken, and whoever listens there is used as the simulated {name}", err=True
                )
                continue
            if BROKER not in ports and any(f"{{{BROKER}}}" in part for part in command):
                advice = f"set MQTT_HOST={HOST}, or add --broker embedded"
                raise click.ClickException(f"the simulated {name} needs a broker on this machine: {advice}")
            places = {**ports, "port": port, f"{name}.port": port}
            arguments = [_filled(part, places) for part in command]
            stack.enter_context(_started(name, arguments, workdir, _filled(ready, places)))
            click.echo(f"simulated {name}: {HOST}:{port}", err=True)
        yield


def _checked(entry: Mapping[str, Any], number: int) -> tuple[str, list[str], str]:
    command, ready = entry.get("command"), entry.get("ready", "")
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise click.ClickException(f"{FILE}: peripherals[{number}] has no command: write a list of texts")
    if not str(ready).startswith(("tcp:", "line:")):
        raise click.ClickException(f"{FILE}: peripherals[{number}].ready must be tcp:{{port}} or line:TEXT")
    return str(entry.get("name", f"peripheral{number}")), command, str(ready)


def _filled(text: str, places: Mapping[str, int]) -> str:
    return _PLACE.sub(lambda found: str(places.get(found.group(1), found.group())), text)


@contextmanager
def _started(name: str, arguments: list[str], workdir: Path, ready: str) -> Iterator[None]:
    try:
        # A group of its own: Ctrl-C in the terminal must reach the connector first.
        process = subprocess.Popen(
            program(arguments),
            cwd=workdir,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
    except OSError as error:
        raise click.ClickException(f"the simulated {name} does not start: {arguments[0]}: {error.strerror}") from None
    output = _Output(process, name)
    try:
        if not output.ready(ready):
            raise click.ClickException(f"the simulated {name} was not ready ({ready}) in {PATIENCE:g} s: {output.last}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.close()


class _Output:
    """Passes on what a simulated device prints, and knows when it is ready."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process = process
        self._name = name
        self._wanted = ""
        self._seen = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"simulated-{name}", daemon=True)
        self.last = "it printed nothing"

    def ready(self, condition: str) -> bool:
        """Wait until `tcp:PORT` is open or `line:TEXT` is printed; False where that takes too long."""
        kind, _, what = condition.partition(":")
        self._wanted = what if kind == "line" else ""
        self._thread.start()
        if kind == "line":
            return self._seen.wait(PATIENCE)
        for _ in range(round(PATIENCE / STEP)):
            if in_use(int(what)) and _answers(int(what)):
                return True
            if self._ended.wait(STEP):
                return False
        return False

    def close(self) -> None:
        """Wait for the last line, once the process has ended."""
        self._thread.join(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.last = line.rstrip()
            click.echo(f"{self._name}: {self.last}", err=True)
            if self._wanted and self._wanted in line:
                self._seen.set()
        self._ended.set()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), 1):
            return True
    except OSError:
        return False
