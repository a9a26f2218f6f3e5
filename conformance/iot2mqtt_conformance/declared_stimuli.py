"""[stimuli] of a declaration: what happens to the world outside the connector, and to its processes."""

from collections.abc import Callable, Mapping
from typing import Any

from iot2mqtt_conformance.declared_devices import enabled

_STRIKING = {"device_fails", "device_recovers", "device_slow", "event"}
"""Stimuli that act on one device."""


def read(
    table: dict[str, Any],
    instance: Mapping[str, Any],
    command: Callable[[str, list[Any]], tuple[str, ...]],
    fault: Callable[[str], Exception],
) -> dict[str, Any]:
    """Return the stimuli by name.

    Args:
        table: The table [stimuli], with known keys.
        instance: The instance configuration.
        command: Checks a command that stands at a place.
        fault: Makes the error of a sentence.

    Raises:
        DeclarationError: One of them cannot do what its name says.
    """
    devices = set(enabled(instance))
    for name in table.keys() & _STRIKING:
        if not devices & set(command(f"[stimuli] {name}", table[name])):
            raise fault(
                f"[stimuli] {name} must hold the id of the device that it acts on as a word of its own, and none of"
                f" {', '.join(sorted(devices))} is in it"
            )
    if "device_recovers" in table and "device_fails" not in table:
        raise fault("[stimuli] has device_recovers, but no device_fails that it could end")
    if "child_dies" in table:
        _check_child_dies(table["child_dies"], fault)
    if "init_fails" in table:
        _check_init_fails(table["init_fails"], fault)
    return table


def _check_child_dies(texts: list[Any], fault: Callable[[str], Exception]) -> None:
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise fault(
            "[stimuli] child_dies must be a list of texts, each a part of a child process's command line, such as"
            ' ["worker.py light1"]'
        )


def _check_init_fails(stimulus: dict[str, Any], fault: Callable[[str], Exception]) -> None:
    for key, table in stimulus.items():
        if key not in {"env", "config"} or not isinstance(table, dict):
            raise fault(
                f"[stimuli] init_fails has `{key}`: it must hold `env`, variables of the environment, and"
                " `config`, keys of the instance configuration"
            )
    if not all(isinstance(text, str) for text in stimulus.get("env", {}).values()) or not any(stimulus.values()):
        raise fault("[stimuli] init_fails must set something: texts in `env`, or values in `config`")
