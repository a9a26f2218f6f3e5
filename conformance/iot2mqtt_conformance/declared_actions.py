"""[actions.NAME] of a declaration, and what setup.json says of the script behind it."""

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

KEYS = ("good", "bad", "unreachable")
TIMEOUT = 30.0
"""Seconds that a tool may take where setup.json does not say."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action script, and inputs to call it with.

    Attributes:
        tool: Its name in setup.json.
        good: Inputs that it takes.
        bad: Inputs that it must refuse.
        unreachable: Inputs whose target does not answer.
        folder: The connector's folder, where it runs.
        script: The script; None where setup.json does not lead to one.
        fault: Why it does not.
        timeout: Seconds that it may take.
        secrets: Names of inputs that no output may show.
        environment: Variables that setup.json gives it.
    """

    tool: str
    good: tuple[Mapping[str, Any], ...]
    bad: tuple[Mapping[str, Any], ...]
    unreachable: tuple[Mapping[str, Any], ...]
    folder: Path
    script: Path | None = None
    fault: str = ""
    timeout: float = TIMEOUT
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def read(table: Mapping[str, Any], setup: Path | None, fault: Callable[[str], Exception]) -> tuple[Action, ...]:
    """Return the declared actions.

    Args:
        table: The table [actions].
        setup: The connector's setup.json; None where none is declared.
        fault: Makes the error of a sentence.

    Raises:
        DeclarationError: The table is wrong. A wrong setup.json is the connector's, and told by its clauses.
    """
    if not table:
        return ()
    if setup is None:
        raise fault("[actions] needs `setup` in [connector]: setup.json says which script a tool is")
    return tuple(_action(tool, _inputs(tool, entry, fault), setup) for tool, entry in table.items())


def _inputs(tool: str, entry: Any, fault: Callable[[str], Exception]) -> dict[str, tuple[Mapping[str, Any], ...]]:
    place = f"[actions.{tool}]"
    if not isinstance(entry, dict):
        raise fault(f"{place} must be a table with `good`, `bad` and `unreachable`")
    for key, values in entry.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            meant = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(KEYS)}"
            raise fault(f"{place} has the unknown key `{key}`: {meant}")
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise fault(f'{place} {key} must be a list of tables, such as [{{ host = "127.0.0.1" }}]')
    if not entry.get("good"):
        raise fault(f"{place} needs `good`: inputs that the script takes, [{{}}] where it takes none")
    return {key: tuple(entry.get(key, ())) for key in KEYS}


def _action(tool: str, inputs: dict[str, tuple[Mapping[str, Any], ...]], setup: Path) -> Action:
    folder = setup.parent.resolve()
    given = Action(tool, inputs["good"], inputs["bad"], inputs["unreachable"], folder)
    try:
        declared = _tool(setup, tool)
        script = script_of(folder, declared.get("entry"))
    except ValueError as error:
        return replace(given, fault=f"the tool `{tool}`: {error}")
    timeout = declared.get("timeout", TIMEOUT)
    secrets = declared.get("secrets")
    environment = declared.get("environment")
    return replace(
        given,
        script=script,
        timeout=float(timeout) if isinstance(timeout, int | float) and timeout > 0 else TIMEOUT,
        secrets=tuple(map(str, secrets)) if isinstance(secrets, list) else (),
        environment={str(k): str(v) for k, v in environment.items()} if isinstance(environment, dict) else {},
    )


def _tool(setup: Path, name: str) -> dict[str, Any]:
    try:
        document = json.loads(setup.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{setup.name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{setup.name} is not JSON: {error}") from None
    tools = document.get("tools") if isinstance(document, dict) else None
    found = tools.get(name) if isinstance(tools, dict) else None
    if not isinstance(found, dict):
        raise ValueError(f"{setup.name} does not declare it")  # noqa: TRY004 - a fault of the file
    return found


def script_of(folder: Path, entry: Any) -> Path:
    """Return the script that a tool's `entry` names.

    Raises:
        ValueError: It names none inside the connector's folder; the message says why.
    """
    if not isinstance(entry, str) or not entry:
        raise ValueError("its `entry` names no script")
    script = (folder / entry).resolve()
    if not script.is_relative_to(folder):
        raise ValueError(f"its entry {entry} leads out of the connector's folder")
    if not script.is_file():
        raise ValueError(f"its entry {entry} does not exist")
    return script
