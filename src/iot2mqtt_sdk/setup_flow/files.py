"""The files that a run reads: setup.json, answers and recorded answers."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from iot2mqtt_sdk.contract.models import explain, read_json
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from iot2mqtt_sdk.setup_flow.errors import SetupError

_Model = TypeVar("_Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Pass(_Strict):
    """The answers to the steps of one device; forms by step and field, the rest by key."""

    form: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    selection: dict[str, JsonValue] = Field(default_factory=dict)
    oauth: dict[str, str | dict[str, JsonValue]] = Field(default_factory=dict)


class AnswerFile(Pass):
    """What `--answers` names: the answers to a flow's questions, under the names that templates give them.

    Attributes:
        flow: The flow; by default the one that setup.json calls its default, or else the first.
        devices: For flows that repeat steps: the answers to those steps, device by device.
        shared: What a host application provides to templates as `shared`.
    """

    flow: str | None = None
    devices: tuple[Pass, ...] = ()
    shared: dict[str, JsonValue] = Field(default_factory=dict)


class RecordedFile(_Strict):
    """What `--recorded` names: answers of tools by key, and sessions by provider.

    A list of answers is used up one run after the other.
    """

    tools: dict[str, JsonValue] = Field(default_factory=dict)
    oauth: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)


def read_setup(folder: Path) -> Setup:
    """Return a connector's setup.json.

    Raises:
        SetupError: It is missing, malformed, or would fail in a run.
    """
    file = folder / "setup.json"
    setup = read_model(Setup, file)
    problems = check(setup, folder)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SetupError(f"{file}: {problems[0]}{more}; `iot2mqtt check {folder}` lists what to mend")
    return setup


def read_model(model: type[_Model], file: Path) -> _Model:
    """Return the content of a JSON file.

    Raises:
        SetupError: It cannot be read, or is no such document.
    """
    try:
        return model.model_validate_json(json.dumps(read_json(file.read_bytes())))
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise SetupError(f"{file} is malformed: {explain(error)}") from None
    except ValueError as error:
        raise SetupError(f"{file} is malformed: {error}") from None
