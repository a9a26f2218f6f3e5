"""What a connector's folder tells without starting anything: the program, the instance file, and what lies beside."""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLACEHOLDER = re.compile(r"\{([\w-]+\.)?port\}")
"""Stands in an instance file for the port of a simulated device."""
EXECUTABLES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"MZ")
"""What programs that a compiler has made begin with: on Linux, macOS and Windows."""
EXEC_FORM = re.compile(r"^\s*(ENTRYPOINT|CMD)\s+(\[.*\])\s*$", re.IGNORECASE | re.MULTILINE)


class AdoptionError(Exception):
    """A declaration cannot be written; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a connector's folder.

    Attributes:
        folder: The folder itself.
        name: What the connector is called: CONNECTOR_TYPE.
        command: The program and its arguments.
        why: What the program was told by, such as `main.py`.
        instance: The instance file, seen from the folder.
        document: What stands in it.
        others: Further instance files.
        setup: Whether there is a setup.json.
        manifest: Whether there is a manifest.json.
        tools: The tools of the setup.json.
    """

    folder: Path
    name: str
    command: tuple[str, ...]
    why: str
    instance: str
    document: dict[str, Any]
    others: tuple[str, ...]
    setup: bool
    manifest: bool
    tools: tuple[str, ...]

    @property
    def devices(self) -> list[str]:
        """Ids of the enabled devices."""
        return [d["device_id"] for d in self.document["devices"] if d.get("enabled", True)]

    @property
    def needs_a_device(self) -> bool:
        """Whether the instance file leaves a port to a simulated device."""
        return PLACEHOLDER.search(json.dumps(self.document)) is not None


def look(folder: Path, command: str | None = None) -> Found:
    """Look at a connector's folder.

    Args:
        folder: The folder.
        command: The program and its arguments, where the folder need not be asked.

    Raises:
        AdoptionError: It is no folder, or holds no instance file or no program that can be told.
    """
    if not folder.is_dir():
        raise AdoptionError(f"{folder} is not a folder: name the one that holds the connector")
    instance, *others = _instances(folder)
    document = _instance(folder / instance)
    words, why = (words_of(command, "--command"), "--command") if command else _program(folder)
    setup, manifest = _object(folder / "setup.json"), _object(folder / "manifest.json")
    name = document.get("connector_type") or (manifest or {}).get("domain")
    return Found(
        folder=folder,
        name=name if isinstance(name, str) and name else folder.resolve().name,
        command=words,
        why=why,
        instance=instance,
        document=document,
        others=tuple(others),
        setup=setup is not None,
        manifest=manifest is not None,
        tools=tuple(setup.get("tools") or {}) if setup else (),
    )


def words_of(command: str, option: str) -> tuple[str, ...]:
    """Return the words of a command line.

    Raises:
        AdoptionError: A quotation in it does not end.
    """
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise AdoptionError(f"{option} is no command line: {error} in {command!r}") from None


def _instances(folder: Path) -> list[str]:
    own = [folder / "conformance" / "instance.json", folder / "instance.json"]
    places = [place for place in (*own, *sorted(folder.glob("instances/*.json"))) if place.is_file()]
    found = [str(place.relative_to(folder)) for place in places]
    if not found:
        raise AdoptionError(
            f"{folder} holds no instance configuration: write conformance/instance.json with an instance_id and the"
            " devices that the connector is to be judged with, as it would stand in instances/"
        )
    return found


def _instance(file: Path) -> dict[str, Any]:
    document = _object(file)
    devices = (document or {}).get("devices")
    known = [d for d in devices if isinstance(d, dict) and d.get("device_id")] if isinstance(devices, list) else []
    if document is None or not known or len(known) != len(devices or []):
        raise AdoptionError(f"{file} must hold `devices`, a list of objects with a `device_id`: add at least one")
    if not any(device.get("enabled", True) for device in known):
        raise AdoptionError(f"{file} has no enabled device, so nothing could be judged: enable one")
    return document


def _object(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None where there is no file.

    Raises:
        AdoptionError: It holds something else.
    """
    if not file.is_file():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdoptionError(f"{file} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise AdoptionError(f"{file} holds {type(document).__name__} where an object should be")
    return document


# ---------------------------------------------------------------------- programs
def _program(folder: Path) -> tuple[tuple[str, ...], str]:
    """Return the program that starts the connector, and what told it; what is surest comes first."""
    for search in (_python, _shell, _node, _compiled, _dockerfile):
        for words, why in search(folder):
            return words, why
    if (folder / "go.mod").is_file():
        raise AdoptionError(f"{folder} has a go.mod and no program: run go build first, and then this again")
    raise AdoptionError(
        f"{folder} holds no main.py, connector.py, main.sh, package.json, executable or Dockerfile that tells how the"
        " connector is started: say so with --command"
    )


Programs = Iterator[tuple[tuple[str, ...], str]]


def _python(folder: Path) -> Programs:
    for name in ("main.py", "connector.py", "__main__.py"):
        if (folder / name).is_file():
            yield ("python", name), name


def _shell(folder: Path) -> Programs:
    for name in ("main.sh", "connector.sh"):
        if (folder / name).is_file():
            first = (folder / name).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
            yield ("bash" if first.startswith("#!") and first.rstrip().endswith("bash") else "sh", name), name


def _node(folder: Path) -> Programs:
    package = _object(folder / "package.json")
    if package is None:
        return
    scripts = package.get("scripts")
    start = words_of(str(scripts.get("start", "")), "package.json's start") if isinstance(scripts, dict) else ()
    if start[:1] == ("node",):
        # npm between the suite and the program would take the signals.
        yield start, "package.json (scripts.start)"
    for name in (package.get("main"), "index.js", "main.js"):
        if isinstance(name, str) and (folder / name).is_file():
            yield ("node", name), "package.json"
    if start:
        yield ("npm", "start"), "package.json (scripts.start)"


def _compiled(folder: Path) -> Programs:
    for file in sorted(folder.iterdir(), key=lambda file: (file.stem != folder.resolve().name, file.name)):
        if file.is_file() and os.access(file, os.X_OK):
            with file.open("rb") as program:
                if program.read(4).startswith(EXECUTABLES):
                    yield (f"./{file.name}",), file.name


def _dockerfile(folder: Path) -> Programs:
    file = folder / "Dockerfile"
    if not file.is_file():
        return
    said: dict[str, list[str]] = {}
    for kind, words in EXEC_FORM.findall(file.read_text(encoding="utf-8", errors="replace")):
        try:
            said[kind.upper()] = [str(word) for word in json.loads(words)]
        except ValueError:
            continue
    words = [*said.get("ENTRYPOINT", []), *said.get("CMD", [])]
    here: Callable[[str], str] = lambda word: Path(word).name if (folder / Path(word).name).is_file() else word  # noqa: E731
    if words:
        program = words[0] if "/" not in words[0] else f"./{Path(words[0]).name}"
        yield (program, *map(here, words[1:])), "Dockerfile"
