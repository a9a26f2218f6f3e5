"""conformance.toml: what a connector's author declares about the connector, parsed once into frozen values."""

import difflib
import math
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from iot2mqtt_conformance import declared_actions, declared_devices, declared_stimuli
from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declared_actions import Action
from iot2mqtt_conformance.declared_devices import Device, switch_of

FILE_NAME = "conformance.toml"


class DeclarationError(Exception):
    """The declaration is missing or wrong; the message names the file, the key and what to do."""


@dataclass(frozen=True, slots=True)
class Peripheral:
    """A program that is started before the connector: a simulated device."""

    name: str
    command: tuple[str, ...]
    ready: str


@dataclass(frozen=True, slots=True)
class Declaration:
    """One conformance.toml.

    Attributes:
        path: The file itself.
        name: CONNECTOR_TYPE.
        command: The program and its arguments; empty where the connector is an image.
        workdir: Where it is started.
        instance: The instance configuration that the suite starts from.
        start_deadline: Seconds from start to `online`.
        stop_deadline: Seconds from SIGTERM to the end.
        features: What the connector can do, by feature name.
        reporting: `polling` or `events`.
        extra_topics: Filters outside the instance's namespace that the connector may use.
        excluded: Clause ids that do not apply to this connector, each with its reason.
        expected_failures: Clause ids that are known not to be honoured yet, each with its reason.
        stimuli: Commands that act on the world outside the connector.
        actions: Action scripts, and inputs to call them with.
        setup: The setup.json, if one is declared.
        manifest: The manifest.json, if one is declared.
        image: The image that is started in the place of a command.
        build: The folder that this image is built from.
        prepare: The command that builds the program or installs what it needs, before it is started for the first time.
        attach: `instance` and `base_topic` of one that runs already, where they are not the usual ones.
        left_out: Needs of clauses that this run does not meet, each with the reason.
    """

    path: Path
    name: str
    command: tuple[str, ...]
    workdir: Path
    instance: Mapping[str, Any]
    start_deadline: float
    stop_deadline: float
    features: frozenset[str]
    reporting: str
    extra_topics: tuple[str, ...]
    excluded: Mapping[str, str]
    expected_failures: Mapping[str, str]
    devices: tuple[Device, ...]
    stimuli: Mapping[str, Any]
    peripherals: tuple[Peripheral, ...]
    actions: tuple[Action, ...]
    setup: Path | None = None
    manifest: Path | None = None
    image: str = ""
    build: Path | None = None
    prepare: tuple[str, ...] = ()
    attach: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def configured(self) -> list[str]:
        """Ids of all devices of the instance configuration."""
        return [device["device_id"] for device in self.instance["devices"]]

    @property
    def enabled(self) -> list[str]:
        """Ids of the devices that are not disabled in the instance configuration."""
        return declared_devices.enabled(self.instance)

    @property
    def groups(self) -> list[str]:
        """Ids of the groups of the instance configuration."""
        return [group["group_id"] for group in self.instance.get("groups", [])]

    @property
    def commanded(self) -> Device | None:
        """The first device with a writable property of two different values, if commands are declared."""
        if "commands" not in self.features:
            return None
        return next((device for device in self.devices if self.switch_of(device)), None)

    def struck(self, stimulus: str) -> str:
        """Return the device that a stimulus acts on: the enabled one that its command names."""
        words: list[str] = self.stimuli[stimulus]
        return next(word for word in words if word in self.enabled)

    @staticmethod
    def switch_of(device: Device) -> tuple[str, Any, Any] | None:
        """Return a writable property of a device with two different values of it."""
        return switch_of(device)

    @property
    def grouped(self) -> tuple[list[Device], str, Any, Any] | None:
        """Two or more devices that can be commanded together: a property and two values that all of them take."""
        for first in self.devices:
            for name, values in first.writable.items():
                for one, other in combinations(values, 2):
                    able = [d for d in self.devices if _takes(d, name, one) and _takes(d, name, other)]
                    if other != one and len(able) > 1:
                        return able, name, one, other
        return None

    def missing_need(self, need: str | None) -> str | None:
        """Return why a clause with this need does not apply, or None where it does."""
        if need is None or need in self.left_out:
            return None if need is None else self.left_out[need]
        kind, _, name = need.partition(":")
        if kind == "stimulus":
            return None if name in self.stimuli else f"no stimulus `{name}` is declared"
        if kind == "reporting":
            return None if self.reporting == name else f"reporting is `{self.reporting}`"
        if kind == "actions" and name:
            found = any(getattr(action, name) for action in self.actions)
            return None if found else f"no declared action has `{name}`"
        return None if need in self.features else f"the feature `{need}` is not declared"


def _takes(device: Device, name: str, value: Any) -> bool:
    return any(value == known and type(value) is type(known) for known in device.writable.get(name, ()))


_FLAGS = ("commands", "groups", "property_topics", "secrets", "tls", "pipeline")
_STARTED = ("command", "image", "build")
"""What a connector is started from."""
_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "": {
        "connector": dict,
        "features": dict,
        "devices": list,
        "stimuli": dict,
        "peripherals": list,
        "actions": dict,
        "expected_failures": dict,
        "attach": dict,
    },
    "attach": {"instance": str, "base_topic": str},
    "connector": {
        "name": str,
        "prepare": list,
        "command": list,
        "image": str,
        "build": str,
        "workdir": str,
        "instance": str,
        "setup": str,
        "manifest": str,
        "start_deadline": (int, float),
        "stop_deadline": (int, float),
    },
    "features": {**dict.fromkeys(_FLAGS, bool), "reporting": str, "extra_topics": list, "excluded": dict},
    "devices": {"id": str, "writable": dict, "rejects": dict},
    "peripherals": {"name": str, "command": list, "ready": str},
    "stimuli": {
        "init_fails": dict,
        "device_fails": list,
        "device_recovers": list,
        "device_slow": list,
        "event": list,
        "child_dies": list,
    },
}


def load(path: Path, *, attached: bool = False, prepared: bool = False) -> Declaration:
    """Read a declaration from a conformance.toml, or from the folder that holds it.

    Args:
        path: The file, or the folder.
        attached: Whether the connector runs already, so that its program need not be here.
        prepared: Whether what `prepare` makes is to be there already.

    Raises:
        DeclarationError: It is missing or wrong.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DeclarationError(f"{file} does not exist: write one, or name a connector with --iot2mqtt-connector=PATH")
    try:
        return parse(file.read_text(encoding="utf-8"), file, attached=attached, prepared=prepared)
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{file} is not TOML: {error}") from None


def parse(text: str, file: Path, *, attached: bool = False, prepared: bool = False) -> Declaration:
    """Read a declaration from a text that stands, or is to stand, in a file.

    Raises:
        DeclarationError: It is wrong.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"{file} is not TOML: {error}") from None
    return _Reader(file, attached=attached, prepared=prepared).declaration(document)


class _Reader:
    """Turns one TOML document into a Declaration, naming file and key in every error."""

    def __init__(self, file: Path, *, attached: bool, prepared: bool) -> None:
        self.file = file
        self.attached = attached
        self.prepared = prepared

    def fault(self, sentence: str) -> DeclarationError:
        return DeclarationError(f"{self.file}: {sentence}")

    def declaration(self, document: dict[str, Any]) -> Declaration:
        self.keys("", document)
        self.json_only("", document)
        if "connector" not in document:
            raise self.fault("the table [connector] is missing: it names the connector and the command that starts it")
        connector = self.keys("connector", document["connector"])
        features = self.keys("features", document.get("features", {}))
        stimuli = self.keys("stimuli", document.get("stimuli", {}))
        started = self.started(connector)
        workdir = (self.file.parent / connector.get("workdir", ".")).resolve()
        prepare = self.preparing(connector, started, workdir)
        present = self.features(document, connector, features, started)
        command = self.command("[connector] command", connector["command"], workdir) if "command" in started else ()
        instance = declared_devices.read_instance(self.file.parent / connector["instance"], self.fault)
        devices = [self.keys("devices", table) for table in document.get("devices", [])]
        excluded, expected = self.failures(document, features)
        return self.consistent(
            Declaration(
                path=self.file,
                name=connector["name"],
                command=command,
                workdir=workdir,
                instance=instance,
                start_deadline=self.seconds(connector, "start_deadline", 20),
                stop_deadline=self.seconds(connector, "stop_deadline", 10),
                features=present,
                reporting=self.reporting(features),
                extra_topics=self.topics(features.get("extra_topics", [])),
                excluded=excluded,
                expected_failures=expected,
                devices=declared_devices.read(devices, instance, self.fault),
                stimuli=declared_stimuli.read(
                    stimuli, instance, lambda place, words: self.command(place, words, workdir), self.fault
                ),
                peripherals=self.peripherals(document.get("peripherals", []), workdir),
                actions=declared_actions.read(document.get("actions", {}), self.beside(connector, "setup"), self.fault),
                setup=self.beside(connector, "setup"),
                manifest=self.beside(connector, "manifest"),
                image=connector.get("image", ""),
                build=self.built(connector),
                prepare=prepare,
                attach=self.keys("attach", document.get("attach", {})),
            )
        )

    def started(self, connector: Mapping[str, Any]) -> list[str]:
        """Return what the connector is started from, at most one key."""
        started = [key for key in _STARTED if connector.get(key)]
        for key in ("name", *([] if started or self.attached else ["command"]), "instance"):
            if not connector.get(key):
                raise self.fault(f"[connector] has no `{key}`")
        if len(started) > 1:
            raise self.fault(f"[connector] has {' and '.join(f'`{key}`' for key in started)}: only one can be started")
        return started

    @staticmethod
    def features(
        document: Mapping[str, Any], connector: Mapping[str, Any], features: Mapping[str, Any], started: list[str]
    ) -> frozenset[str]:
        """Return what is declared, and what follows from the rest of the declaration."""
        present = {flag for flag in _FLAGS if features.get(flag)}
        present |= {key for key in ("setup", "manifest") if key in connector}
        present |= {"actions"} if document.get("actions") else set()
        present |= {"image"} if {"image", "build"} & set(started) else set()
        return frozenset(present)

    def reporting(self, features: Mapping[str, Any]) -> str:
        reporting: str = features.get("reporting", "polling")
        if reporting not in {"polling", "events"}:
            raise self.fault(f"[features] reporting is `{reporting}`: it must be `polling` or `events`")
        return reporting

    def topics(self, filters: list[Any]) -> tuple[str, ...]:
        if not all(isinstance(each, str) and each for each in filters):
            raise self.fault('[features] extra_topics must be a list of topic filters, such as ["zigbee2mqtt/#"]')
        return tuple(filters)

    def failures(
        self, document: Mapping[str, Any], features: Mapping[str, Any]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the clauses that are excluded and those that are expected to fail, each with its reason."""
        excluded = self.reasons("features.excluded", features.get("excluded", {}))
        expected = self.reasons("expected_failures", document.get("expected_failures", {}))
        for clause in excluded.keys() & expected.keys():
            raise self.fault(
                f"{clause} is in [features.excluded] and in [expected_failures]: it can only be one of them"
            )
        return excluded, expected

    def consistent(self, declared: Declaration) -> Declaration:
        """Return the declaration, whose features must be borne out by its devices."""
        if "commands" in declared.features and not any(map(switch_of, declared.devices)):
            raise self.fault(
                "[features] commands = true needs a [[devices]] entry with a writable property"
                " and two different values of it"
            )
        if "groups" in declared.features and declared.grouped is None:
            raise self.fault(
                "[features] groups = true needs two [[devices]] entries that share a writable property"
                " and two different values of it"
            )
        return declared

    def beside(self, connector: Mapping[str, Any], key: str) -> Path | None:
        return self.file.parent / connector[key] if key in connector else None

    def built(self, connector: Mapping[str, Any]) -> Path | None:
        folder = self.beside(connector, "build")
        if folder is not None and not (folder / "Dockerfile").is_file():
            raise self.fault(f"[connector] build: {folder} holds no Dockerfile")
        return folder

    def preparing(self, connector: Mapping[str, Any], started: list[str], workdir: Path) -> tuple[str, ...]:
        """Return what prepares the connector; until it has run, programs of the connector's own need not be there."""
        if "prepare" not in connector:
            self.prepared = True
            return ()
        if {"image", "build"} & set(started):
            raise self.fault("[connector] has `prepare` and an image: let the Dockerfile prepare what it needs")
        return self.command("[connector] prepare", connector["prepare"], workdir)

    def json_only(self, place: str, value: Any) -> None:
        """Refuse what TOML can say and a message cannot: dates, times, and numbers that are none."""
        if isinstance(value, dict | list):
            members = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in members:
                self.json_only(f"{place}.{key}" if place else str(key), item)
        elif not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise self.fault(f"{place} is {value}, which JSON cannot hold: write a finite number, or a text in quotes")

    def keys(self, table: str, value: dict[str, Any]) -> dict[str, Any]:
        known = _KEYS[table]
        place = f"[{table}] " if table else ""
        if not isinstance(value, dict):
            raise self.fault(f"{table} must be written as [[{table}]] with keys below it, and holds {value!r}")
        for key, item in value.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                meant = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(known))}"
                raise self.fault(f"{place}has the unknown key `{key}`: {meant}")
            kind = known[key]
            if not isinstance(item, kind) or (isinstance(item, bool) and kind is not bool):
                name = getattr(kind, "__name__", "number")
                raise self.fault(f"{place}{key} must be a {name}, and is {item!r}")
        return value

    def seconds(self, connector: dict[str, Any], key: str, default: float) -> float:
        value = float(connector.get(key, default))
        if not 0 < value < 3600:  # noqa: PLR2004 - an hour is more than any start or stop takes
            raise self.fault(f"[connector] {key} must be between 0 and 3600 seconds, and is {value}")
        return value

    def command(self, place: str, command: list[Any], workdir: Path) -> tuple[str, ...]:
        if not command or not all(isinstance(part, str) and part for part in command):
            raise self.fault(f'{place} must be a list of strings, such as ["python", "main.py"]')
        if not workdir.is_dir():
            raise self.fault(f"[connector] workdir {workdir} is not a folder")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        program = command[0]
        found = shutil.which(workdir / program) if os.sep in program else shutil.which(program, path=path)
        if found is None and not self.attached and (self.prepared or os.sep not in program):
            raise self.fault(
                f"{place} starts `{program}`, which is neither on PATH nor an executable file in {workdir}"
            )
        return tuple(command)

    def reasons(self, place: str, table: dict[str, Any]) -> dict[str, str]:
        for clause, reason in table.items():
            if clause not in clauses():
                near = difflib.get_close_matches(clause, clauses(), n=1)
                meant = f": did you mean {near[0]}?" if near else ""
                raise self.fault(f"[{place}] names {clause}, which is no clause of the contract{meant}")
            if not isinstance(reason, str) or not reason.strip():
                raise self.fault(f"[{place}] {clause} needs a reason that the report can show")
        return table

    def peripherals(self, tables: list[Any], workdir: Path) -> tuple[Peripheral, ...]:
        found: list[Peripheral] = []
        for number, table in enumerate(tables):
            entry = self.keys("peripherals", table)
            ready, name = entry.get("ready", ""), entry.get("name", f"peripheral{number}")
            ports = "|".join(map(re.escape, ["{port}", *(f"{{{n}.port}}" for n in [name, *(p.name for p in found)])]))
            if not re.fullmatch(rf"tcp:(\d{{1,5}}|{ports})|line:.+", ready):
                raise self.fault(f"[[peripherals]] ready is `{ready}`: it must be `tcp:{{port}}` or `line:TEXT`")
            command = self.command("[[peripherals]] command", entry.get("command", []), workdir)
            found.append(Peripheral(name, command, ready))
        return tuple(found)
