"""The encodings of payloads: a file each, and one table."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from iot2mqtt_pipeline.decoders.base import Decoded, Encoding, Reading, wrong
from iot2mqtt_pipeline.decoders.base64_ import Base64
from iot2mqtt_pipeline.decoders.bitmask import Bitmask
from iot2mqtt_pipeline.decoders.boolean import Boolean
from iot2mqtt_pipeline.decoders.boolean_map import BooleanMap
from iot2mqtt_pipeline.decoders.enum_map import EnumMap
from iot2mqtt_pipeline.decoders.float_ import Float
from iot2mqtt_pipeline.decoders.hex_registers import HexRegisters
from iot2mqtt_pipeline.decoders.hex_to_float import HexToFloat
from iot2mqtt_pipeline.decoders.integer import Integer
from iot2mqtt_pipeline.decoders.json_path import JsonPath
from iot2mqtt_pipeline.decoders.raw_string import RawString
from iot2mqtt_sdk.errors import ConfigurationError

__all__ = ["DECODERS", "Decoded", "Encoding", "Reading", "add_decoders", "wrong"]

GROUP = "iot2mqtt_pipeline.decoders"
"""The group of entry points through which other packages add encodings: `name = "package.module:Class"`."""

DECODERS: dict[str, type[Encoding]] = {
    "boolean": Boolean,
    "boolean_map": BooleanMap,
    "hex_to_float": HexToFloat,
    "hex_registers": HexRegisters,
    "raw_string": RawString,
    "integer": Integer,
    "float": Float,
    "json_path": JsonPath,
    "base64": Base64,
    "bitmask": Bitmask,
    "enum_map": EnumMap,
}
"""Every encoding by the name that stands in encoding_type."""


def add_decoders(found: Iterable[EntryPoint] | None = None) -> None:
    """Add the encodings of other packages to DECODERS; adding one again changes nothing.

    Args:
        found: The entry points; None means those of the installed packages.

    Raises:
        ConfigurationError: A name is taken, or what stands behind it cannot be loaded or is no Encoding.
    """
    for entry in entry_points(group=GROUP) if found is None else found:
        try:
            kind = entry.load()
        except (ImportError, AttributeError) as fault:
            raise ConfigurationError(f"the decoder {entry.name} ({entry.value}) cannot be loaded: {fault}") from fault
        if not (isinstance(kind, type) and issubclass(kind, Encoding)):
            raise ConfigurationError(f"the decoder {entry.name} ({entry.value}) is no subclass of Encoding")
        if DECODERS.setdefault(entry.name, kind) is not kind:
            raise ConfigurationError(
                f"the decoder {entry.name} of {entry.value} has a name that is taken: uninstall it, or rename it there"
            )
