"""`boolean_map`: the booleans of several contacts in one payload."""

from decimal import Decimal
from typing import Any

from iot2mqtt_pipeline.decoders.base import Encoding, wrong
from iot2mqtt_pipeline.decoders.boolean import boolean_in
from iot2mqtt_pipeline.record import Scalar


class BooleanMap(Encoding):
    """Every member of the object but `timestamp`; `field` names an inner object that holds them instead."""

    def decode(self, payload: Any, scaling: Decimal | None) -> dict[str, Scalar]:  # noqa: ARG002
        """Return each contact with its boolean."""
        contacts = payload if self.field is None else self.value_in(payload)
        if not isinstance(contacts, dict):
            wrong(contacts, "an object of booleans")
        found: dict[str, Scalar] = {name: boolean_in(on) for name, on in contacts.items() if name != "timestamp"}
        return found or wrong(contacts, "an object with at least one boolean")
