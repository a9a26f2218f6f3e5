"""manifest.json as a frozen model: what a catalogue of connectors shows (clause I2M-FILE-03)."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StrictBool, StrictStr

ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]*(?![\s\S])"
"""Ids are one segment of a topic and of a template path; the ending refuses a final newline in every regex dialect."""


def _whole(value: object) -> object:
    """Take 5.0 for 5: JSON knows one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[StrictStr, Field(pattern=ID_PATTERN)]
Text = Annotated[StrictStr, Field(min_length=1)]
Count = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int), Field(strict=True, ge=1)]


class Part(BaseModel):
    """Base of the models of a connector's own files: frozen, and an unknown key is an error."""

    # One regex dialect for the models and for the JSON Schemas that Python validators read.
    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")


class Service(Part):
    """One process of a connector that consists of several."""

    name: Text | None = None
    language: Text
    description: StrictStr | None = None
    port: Annotated[Count, Field(le=65535)] | None = None
    required: StrictBool = False


class Manifest(Part):
    """A connector's manifest.json."""

    domain: Annotated[Id, Field(description="The connector's type, as in CONNECTOR_TYPE.")]
    name: Annotated[Text, Field(description="The name that people read.")]
    version: Text
    author: StrictStr | None = None
    description: StrictStr | None = None
    documentation: Annotated[StrictStr | None, Field(description="Address of the documentation.")] = None
    type: StrictStr | None = None
    architecture: StrictStr | None = None
    iot_class: (
        Literal["assumed_state", "calculated", "cloud_polling", "cloud_push", "local_polling", "local_push"] | None
    ) = None
    integration_type: StrictStr | None = None
    supported_brands: tuple[StrictStr, ...] = ()
    supported_languages: tuple[StrictStr, ...] = ()
    capabilities: tuple[StrictStr, ...] = ()
    services: dict[Id, Service] = {}
    requirements: Annotated[
        tuple[StrictStr, ...] | dict[str, JsonValue],
        Field(description="Packages to install, or what the machine must offer, by name."),
    ] = ()
    branding: dict[str, JsonValue] | None = None
    discovery: dict[str, JsonValue] | None = None
