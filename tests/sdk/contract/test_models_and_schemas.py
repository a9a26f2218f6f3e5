"""Whatever a model accepts its schema accepts, and the other way round."""

import ast
import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from iot2mqtt_sdk.contract import models, schemas
from iot2mqtt_sdk.contract.clauses import load_clauses
from iot2mqtt_sdk.contract.instance import DeviceConfig, InstanceConfig
from iot2mqtt_sdk.contract.time import format_timestamp, parse_timestamp

STAMP = "2025-10-13T10:30:00.000Z"

MODELS: dict[str, type[models.Payload]] = {
    "availability": models.Availability,
    "cmd": models.Command,
    "cmd_response": models.CommandResponse,
    "devices_list": models.DevicesList,
    "error": models.ErrorMessage,
    "event": models.Event,
    "get": models.GetRequest,
    "group_response": models.GroupResponse,
    "info": models.Info,
    "property": models.Property,
    "state": models.State,
    "telemetry": models.Telemetry,
}
READERS: dict[str, Callable[[object], object]] = {
    **{name: model.from_document for name, model in MODELS.items()},
    "instance": InstanceConfig.from_document,
    "status": TypeAdapter(models.Status).validate_python,
}
VALIDATORS = {name: Draft202012Validator(schemas.schema(name)) for name in READERS}
QUICK = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def model_accepts(name: str, document: Any) -> bool:
    try:
        READERS[name](document)
    except ValueError:
        return False
    return True


def ids_repeat(document: Any) -> bool:
    """Whether an otherwise valid instance document repeats an id: the one thing that its schema cannot say."""
    lists = [
        [entry[key] for entry in document.get(part, [])]
        for part, key in (("devices", "device_id"), ("groups", "group_id"))
    ]
    return any(len(ids) != len(set(ids)) for ids in lists)


def schema_accepts(name: str, document: Any) -> bool:
    return VALIDATORS[name].is_valid(document) and not (name == "instance" and ids_repeat(document))


# ------------------------------------------------------------------ documents made from the schemas
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ODD: list[Any] = [
    *[None, True, False, 0, 1, -1, 5.0, 0.5, 1e22, -0.0, 10**400, 2**31, 2**32],
    *["", "5", "true", "online", "a/b", "+", "#", "a\n", "\x7f", "\x9f", "\u2028", "light1", "yesterday"],
    *[STAMP, STAMP + "\n", "2025-10-13T10:30:00", "2025-02-29T00:00:00Z", "2024-02-29T00:00Z"],
    *[[], [None], ["light1"], ["light1", "light1"], [{"device_id": "x"}, {"device_id": "x"}]],
    *[{}, {"device_id": "light1"}, {"": 1}, {"a/b": 1}],
]


def stamps(*, need_offset: bool) -> st.SearchStrategy[str]:
    """Moments in every spelling that the contract allows."""
    offsets = ["Z", "+00:00", "-05:30", "+0900", "+14"] + ([] if need_offset else [""])
    spellings = ["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M"]
    moments = st.datetimes(datetime(1000, 1, 1), datetime(2999, 12, 31))  # noqa: DTZ001 - the offset is drawn apart
    return st.builds(
        lambda moment, spelling, offset: moment.strftime(spelling) + offset,
        moments,
        st.sampled_from(spellings),
        st.sampled_from(offsets),
    )


SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["light1", "a b", "\u00e4", "x" * 40, "."]),
    "timestamp": stamps(need_offset=True),
    "command_timestamp": stamps(need_offset=False),
}


def from_schema(part: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Build documents for the keywords that our schemas use."""
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[1]
        return SIMPLE[name] if name in SIMPLE else from_schema(root["$defs"][name], root)
    if "enum" in part:
        return st.sampled_from(part["enum"])
    if "anyOf" in part:
        return st.one_of([from_schema(choice, root) for choice in part["anyOf"]])
    kinds = part.get("type", [])
    return st.one_of([of_kind(kind, part, root) for kind in ([kinds] if isinstance(kinds, str) else kinds)] or [JSON])


def of_kind(kind: str, part: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = part.get("minimum"), part.get("maximum")
    if kind == "object":
        return of_object(part, root)
    if kind == "array":
        return st.lists(from_schema(part.get("items", {}), root), max_size=3)
    if kind == "number":
        return st.floats(low or 0.001, high, allow_nan=False, allow_infinity=False) | st.integers(1, high)
    if kind == "integer":
        return st.integers(low, high)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "string": st.text(min_size=part.get("minLength", 0), max_size=8),
    }[kind]


def of_object(part: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = {name: from_schema(inner, root) for name, inner in part.get("properties", {}).items()}
    required = {name: inner for name, inner in known.items() if name in part.get("required", [])}
    optional = {name: inner for name, inner in known.items() if name not in required}
    names = from_schema(part["propertyNames"], root) if "propertyNames" in part else st.text(max_size=8)
    extra = st.dictionaries(
        names.filter(lambda name: name not in known),
        from_schema(part.get("additionalProperties", {}), root),
        max_size=2,
    )
    return st.builds(lambda fields, more: {**more, **fields}, st.fixed_dictionaries(required, optional=optional), extra)


DOCUMENTS = {name: from_schema(schemas.schema(name), schemas.schema(name)) for name in READERS}


# ------------------------------------------------------------------ and what is done to them
def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for step, inner in steps for place in places(inner, (*path, step)))]


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """Remove a key, put something odd somewhere, or rename a key; up to twice."""
    document = {"root": copy.deepcopy(draw(documents))}
    for _ in range(draw(st.integers(0, 2))):
        if "root" not in document:
            break
        *outer, last = draw(st.sampled_from(places(document["root"], ("root",))))
        holder: Any = document
        for step in outer:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
        if change == "replace" or not isinstance(holder, dict) or holder is document:
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD) | JSON))
        elif change == "remove":
            del holder[last]
        else:
            holder[draw(st.sampled_from(["", "a/b", "x", "id", "devices"]))] = holder.pop(last)
    return document["root"]


MUTATED = {name: mutated(documents) for name, documents in DOCUMENTS.items()}


@pytest.mark.parametrize("name", sorted(READERS))
@given(data=st.data())
@QUICK
def test_model_and_schema_agree_on_documents_of_the_schema_and_their_mutations(name: str, data: st.DataObject) -> None:
    document = data.draw(MUTATED[name])
    assert model_accepts(name, document) == schema_accepts(name, document)


@pytest.mark.parametrize("name", sorted(READERS))
@given(document=JSON | st.sampled_from(ODD))
@settings(QUICK, max_examples=30)
def test_model_and_schema_agree_on_any_json(name: str, document: Any) -> None:
    assert model_accepts(name, document) == schema_accepts(name, document)


@pytest.mark.parametrize("name", sorted(READERS))
@given(data=st.data())
@settings(QUICK, max_examples=20)
def test_what_the_schema_generates_is_valid_unmutated(name: str, data: st.DataObject) -> None:
    assert VALIDATORS[name].is_valid(data.draw(DOCUMENTS[name]))


# ------------------------------------------------------------------ documents made from the models
MOMENTS = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds and adds the time zone
    datetime(2100, 1, 1),  # noqa: DTZ001 - likewise
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-12))]),
)
NAMES = st.sampled_from(["light1", "a b", "ä"])
VALUES = st.dictionaries(NAMES, JSON, max_size=3)
ERRORS = st.builds(models.CommandErrorBody, code=st.just("timeout"), message=st.text(), retriable=st.booleans())
RETRIES = st.builds(
    models.RetryInfo,
    attempt=st.integers(0, 99),
    max_attempts=st.none() | st.integers(1, 99),
    next_retry=st.none() | MOMENTS,
)
ENTRIES = st.builds(
    models.DeviceEntry,
    device_id=NAMES,
    global_id=NAMES,
    model=st.none() | st.text(),
    enabled=st.booleans(),
    online=st.booleans(),
)
RESULTS = st.builds(models.DeviceResult, status=st.sampled_from(["success", "error"]), error=st.none() | ERRORS)
BUILT: dict[str, st.SearchStrategy[models.Payload]] = {
    "availability": st.builds(models.Availability, st.sampled_from(["online", "offline"])),
    "cmd": st.builds(
        models.Command,
        id=st.none() | st.text(),
        timestamp=st.none() | MOMENTS,
        values=VALUES,
        timeout=st.none() | st.integers(1, models.MAX_TIMEOUT),
    ),
    "cmd_response": st.builds(
        models.CommandResponse,
        cmd_id=st.text(),
        status=st.sampled_from(["success", "error"]),
        timestamp=MOMENTS,
        result=st.none() | VALUES,
        error=st.none() | ERRORS,
    ),
    "devices_list": st.builds(models.DevicesList, st.lists(ENTRIES, max_size=3)),
    "error": st.builds(
        models.ErrorMessage,
        timestamp=MOMENTS,
        error_code=st.just("CONNECTION_TIMEOUT"),
        message=st.text(),
        severity=st.sampled_from(["info", "warning", "error", "critical"]),
        retry_info=st.none() | RETRIES,
    ),
    "event": st.builds(models.Event, timestamp=MOMENTS, event=st.just("pressed"), data=JSON),
    "get": st.builds(models.GetRequest, properties=st.none() | st.lists(st.text(), max_size=3)),
    "group_response": st.builds(
        models.GroupResponse,
        cmd_id=st.text(),
        status=st.sampled_from(["success", "partial", "error"]),
        timestamp=MOMENTS,
        results=st.dictionaries(NAMES, RESULTS, max_size=3),
        error=st.none() | ERRORS,
    ),
    "info": st.builds(
        models.Info,
        instance_id=NAMES,
        connector_type=st.just("yeelight"),
        devices_count=st.integers(0, 99),
        groups_count=st.integers(0, 99),
        uptime=st.floats(0, models.MAX_UPTIME),
    ),
    "property": st.builds(models.Property, JSON),
    "state": st.builds(models.State, timestamp=MOMENTS, device_id=NAMES, state=VALUES),
    "telemetry": st.builds(models.Telemetry, timestamp=MOMENTS, device_id=NAMES, data=VALUES),
}


@pytest.mark.parametrize("name", sorted(MODELS))
@given(data=st.data())
@settings(QUICK, max_examples=20)
def test_what_a_model_writes_fits_its_schema_and_reads_back_the_same(name: str, data: st.DataObject) -> None:
    built = data.draw(BUILT[name])
    document = models.read_json(built.to_json())
    assert schema_accepts(name, document)
    assert MODELS[name].from_document(document).to_json() == built.to_json()


# ------------------------------------------------------------------ tricky documents, each with its verdict
RESPONSE = {"cmd_id": "1", "status": "success", "timestamp": STAMP}
FAULT = {"timestamp": STAMP, "error_code": "E", "message": "", "severity": "error"}
INFO = {"instance_id": "i", "connector_type": "c", "devices_count": 1, "groups_count": 0, "uptime": 1}
ENTRY = {"device_id": "d", "global_id": "i_d", "model": "m", "enabled": True, "online": False}
STATE = {"timestamp": STAMP, "device_id": "d", "state": {}}
BODY = {"code": "timeout", "message": "", "retriable": True}
GROUP = {"cmd_id": "1", "status": "partial", "timestamp": STAMP, "results": {}}

TRICKY: list[tuple[str, Any, bool]] = [
    ("status", "online", True),
    ("status", "Online", False),
    ("status", '"online"', False),
    ("availability", "offline", True),
    ("availability", True, False),
    ("state", STATE, True),
    ("state", {**STATE, "newer": {"key": 1}}, True),
    ("state", {**STATE, "state": {"power": None, "nested": [{"a": [1.5]}]}}, True),
    ("state", {**STATE, "state": None}, False),
    ("state", {**STATE, "state": [["power", True]]}, False),
    ("state", {**STATE, "state": {"": 1}}, False),
    ("state", {**STATE, "state": {"a/b": 1}}, False),
    ("state", {**STATE, "device_id": "a+"}, False),
    ("state", {**STATE, "device_id": "d\n"}, False),
    ("state", {**STATE, "device_id": 5}, False),
    ("state", {**STATE, "timestamp": "2025-10-13T10:30:00"}, False),
    ("state", {**STATE, "timestamp": 1760351400}, False),
    ("state", {**STATE, "timestamp": None}, False),
    ("state", {**STATE, "timestamp": "2025-10-13T10:30:00+09:00"}, True),
    ("state", {**STATE, "timestamp": STAMP + "\n"}, False),
    ("property", None, True),
    ("property", 10**400, True),
    ("cmd", {"values": {}}, True),
    ("cmd", {"values": {"a/b": 1}}, True),
    ("cmd", {"power": True}, False),
    ("cmd", {"values": None}, False),
    ("cmd", {"values": {}, "id": 5}, False),
    ("cmd", {"values": {}, "id": None, "timestamp": None, "timeout": None}, True),
    ("cmd", {"values": {}, "timestamp": "2025-10-13T10:30:00"}, True),
    ("cmd", {"values": {}, "timestamp": "2025-10-13 10:30+0530"}, True),
    ("cmd", {"values": {}, "timestamp": "yesterday"}, False),
    ("cmd", {"values": {}, "timestamp": ""}, False),
    ("cmd", {"values": {}, "timestamp": 1.76e9}, False),
    ("cmd", {"values": {}, "timestamp": {}}, False),
    ("cmd", {"values": {}, "timeout": 5000}, True),
    ("cmd", {"values": {}, "timeout": 5000.0}, True),
    ("cmd", {"values": {}, "timeout": 0.5}, False),
    ("cmd", {"values": {}, "timeout": 0}, False),
    ("cmd", {"values": {}, "timeout": True}, False),
    ("cmd", {"values": {}, "timeout": "5000"}, False),
    ("cmd", {"values": {}, "timeout": 2**31}, False),
    ("cmd", [], False),
    ("cmd", None, False),
    ("cmd_response", RESPONSE, True),
    ("cmd_response", {**RESPONSE, "result": None, "error": None}, True),
    ("cmd_response", {**RESPONSE, "status": "partial"}, False),
    ("cmd_response", {**RESPONSE, "error": "no answer"}, False),
    ("cmd_response", {**RESPONSE, "error": BODY}, True),
    ("cmd_response", {**RESPONSE, "error": {**BODY, "retriable": 1}}, False),
    ("cmd_response", {**RESPONSE, "error": {**BODY, "code": ""}}, False),
    ("get", {}, True),
    ("get", None, True),
    ("get", {"properties": None}, True),
    ("get", {"properties": ["a/b"]}, True),
    ("get", {"properties": "power"}, False),
    ("get", {"properties": [1]}, False),
    ("get", [], False),
    ("get", False, False),
    ("error", FAULT, True),
    ("error", {**FAULT, "severity": "fatal"}, False),
    ("error", {**FAULT, "retry_info": {"attempt": 1}}, True),
    ("error", {**FAULT, "retry_info": {"attempt": 1.0, "max_attempts": None, "next_retry": None}}, True),
    ("error", {**FAULT, "retry_info": {"attempt": True}}, False),
    ("error", {**FAULT, "retry_info": {}}, False),
    ("error", {**FAULT, "retry_info": {"attempt": 1, "next_retry": "2025-10-13T10:30:00"}}, False),
    ("event", {"timestamp": STAMP, "event": "pressed", "data": None}, True),
    ("event", {"timestamp": STAMP, "event": "pressed"}, False),
    ("event", {"timestamp": STAMP, "event": 1, "data": {}}, False),
    ("telemetry", {"timestamp": STAMP, "device_id": "d", "data": {"rssi": -52}}, True),
    ("telemetry", {"timestamp": STAMP, "device_id": "d", "data": []}, False),
    ("devices_list", [], True),
    ("devices_list", {}, False),
    ("devices_list", [ENTRY, {**ENTRY, "model": None}], True),
    ("devices_list", [{**ENTRY, "online": 1}], False),
    ("devices_list", [{**ENTRY, "online": None}], False),
    ("devices_list", [{"device_id": "d"}], False),
    ("info", INFO, True),
    ("info", {**INFO, "uptime": 0.25}, True),
    ("info", {**INFO, "uptime": -1}, False),
    ("info", {**INFO, "uptime": True}, False),
    ("info", {**INFO, "uptime": 10**400}, False),
    ("info", {**INFO, "devices_count": "3"}, False),
    ("info", {**INFO, "devices_count": 3.5}, False),
    ("group_response", GROUP, True),
    ("group_response", {**GROUP, "results": {"d": {"status": "error", "error": BODY}}}, True),
    ("group_response", {**GROUP, "results": {"a/b": {"status": "success"}}}, False),
    ("group_response", {**GROUP, "results": {"d": True}}, False),
    ("group_response", {**GROUP, "results": {"d": {"status": "partial"}}}, False),
    ("instance", {}, True),
    ("instance", {"update_interval": None, "devices": [], "groups": []}, True),
    ("instance", {"update_interval": 0}, False),
    ("instance", {"update_interval": "10"}, False),
    ("instance", {"update_interval": True}, False),
    ("instance", {"update_interval": 10**400}, False),
    ("instance", {"devices": None}, False),
    ("instance", {"devices": {"device_id": "d"}}, False),
    ("instance", {"devices": ["d"]}, False),
    ("instance", {"devices": [{"ip": "192.0.2.10"}]}, False),
    ("instance", {"devices": [{"device_id": "d", "ip": "192.0.2.10", "enabled": False}]}, True),
    ("instance", {"devices": [{"device_id": "d", "enabled": "false"}]}, False),
    ("instance", {"groups": [{"group_id": "g"}]}, True),
    ("instance", {"groups": [{"group_id": "g", "devices": ["d", "d", "unknown"]}]}, True),
    ("instance", {"groups": [{"group_id": "g", "devices": "d"}]}, False),
    ("instance", {"connection": []}, False),
    ("instance", {"secrets": None}, False),
    ("instance", {"created_at": "2025-10-12T20:25:11.640083", "mqtt": {"qos": 1}}, True),
    ("instance", [], False),
]


@pytest.mark.parametrize(("name", "document", "fits"), TRICKY)
def test_model_and_schema_give_the_expected_verdict(name: str, document: Any, *, fits: bool) -> None:
    assert (model_accepts(name, document), schema_accepts(name, document)) == (fits, fits)


# ------------------------------------------------------------------ timestamps
@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine's own time zone be one that nobody may fall back to."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@given(
    text=st.from_regex(
        r"\A[0129]\d{3}-[01]\d-[0-3]\d[T ][0-2]\d:[0-6]\d(:[0-6]\d(\.\d{1,9})?)?(Z|[+-][0-2]\d(:?[0-6]\d)?)?\n?\Z"
    )
    | st.builds("{:04}-{:02}-{:02}T00:00Z".format, st.integers(999, 3001), st.integers(1, 12), st.integers(27, 32))
    | stamps(need_offset=False)
    | st.text(max_size=12)
)
@settings(QUICK, max_examples=150)
def test_timestamp_patterns_say_the_same_as_the_parser(text: str) -> None:
    assert model_accepts("cmd", {"values": {}, "timestamp": text}) == schema_accepts(
        "cmd", {"values": {}, "timestamp": text}
    )
    published = {**STATE, "timestamp": text}
    assert model_accepts("state", published) == schema_accepts("state", published)


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-10-13T10:30:00.000Z", "2025-10-13T10:30:00.000Z"),
        ("2025-10-13 10:30:00", "2025-10-13T10:30:00.000Z"),
        ("2025-10-13T10:30:00.1239999999", "2025-10-13T10:30:00.123Z"),
        ("2025-10-13T19:30:00+09:00", "2025-10-13T10:30:00.000Z"),
        ("2025-10-13T07:00-0330", "2025-10-13T10:30:00.000Z"),
        ("2024-02-29T23:59:59-00:30", "2024-03-01T00:29:59.000Z"),
    ],
)
def test_offsets_are_converted_and_a_missing_one_means_utc(text: str, moment: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2025-10-13", "2025-02-30T00:00:00Z", "2025-10-13T24:00:00Z", "20251013T103000Z"]
)
def test_an_unreadable_timestamp_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a timestamp must .* such as 2025-10-13T10:30:00\.000Z$"):
        parse_timestamp(text)


def test_a_datetime_without_offset_is_never_published() -> None:
    naive = datetime(2025, 10, 13, 10, 30)  # noqa: DTZ001 - the very fault that is refused
    with pytest.raises(ValueError, match="without UTC offset"):
        format_timestamp(naive)
    with pytest.raises(ValidationError):
        models.State(timestamp=naive, device_id="d", state={})


# ------------------------------------------------------------------ reading and writing
@pytest.mark.parametrize(
    "raw",
    [
        *[
            b"",
            b" ",
            b"online",
            b"True",
            b"None",
            b"{'a': 1}",
            b"[1,]",
            b'{"a": 1',
            b"NaN",
            b"[Infinity]",
            b"-Infinity",
        ],
        *[b"1e400", b'{"a": [-1e999]}', b"9" * 5000, b"[" * 100_000],
        *[b"\xff", b'["\xff"]', b'"\\ud800"', b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16")],
    ],
)
def test_what_is_no_strict_json_is_refused_in_one_sentence(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        models.read_json(raw)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused_by_every_model(number: float) -> None:
    documents = {
        "cmd": {"values": {"a": [number]}},
        "event": {"timestamp": STAMP, "event": "e", "data": {"a": number}},
        "info": {**INFO, "uptime": number},
        "instance": {"connection": {"a": {"b": number}}, "x": 1},
        "property": number,
        "state": {**STATE, "state": {"a": number}},
        "telemetry": {"timestamp": STAMP, "device_id": "d", "data": {"a": number}},
    }
    assert [name for name, document in documents.items() if model_accepts(name, document)] == []
    assert not model_accepts("instance", {"devices": [{"device_id": "d", "of_the_connector": number}]})


def test_a_written_payload_leaves_out_what_is_not_set_and_keeps_nulls_that_are_values() -> None:
    moment = datetime(2025, 10, 13, 10, 30, 0, 1999, tzinfo=UTC)
    event = models.Event(timestamp=moment, event="pressed", data=None)
    response = models.CommandResponse(cmd_id="1", status="success", timestamp=moment, result={"power": None})
    assert json.loads(event.to_json()) == {"timestamp": "2025-10-13T10:30:00.001Z", "event": "pressed", "data": None}
    assert json.loads(response.to_json()) == {
        "cmd_id": "1", "status": "success", "timestamp": "2025-10-13T10:30:00.001Z", "result": {"power": None},
    }  # fmt: skip
    assert models.Availability("online").to_json() == b'"online"'


def test_payloads_cannot_be_changed_after_they_were_checked() -> None:
    command = models.Command(values={"power": True})
    with pytest.raises(ValidationError, match="frozen"):
        command.id = "other"


def test_a_fault_is_told_with_its_place_but_never_with_the_value() -> None:
    with pytest.raises(ValueError, match=r"^values: Field required \(1 more faults\)$"):
        models.Command.from_document({"timeout": "pa55word"})
    with pytest.raises(ValueError, match=r"^connection: Input should be an object$") as caught:
        InstanceConfig.from_document({"connection": "pa55word"})
    assert "pa55word" not in str(caught.value.__cause__)
    with pytest.raises(ValueError, match=r"^state\..*…: must be one topic level"):
        models.State.from_document({**STATE, "state": {"+" * 1000: 1}})


# ------------------------------------------------------------------ instance files
class Colour(Enum):
    RED = "red"


class Bulb(DeviceConfig):
    ip: IPv4Address
    port: int = 55443
    colour: Colour = Colour.RED


class Bulbs(InstanceConfig):
    devices: Sequence[Bulb] = ()


def test_an_authors_own_fields_are_typed_without_coercion() -> None:
    config = Bulbs.from_document(
        {"devices": [{"device_id": "a", "ip": "192.0.2.10", "colour": "red", "zone": 3}], "x": 1}
    )
    assert (config.devices[0].ip, config.devices[0].colour) == (IPv4Address("192.0.2.10"), Colour.RED)
    assert config.devices[0].model_extra == {"zone": 3}
    with pytest.raises(ValueError, match=r"^devices\[1\]\.port: Input should be a valid integer$"):
        Bulbs.from_document(
            {"devices": [{"device_id": "a", "ip": "192.0.2.1"}, {"device_id": "b", "ip": "192.0.2.2", "port": "1"}]}
        )


def test_a_device_without_id_is_named_by_its_index() -> None:
    with pytest.raises(ValueError, match=r"^devices\[1\]\.device_id: Field required$"):
        InstanceConfig.from_document({"devices": [{"device_id": "a"}, {"ip": "192.0.2.10"}]})


@pytest.mark.parametrize(("part", "key"), [("devices", "device_id"), ("groups", "group_id")])
@pytest.mark.parametrize("config", [InstanceConfig, Bulbs])
def test_a_repeated_id_is_refused_with_both_places(part: str, key: str, config: type[InstanceConfig]) -> None:
    entries = [{key: name, "ip": "192.0.2.10"} for name in ("a", "b", "a")]
    with pytest.raises(ValueError, match=rf"^{part}: entries \[0\] and \[2\] share the {key} `a`"):
        config.from_document({part: entries})


def test_secrets_do_not_show_in_a_configuration_that_is_printed() -> None:
    config = InstanceConfig.from_document({"connection": {"password": "pa55word"}, "secrets": {"token": "pa55word"}})
    assert "pa55word" not in repr(config)


# ------------------------------------------------------------------ the schemas themselves
@pytest.mark.parametrize("name", sorted(READERS))
def test_a_schema_is_sound_named_and_tied_to_existing_clauses(name: str) -> None:
    schema = schemas.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:iot2mqtt:contract:v1:{name}"
    assert schema["title"]
    ids = {clause.id for clause in load_clauses()}
    named = [word.strip("().,:;") for word in schema["description"].split() if "I2M-" in word]
    assert named
    assert set(named) <= ids


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_example_of_a_schema_fits_schema_and_model(name: str) -> None:
    examples = schemas.schema(name)["examples"]
    assert examples
    assert [e for e in examples if not (schema_accepts(name, e) and model_accepts(name, e))] == []


def test_a_definition_of_one_name_is_the_same_in_every_schema() -> None:
    seen: dict[str, Any] = {}
    for name in READERS:
        for key, definition in schemas.schema(name).get("$defs", {}).items():
            assert seen.setdefault(key, definition) == definition, f"{key} in {name}"


def test_an_unknown_schema_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match=r"no schema named 'states'; choose one of .*state"):
        schemas.schema("states")
    assert set(READERS) <= set(schemas.names())


def test_schemas_are_read_without_heavy_imports() -> None:
    tree = ast.parse(Path(schemas.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"json", "pathlib", "typing"}
