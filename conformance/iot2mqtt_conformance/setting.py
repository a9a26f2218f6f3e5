"""How one launch of a connector differs from the usual one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from iot2mqtt_conformance.names import KEEPALIVE


@dataclass(frozen=True, slots=True)
class Setting:
    """How one launch differs from the usual one.

    Attributes:
        interval: update_interval in seconds.
        tz: The time zone variable.
        qos: MQTT_QOS; None leaves it unset.
        retain: MQTT_RETAIN; None leaves it unset.
        keepalive: MQTT_KEEPALIVE in seconds.
        log_level: LOG_LEVEL.
        username: MQTT_USERNAME; None leaves it unset.
        password: MQTT_PASSWORD; None leaves it unset.
        env: Further variables, and what replaces the usual ones; None leaves one unset.
        env_file: Lines of the .env file.
        secrets: Texts of the files in the folder of secrets, by what follows the instance's name in theirs.
        configure: Turns the instance configuration into the one that is used.
        config_text: Turns the instance file's text into what is written instead; None writes no file.
        late: Whether nobody listens at MQTT_HOST:MQTT_PORT until the rig is told to open.
        groups: Groups that the instance file has beside its own.
        retained: What the broker keeps before the connector starts: payloads by topic below the instance.
        healthy: Whether the health check of an image runs.
    """

    interval: float = 1.0
    tz: str = "UTC"
    qos: int | None = 1
    retain: str | None = "true"
    keepalive: int = KEEPALIVE
    log_level: str = "INFO"
    username: str | None = "conformance"
    password: str | None = field(default="pa55-" + "word", repr=False)
    env: Mapping[str, str | None] = field(default_factory=dict)
    env_file: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    configure: Callable[[dict[str, Any]], dict[str, Any]] = dict
    config_text: Callable[[str], str] | None = str
    late: bool = False
    groups: tuple[Mapping[str, Any], ...] = ()
    retained: Mapping[str, bytes] = field(default_factory=dict)
    healthy: bool = False

    def facts(self) -> dict[str, Any]:
        """Return what judges are to know of it."""
        return {
            "username": self.username,
            "password": self.password,
            "interval": self.interval,
            "qos": 1 if self.qos is None else self.qos,
            "retain": self.retain != "false",
            "keepalive": self.keepalive,
            "log_level": self.log_level,
        }
