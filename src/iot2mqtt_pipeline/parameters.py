"""How the components of devices are decoded: the rows of device_parameters, parsed once and looked up fast."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from iot2mqtt_pipeline.decoders import DECODERS, Encoding
from iot2mqtt_pipeline.decoders.numbers import factor_of
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_sdk.contract.models import explain

_ONE = Decimal(1)
_Key = tuple[str, str, str, str | None]


class ParameterRow(NamedTuple):
    """A row of device_parameters, in the order of its columns; in a template, device_id is the template's name."""

    device_id: str
    connector_mode: str
    component_type: str
    component_id: str | None
    encoding_type: str
    units: str | None = None
    scaling_factor: Decimal | float = _ONE
    decode: Mapping[str, Any] | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Parameters:
    """How one component is decoded.

    Attributes:
        encoding: The name in DECODERS.
        unit: The unit of the values, or None.
        scaling: What numbers are multiplied with; None for 1.
        decoder: The encoding, set up by the row's `decode`.
        version: The version of the row.
    """

    encoding: str
    unit: str | None
    scaling: Decimal | None
    decoder: Encoding
    version: int


class ParameterTable:
    """The parameters of all devices at one moment; a change brings a new table.

    Args:
        rows: The rows of device_parameters.
        templates: The rows of all templates.
        assignments: The template of each device that has one.
    """

    def __init__(
        self,
        rows: Iterable[ParameterRow] = (),
        *,
        templates: Iterable[ParameterRow] = (),
        assignments: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._own = _parsed(rows)
        self._templates = _parsed(templates)
        self._assignments = dict(assignments)

    def find(
        self, device_id: str, connector_mode: str, component_type: str, component_id: str | None
    ) -> Parameters | None:
        """Return the parameters of a component, or None where it has none.

        A device's own rows go before those of its template; the row of an id before the one that serves every id.

        Raises:
            PermanentError: `bad_parameters`: there is a row, and it cannot be used; the message names it.
        """
        found = self._own.get((device_id, connector_mode, component_type, component_id))
        if found is None:
            found = self._search(device_id, connector_mode, component_type, component_id)
        if isinstance(found, str):
            raise PermanentError("bad_parameters", found)
        return found

    def faults(self) -> list[str]:
        """Return what is wrong with the rows that cannot be used, a sentence each."""
        rows = [*self._own.values(), *self._templates.values()]
        return [row for row in rows if isinstance(row, str)]

    def _search(
        self, device_id: str, connector_mode: str, component_type: str, component_id: str | None
    ) -> Parameters | str | None:
        found = self._own.get((device_id, connector_mode, component_type, None))
        template = self._assignments.get(device_id)
        if found is not None or template is None:
            return found
        found = self._templates.get((template, connector_mode, component_type, component_id))
        return found or self._templates.get((template, connector_mode, component_type, None))


def _parsed(rows: Iterable[ParameterRow]) -> dict[_Key, Parameters | str]:
    return {row[:4]: _usable(row) for row in rows}


def _usable(row: ParameterRow) -> Parameters | str:
    """Return the parameters of a row, or what is wrong with it: one bad row must not keep the others from serving."""
    try:
        return parse_row(row)
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is this row's
        return str(fault)


def parse_row(row: ParameterRow) -> Parameters:
    """Check a row of device_parameters.

    Raises:
        ValueError: The row cannot be used; the message is one sentence that names the row and the fault.
    """
    try:
        return parse(row.encoding_type, row.units, row.scaling_factor, row.decode, row.version)
    except ValueError as fault:
        raise ValueError(f"the parameters of {_name(row)} are wrong: {fault}") from None


def parse(
    encoding: str, unit: str | None, scaling: Decimal | float | str, decode: Mapping[str, Any] | None, version: int
) -> Parameters:
    """Check how a component is to be decoded.

    Raises:
        ValueError: It cannot be used; the message is one sentence.
    """
    kind = DECODERS.get(encoding)
    if kind is None:
        raise ValueError(f"encoding_type {encoding!r} is none of {', '.join(DECODERS)}")
    try:
        decoder = kind.model_validate({} if decode is None else decode)
    except ValidationError as error:
        raise ValueError(f"decode, {explain(error)}") from None
    except Exception as error:  # an encoding of somebody else may raise anything
        raise ValueError(f"decode cannot be checked by {encoding}: {type(error).__name__}: {error}") from error
    return Parameters(encoding, unit, factor_of(scaling), decoder, version)


def _name(row: ParameterRow) -> str:
    component = row.component_type if row.component_id is None else f"{row.component_type}-{row.component_id}"
    return f"{row.device_id}/{row.connector_mode}/{component}"
