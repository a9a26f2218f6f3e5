"""The payloads of the contract as frozen models, one a payload, each with a JSON Schema of the same meaning.

Nothing is coerced: the string "5" is no number and true is not 1. Unknown keys are ignored, so that a newer peer is
understood. Validators are built when a model is first used, which keeps the import of this module light.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    RootModel,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError, from_json

from iot2mqtt_sdk.contract.time import format_timestamp, parse_timestamp

_NOT_IN_A_LEVEL = re.compile(r"[/+#\x00-\x1f\x7f-\x9f]")
_LONGEST_PATH = 120

MAX_TIMEOUT = 2_147_483_647
"""The longest timeout of a command, in milliseconds: what 32 bits hold, so that every language has a timer for it."""
MAX_UPTIME = 4_294_967_295
"""The longest uptime, in seconds."""


def _one_level(text: str) -> str:
    if not text or _NOT_IN_A_LEVEL.search(text):
        raise PydanticCustomError("name", "must be one topic level: not empty, without /, +, # or control characters")
    return text


def _whole(value: object) -> object:
    # JSON knows one kind of number: 5.0 is the integer 5 to a JSON Schema, and some languages write it so.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _moment(value: object, *, need_offset: bool) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if not isinstance(value, str):
        raise PydanticCustomError("timestamp", "must be an ISO 8601 text or an aware datetime")
    try:
        return parse_timestamp(value, need_offset=need_offset)
    except ValueError as fault:
        raise PydanticCustomError("timestamp", "{fault}", {"fault": str(fault)}) from None


def _published(value: object) -> datetime:
    return _moment(value, need_offset=True)


def _received(value: object) -> datetime:
    return _moment(value, need_offset=False)


Name = Annotated[str, AfterValidator(_one_level)]
"""A device id, group id or property name: one topic level (I2M-PUB-04)."""

Integer = Annotated[int, BeforeValidator(_whole)]
"""A whole number, however JSON spells it."""

Timestamp = Annotated[datetime, PlainValidator(_published), PlainSerializer(format_timestamp, when_used="json")]
"""A published moment: its text carries an offset (I2M-PUB-03); kept in UTC, written with milliseconds and Z."""

CommandTimestamp = Annotated[datetime, PlainValidator(_received), PlainSerializer(format_timestamp, when_used="json")]
"""A moment set by whoever sends a command: without an offset it is read as UTC (I2M-CMD-04)."""

Text = Annotated[str, Field(min_length=1)]
"""A text that says something."""

Status = Literal["online", "offline"]
"""The payload of the status topic: this bare word, not JSON (I2M-STATUS-07)."""

WIRE = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, defer_build=True, hide_input_in_errors=True)
"""How documents from outside are read; faults are told without the values, which may be secret (I2M-ENV-13)."""


def explain(error: ValidationError) -> str:
    """Put the first fault that pydantic found, and how many follow it, into one sentence without any value."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in faults[0]["loc"]).lstrip(".")
    if len(path) > _LONGEST_PATH:
        path = path[:_LONGEST_PATH] + "…"
    more = f" ({len(faults) - 1} more faults)" if len(faults) > 1 else ""
    return f"{path or 'the document'}: {faults[0]['msg']}{more}"


class Payload(BaseModel):
    """What all payloads share: how they are read and written."""

    model_config = WIRE

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Check a parsed JSON document.

        Args:
            document: What `read_json` returned.

        Raises:
            ValueError: The document is no such payload; the message is one sentence that names the place and the fault.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ValueError(explain(error)) from error

    def to_json(self) -> bytes:
        """Return the JSON text to publish, in UTF-8, without the optional members that are not set (I2M-PUB-02)."""
        return self.model_dump_json(exclude_defaults=True).encode()


class Property(Payload, RootModel[JsonValue]):
    """The value of one property, on its own topic (I2M-STATE-04): any JSON value."""


def read_json(raw: bytes) -> JsonValue:
    """Parse one RFC 8259 JSON text strictly (I2M-PUB-02, I2M-CMD-08).

    Args:
        raw: The bytes of a payload or file.

    Returns:
        The document: None, bool, int, float, str, list and dict, with finite numbers only.

    Raises:
        ValueError: The bytes are no UTF-8, no JSON, hold NaN or a number beyond a double, or nest over 200 levels deep;
            the message is one sentence.
    """
    try:
        document = from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError as fault:
        raise ValueError(f"the bytes are no JSON text: {fault}") from None
    # Only this finds numbers such as 1e400, which are well-formed and yet become infinite.
    return Property.from_document(document).root


class Availability(Payload, RootModel[Status]):
    """Whether one device can be reached: the JSON string "online" or "offline", quotes included (I2M-PUB-02)."""


class State(Payload):
    """The state of one device (I2M-STATE-02).

    Attributes:
        timestamp: When the values were read from the device.
        device_id: The device, as in the topic.
        state: Value by property name.
    """

    timestamp: Timestamp
    device_id: Name
    state: dict[Name, JsonValue]


class Command(Payload):
    """A command to a device or group (I2M-CMD-01).

    Attributes:
        id: Names the command in its response; None asks for no response (I2M-CMD-03).
        timestamp: When it was given; None means that its age is not judged (I2M-CMD-06).
        values: Wanted value by property name.
        timeout: Milliseconds that it may take; None leaves that to the connector.
    """

    id: str | None = None
    timestamp: CommandTimestamp | None = None
    values: dict[str, JsonValue]
    timeout: Annotated[Integer, Field(ge=1, le=MAX_TIMEOUT)] | None = None


class CommandErrorBody(Payload):
    """Why a command was not carried out (I2M-CMD-05).

    Attributes:
        code: For programs, such as `stale_command` or `unknown_device`.
        message: For people.
        retriable: Whether the same command may succeed later.
    """

    code: Text
    message: str
    retriable: bool


class CommandResponse(Payload):
    """The answer to a command that has an id (I2M-CMD-02).

    Attributes:
        cmd_id: The command's id.
        status: Whether it was carried out.
        timestamp: When it was answered.
        result: The values that took effect (I2M-CMD-17).
        error: Why it was not carried out.
    """

    cmd_id: str
    status: Literal["success", "error"]
    timestamp: Timestamp
    result: dict[str, JsonValue] | None = None
    error: CommandErrorBody | None = None


class GetRequest(Payload):
    """A request for a device's state (I2M-GET-01, I2M-GET-02).

    The documents `{}` and `null` both ask for the whole state; so does an empty payload, which is no JSON document.

    Attributes:
        properties: Names of the wanted properties; None asks for all.
    """

    properties: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_asks_for_all(cls, document: Any) -> Any:
        return {} if document is None else document


class RetryInfo(Payload):
    """How a device that fails is tried again (I2M-ERR-01).

    Attributes:
        attempt: How many attempts have failed so far.
        max_attempts: When the connector gives up; None where it never does.
        next_retry: When it tries again; None where that is not known.
    """

    attempt: Annotated[Integer, Field(ge=0)]
    max_attempts: Annotated[Integer, Field(ge=1)] | None = None
    next_retry: Timestamp | None = None


class ErrorMessage(Payload):
    """Something went wrong with a device (I2M-ERR-01).

    Attributes:
        timestamp: When it went wrong.
        error_code: For programs; the same fault has the same code.
        message: For people.
        severity: How bad it is.
        retry_info: What the connector does about it.
    """

    timestamp: Timestamp
    error_code: Text
    message: str
    severity: Literal["info", "warning", "error", "critical"]
    retry_info: RetryInfo | None = None


class Event(Payload):
    """Something happened at a device (I2M-EVT-01).

    Attributes:
        timestamp: When it happened.
        event: What happened, such as `motion_detected`.
        data: Particulars: any JSON value, null included.
    """

    timestamp: Timestamp
    event: Text
    data: JsonValue


class Telemetry(Payload):
    """Measurements about a device that are not its state, such as signal strength (I2M-PUB-05).

    Attributes:
        timestamp: When they were taken.
        device_id: The device, as in the topic.
        data: Value by the name of what was measured.
    """

    timestamp: Timestamp
    device_id: Name
    data: dict[str, JsonValue]


class DeviceEntry(Payload):
    """One configured device in the list of devices (I2M-META-01).

    Attributes:
        device_id: The device's id within its instance.
        global_id: `{instance_id}_{device_id}`.
        model: What it is; None where that is not known.
        enabled: Whether the configuration lets it be used.
        online: Whether it can be reached now (I2M-META-04).
    """

    device_id: Name
    global_id: Text
    model: str | None
    enabled: bool
    online: bool


class DevicesList(Payload, RootModel[list[DeviceEntry]]):
    """The answer to meta/request/devices_list (I2M-META-01)."""


class Info(Payload):
    """The answer to meta/request/info (I2M-META-02).

    Attributes:
        instance_id: The instance.
        connector_type: CONNECTOR_TYPE.
        devices_count: Number of configured devices.
        groups_count: Number of configured groups.
        uptime: Seconds since the connector started (I2M-META-03).
    """

    instance_id: Name
    connector_type: Text
    devices_count: Annotated[Integer, Field(ge=0)]
    groups_count: Annotated[Integer, Field(ge=0)]
    uptime: Annotated[float, Field(ge=0, le=MAX_UPTIME)]


class DeviceResult(Payload):
    """What a group command did to one device (I2M-GROUP-04).

    Attributes:
        status: Whether it was carried out.
        error: Why it was not.
    """

    status: Literal["success", "error"]
    error: CommandErrorBody | None = None


class GroupResponse(Payload):
    """The answer to a group command that has an id (I2M-GROUP-04).

    Attributes:
        cmd_id: The command's id.
        status: `partial` where some devices carried it out and others did not.
        timestamp: When it was answered.
        results: What became of it, by device id; empty where the command as a whole was refused.
        error: Why the command as a whole was refused (I2M-CMD-05, I2M-GROUP-03).
    """

    cmd_id: str
    status: Literal["success", "partial", "error"]
    timestamp: Timestamp
    results: dict[Name, DeviceResult]
    error: CommandErrorBody | None = None
