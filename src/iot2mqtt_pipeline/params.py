"""Device parameters in files: read with every fault named, and written so that they can be read again."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from iot2mqtt_pipeline.parameters import ParameterRow, parse_row
from iot2mqtt_sdk.errors import ConfigurationError

COLUMNS = ParameterRow._fields[:8]
"""The columns of a file: those of device_parameters up to decode. In CSV an empty cell is NULL."""
_REQUIRED = ("device_id", "connector_mode", "component_type", "encoding_type")
_PARSED = ("encoding_type", "decode", "scaling_factor")
_SHOWN = 20


class _Entry(NamedTuple):
    line: int
    values: Mapping[str, Any]


class _Fault(NamedTuple):
    line: int
    column: str | None
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.column is None else f"line {self.line}, column {self.column}"
        return f"{place}: {self.message}"


class _FaultError(Exception):
    """Carries a fault to where they are collected."""

    def __init__(self, column: str | None, message: str) -> None:
        super().__init__(message)
        self.column = column
        self.message = message


def parse(values: Mapping[str, Any]) -> ParameterRow:
    """Check the parameters of one component.

    Args:
        values: By column; texts, or what JSON has for them.

    Raises:
        ConfigurationError: They cannot be used; the message names the column.
    """
    try:
        return _row(values)
    except _FaultError as fault:
        place = "" if fault.column is None else f"{fault.column}: "
        raise ConfigurationError(place + fault.message) from None


def read_csv(text: str, *, name: str) -> list[ParameterRow]:
    """Read a CSV file with a header.

    Args:
        text: Its content.
        name: How it is called in messages.

    Raises:
        ConfigurationError: Rows cannot be used; the message names the line and column of each.
    """
    return _checked(_csv_entries(text, name), name)


def read_json(text: str, *, name: str) -> list[ParameterRow]:
    """Read a JSON array of objects with the columns as members.

    Args:
        text: Its content.
        name: How it is called in messages.

    Raises:
        ConfigurationError: It is no such array, or rows cannot be used; the message names the line and column of each.
    """
    return _checked(_json_entries(text, name), name)


def write_csv(rows: Iterable[ParameterRow]) -> str:
    """Return rows as read_csv reads them."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = _plain(row)
        if row.decode is not None:
            values["decode"] = json.dumps(row.decode)
        writer.writerow(values)
    return file.getvalue()


def write_json(rows: Iterable[ParameterRow]) -> str:
    """Return rows as read_json reads them."""
    return json.dumps([_plain(row) for row in rows], indent=2, ensure_ascii=False) + "\n"


def _plain(row: ParameterRow) -> dict[str, Any]:
    values = dict(zip(COLUMNS, row, strict=False))
    # As text, because a JSON number may lose digits.
    values["scaling_factor"] = format(Decimal(str(row.scaling_factor)).normalize(), "f")
    return values


# ---------------------------------------------------------------------- reading
def _csv_entries(text: str, name: str) -> Iterator[_Entry]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"), newline=""), strict=True)
    try:
        header = reader.fieldnames or ()
        foreign = sorted(set(header) - set(COLUMNS)) + sorted(set(_REQUIRED) - set(header))
        if foreign:
            wanted = ", ".join(COLUMNS)
            raise ConfigurationError(f"{name}, line 1: unknown or missing {', '.join(foreign)}; columns are {wanted}")
        for values in reader:
            yield _Entry(reader.line_num, {key: None if cell == "" else cell for key, cell in values.items()})
    except csv.Error as error:
        raise ConfigurationError(f"{name}, line {reader.line_num}: no CSV: {error}") from None


def _json_entries(text: str, name: str) -> Iterator[_Entry]:
    decoder = json.JSONDecoder(parse_float=Decimal)
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    try:
        whole = json.loads(text)
        if not isinstance(whole, list):
            raise ConfigurationError(f"{name}, line 1: the parameters are a JSON array of objects")
        place = text.index("[") + 1
        for plain in whole:
            while text[place] in ", \t\r\n":
                place += 1
            values, end = decoder.raw_decode(text, place)
            if isinstance(plain, dict) and "decode" in plain:
                values["decode"] = plain["decode"]  # it is stored as JSON, which knows no decimals
            yield _Entry(text.count("\n", 0, place) + 1, values)
            place = end
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{name}, line {error.lineno}, character {error.colno}: {error.msg}") from None


def _checked(entries: Iterable[_Entry], name: str) -> list[ParameterRow]:
    rows: list[ParameterRow] = []
    lines: dict[tuple[str | None, ...], int] = {}
    faults: list[_Fault] = []
    for line, values in entries:
        try:
            row = _row(values)
        except _FaultError as fault:
            faults.append(_Fault(line, fault.column, fault.message))
            continue
        if row[:4] in lines:
            faults.append(_Fault(line, "component_id", f"the same component is in line {lines[row[:4]]}"))
        lines.setdefault(row[:4], line)
        rows.append(row)
    if faults:
        rest = f"\nand {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        shown = "\n".join(f"{name}, {fault}" for fault in faults[:_SHOWN])
        raise ConfigurationError(f"{shown}{rest}\nnothing was changed")
    return rows


# ---------------------------------------------------------------------- one row
def _row(values: Mapping[str, Any]) -> ParameterRow:
    if not isinstance(values, dict):
        raise _FaultError(None, "not an object")
    for key in values:
        if key not in COLUMNS:
            raise _FaultError(None if key is None else str(key), f"unknown; columns are {', '.join(COLUMNS)}")
    texts = {column: _text(values, column) for column in (*_REQUIRED, "component_id", "units")}
    row = ParameterRow(
        device_id=str(texts["device_id"]),
        connector_mode=str(texts["connector_mode"]),
        component_type=str(texts["component_type"]),
        component_id=texts["component_id"],
        encoding_type=str(texts["encoding_type"]),
        units=texts["units"],
        scaling_factor=_scaling(values.get("scaling_factor")),
        decode=_decode(values.get("decode")),
    )
    try:
        parse_row(row)
    except ValueError as error:
        message = str(error)
        raise _FaultError(next((one for one in _PARSED if f" {one}" in message), None), message) from None
    return row


def _text(values: Mapping[str, Any], column: str) -> str | None:
    value = values.get(column)
    if value is None and column not in _REQUIRED:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise _FaultError(column, "missing" if value in (None, "") else f"{value!r} is no text")
    return value


def _scaling(value: Any) -> Decimal:
    try:
        # str(True) is no number either.
        return Decimal(1) if value is None else Decimal(str(value))
    except InvalidOperation:
        raise _FaultError("scaling_factor", f"{value!r} is no number") from None


def _decode(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise _FaultError("decode", f"no JSON: {error.msg} at character {error.pos + 1}") from None
    if value is not None and not isinstance(value, dict):
        raise _FaultError("decode", "not a JSON object")
    return value
