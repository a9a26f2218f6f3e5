"""The instance configuration: what an author's own configuration classes start from."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from iot2mqtt_sdk.contract.models import WIRE, Name, Text, explain

MAX_UPDATE_INTERVAL = 31_536_000
"""The longest polling interval, in seconds: a year."""


class _Section(BaseModel):
    model_config = ConfigDict(**WIRE, extra="allow")

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Check a parsed instance file, or a part of one.

        Fields are read as JSON: an author's enum, IP address or path is given as a string, yet nothing is coerced.

        Args:
            document: The content, as `iot2mqtt_sdk.contract.models.read_json` returns it.

        Raises:
            ValueError: It is no such configuration; the message is one sentence that names the place and the
                fault (I2M-ENV-10).
        """
        try:
            return cls.model_validate_json(json.dumps(document, allow_nan=False))
        except ValidationError as error:
            raise ValueError(explain(error)) from error


class DeviceConfig(_Section):
    """One device of an instance; a connector adds its own fields in a subclass.

    Attributes:
        device_id: Unique within the instance; a level of the device's topics (I2M-PUB-04).
        enabled: Whether the device is polled and takes commands (I2M-ENV-15, I2M-CMD-07).
        friendly_name: What people call it.
        model: What it is (I2M-META-01).
    """

    device_id: Name
    enabled: bool = True
    friendly_name: str | None = None
    model: str | None = None


class GroupConfig(_Section):
    """Devices that take commands together.

    Attributes:
        group_id: Unique within the instance; a level of the group's topics (I2M-PUB-04).
        devices: Ids of the members; unknown and disabled ones are skipped (I2M-GROUP-02).
        enabled: Whether the group takes commands (I2M-ENV-15).
        friendly_name: What people call it.
    """

    group_id: Name
    devices: Sequence[Name] = ()
    enabled: bool = True
    friendly_name: str | None = None


class InstanceConfig(_Section):
    """One instance of a connector (I2M-ENV-09); a connector adds its own fields in a subclass.

    Keys that no class declares belong to the connector and are kept. A subclass may narrow the devices:
    `devices: Sequence[Bulb] = ()`.

    Attributes:
        instance_id: The instance's id; topics use INSTANCE_NAME, whatever stands here (I2M-ENV-01).
        instance_type: What kind of thing the instance stands for, such as `device`, `account` or `service`.
        connector_type: Which connector it belongs to.
        friendly_name: What people call it.
        enabled: Whether the instance is meant to run.
        update_interval: Seconds between two polls of a device; None means that nothing is polled (I2M-STATE-03).
        devices: The devices, each with an id of its own.
        groups: The groups, each with an id of its own.
        connection: How the connector reaches its devices; secrets are merged into it (I2M-ENV-14).
        config: Further settings of the connector.
        secrets: Values that are never logged or published (I2M-ENV-13).
    """

    instance_id: Name | None = None
    instance_type: Text | None = None
    connector_type: Text | None = None
    friendly_name: str | None = None
    enabled: bool = True
    update_interval: Annotated[float, Field(gt=0, le=MAX_UPDATE_INTERVAL)] | None = 10.0
    devices: Sequence[DeviceConfig] = ()
    groups: Sequence[GroupConfig] = ()
    connection: dict[str, JsonValue] = Field(default_factory=dict, repr=False)
    config: dict[str, JsonValue] = Field(default_factory=dict, repr=False)
    secrets: dict[str, JsonValue] = Field(default_factory=dict, repr=False)

    @field_validator("devices")
    @classmethod
    def _each_device_once(cls, devices: Sequence[DeviceConfig]) -> Sequence[DeviceConfig]:
        _refuse_repeated("device_id", [device.device_id for device in devices])
        return devices

    @field_validator("groups")
    @classmethod
    def _each_group_once(cls, groups: Sequence[GroupConfig]) -> Sequence[GroupConfig]:
        _refuse_repeated("group_id", [group.group_id for group in groups])
        return groups


def _refuse_repeated(key: str, ids: list[str]) -> None:
    repeated = next((name for name, count in Counter(ids).items() if count > 1), None)
    if repeated is None:
        return
    places = " and ".join(f"[{index}]" for index, name in enumerate(ids) if name == repeated)
    raise PydanticCustomError(
        "repeated",
        "entries {places} share the {key} `{name}`; every entry needs its own",
        {"places": places, "key": key, "name": repeated},
    )
