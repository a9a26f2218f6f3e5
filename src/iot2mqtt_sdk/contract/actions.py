"""Action scripts: what a tool reads from stdin and writes to stdout (clauses I2M-ACT-01 and -02), and where it lies."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StrictBool,
    StrictStr,
    Tag,
    TypeAdapter,
)

CODE_PATTERN: Final = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*(?![\s\S])"
"""lower_snake_case to the very end of the text: in Python's dialect `$` would let a final newline pass."""


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")


class ActionInput(_Envelope):
    """The one JSON object on a script's stdin (clause I2M-ACT-01)."""

    tool: Annotated[StrictStr, Field(min_length=1, description="Name of the tool, a key of `tools` in setup.json.")]
    input: Annotated[dict[str, JsonValue], Field(description="The tool's inputs by name.")]


class ActionFault(_Envelope):
    """Why a call failed."""

    code: Annotated[StrictStr, Field(pattern=CODE_PATTERN, description="lower_snake_case, for programs.")]
    message: Annotated[StrictStr, Field(min_length=1, description="One sentence for the user.")]
    retriable: Annotated[StrictBool, Field(description="Whether the same call may succeed later.")]


def _boolean(value: object) -> object:
    """Refuse 1 and 0, which a Literal of True or False takes for equal."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    return value


class ActionSuccess(_Envelope):
    """A call that worked."""

    ok: Annotated[Literal[True], BeforeValidator(_boolean)]
    result: JsonValue


class ActionFailure(_Envelope):
    """A call that failed, handled by the script; its exit code is 0 all the same (clause I2M-ACT-03)."""

    ok: Annotated[Literal[False], BeforeValidator(_boolean)]
    error: ActionFault


def _outcome(value: Any) -> str | None:
    ok = value.get("ok") if isinstance(value, dict) else getattr(value, "ok", None)
    return {True: "success", False: "failure"}[ok] if isinstance(ok, bool) else None


ActionOutput = Annotated[
    Annotated[ActionSuccess, Tag("success")] | Annotated[ActionFailure, Tag("failure")],
    Discriminator(
        _outcome,
        custom_error_type="action_outcome",
        custom_error_message='Output must be an object with "ok": true and "result", or "ok": false and "error"',
    ),
]
"""The one JSON object on a script's stdout (clause I2M-ACT-02)."""

ACTION_OUTPUT: Final[TypeAdapter[ActionSuccess | ActionFailure]] = TypeAdapter(ActionOutput)
"""Validates an ActionOutput, which is a union and therefore no model of its own."""


def resolve_tool(folder: Path, entry: str) -> Path:
    """Return the script that a tool's `entry` names inside the connector's folder.

    Args:
        folder: The connector's folder.
        entry: Path of the script relative to it, as written in setup.json.

    Raises:
        ValueError: The entry leaves the folder (by `..`, as an absolute path or over a symbolic link) or is no file.
    """
    root = folder.resolve()
    script = (root / entry).resolve()
    if not script.is_relative_to(root):
        raise ValueError(f"entry {entry!r} leads out of the connector's folder; name a file inside it")
    if not script.is_file():
        raise ValueError(f"entry {entry!r} does not exist in the connector's folder; create it or correct the path")
    return script
