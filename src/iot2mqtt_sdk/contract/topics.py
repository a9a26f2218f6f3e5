"""Topics of one instance: how they are built, and what a received one says."""

import re
from dataclasses import dataclass
from typing import Self

_NOT_IN_A_LEVEL = re.compile(r"[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_A_BASE = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check_level(name: object, what: str) -> str:
    """Return a name that may stand as one level of a topic (clause I2M-PUB-04).

    Args:
        name: The device id, group id, instance id or property name.
        what: What it is, for the error.

    Raises:
        ValueError: It is no text, empty, or holds `/`, `+`, `#` or a control character.
    """
    if not isinstance(name, str) or not name or _NOT_IN_A_LEVEL.search(name):
        raise ValueError(
            f"{what} {name!r} cannot be a topic level: it must be a text without /, +, # and control characters"
        )
    return name


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter with `+` and `#` matches a topic."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(wanted) == len(levels) and all(w in ("+", level) for w, level in zip(wanted, levels, strict=True))


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one instance (clauses I2M-ENV-01, I2M-SUB-01 to 04, I2M-PUB-05).

    Attributes:
        base: MQTT_BASE_TOPIC, of one or more levels.
        instance_id: INSTANCE_NAME.
        root: What every topic of the instance begins with: `{base}/v1/instances/{instance_id}`.
    """

    base: str
    instance_id: str
    root: str

    @classmethod
    def of(cls, base: str, instance_id: str) -> Self:
        """Build the topics of an instance.

        Raises:
            ValueError: The base topic or the instance id cannot be part of a topic.
        """
        trimmed = base.strip("/")
        if not trimmed or _NOT_IN_A_BASE.search(trimmed) or "//" in trimmed:
            raise ValueError(f"base topic {base!r} must be one or more levels without +, # and control characters")
        return cls(trimmed, instance_id, f"{trimmed}/v1/instances/{check_level(instance_id, 'instance id')}")

    @property
    def status(self) -> str:
        """Where `online` and `offline` go."""
        return f"{self.root}/status"

    @property
    def events(self) -> str:
        """Where the events of all instances go as well."""
        return f"{self.base}/v1/global/events"

    def below(self, suffix: str) -> str:
        """Return a topic or filter below the instance."""
        return f"{self.root}/{suffix}"

    def device(self, device_id: str, what: str) -> str:
        """Return a topic of a device, such as its `state` or `cmd/response`."""
        return f"{self.root}/devices/{device_id}/{what}"

    def group(self, group_id: str, what: str) -> str:
        """Return a topic of a group."""
        return f"{self.root}/groups/{group_id}/{what}"

    def suffix_of(self, topic: str) -> str | None:
        """Return what follows the root in a topic, or None for a topic of somebody else."""
        prefix = f"{self.root}/"
        return topic[len(prefix) :] if topic.startswith(prefix) else None
