"""Action scripts in one decorator: clauses I2M-ACT-01 to I2M-ACT-08, so that the author writes a function.

    from iot2mqtt_sdk.actions import ActionError, action

    @action(secrets=("password",))
    def validate(host: str, password: str, port: int = 55443) -> dict[str, object]:
        ...

The function runs where it is decorated when its file is the script, so it comes last in the file. Imported, by a test
for instance, it is the function that was written and nothing else.
"""

import ast
import inspect
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model
from pydantic_core import PydanticSerializationError, from_json, to_json

from iot2mqtt_sdk.contract.actions import (
    CODE_PATTERN,
    ActionFailure,
    ActionFault,
    ActionInput,
    ActionSuccess,
)
from iot2mqtt_sdk.masking import Mask, write_all

__all__ = ["ActionError", "action"]

_F = TypeVar("_F", bound=Callable[..., Any])

_GRACE: Final = 1.0
"""Seconds that a terminated script has for its own `finally` blocks; I2M-ACT-06 allows 2 in all."""
_LOCAL_TROUBLE: Final = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)


class ActionError(Exception):
    """A failure that the script handles: raise it, and it becomes the `error` of the answer.

    Args:
        code: lower_snake_case, for programs: `unreachable`, `wrong_password`.
        message: One sentence for the user: what is wrong, where, what to do.
        retriable: Whether the same call may succeed later.

    Raises:
        ValueError: The code is not lower_snake_case, or the message is empty (clause I2M-ACT-02).
    """

    def __init__(self, code: str, message: str, *, retriable: bool = False) -> None:
        if not re.match(CODE_PATTERN, code):
            raise ValueError(f"action error code {code!r} must be lower_snake_case, such as 'unreachable'")
        if not message:
            raise ValueError(f"action error {code!r} needs a message that says what is wrong")
        super().__init__(message)
        self.code = code
        self.message = message
        self.retriable = retriable


@overload
def action(function: _F, /) -> _F: ...


@overload
def action(*, secrets: Sequence[str]) -> Callable[[_F], _F]: ...


def action(function: _F | None = None, /, *, secrets: Sequence[str] = ()) -> _F | Callable[[_F], _F]:
    """Make a function the action of its script.

    Run as a script, the function is called with the inputs from stdin, checked strictly against its annotations, and
    the process ends: exit code 0 and one JSON object on stdout, for a failure as well. What is printed goes to stderr;
    only what a module prints while it is imported reaches stdout when Python does not buffer (PYTHONUNBUFFERED).

    - Failed inputs answer `empty_input`, `invalid_json`, `invalid_envelope` or `invalid_input`.
    - `ActionError` answers its own code, any other exception `tool_failed` with its traceback on stderr only; it is
      retriable when it came from the network, as far as the exception tells.
    - Results may hold dates, enumerations, dataclasses and pydantic models; NaN and infinities become null.
    - SIGTERM raises SystemExit in the function, so that `finally` blocks run for up to a second, then answers
      `terminated` and exits with 143.

    Args:
        function: The function, plain or async. Its parameters are the inputs; those without default are required.
        secrets: Parameters whose values are masked in everything the script writes (clause I2M-ACT-07).

    Returns:
        The function itself, unchanged.

    Raises:
        TypeError: The function takes positional-only or variadic positional parameters, or has no parameter of the
            name of a secret.
    """
    if function is None:
        return lambda decorated: _decorate(decorated, secrets)
    return _decorate(function, secrets)


def _decorate(function: _F, secrets: Sequence[str]) -> _F:
    arguments = _arguments(function, secrets)
    if function.__module__ == "__main__":
        _run(function, arguments, secrets)
    return function


class _Terminated(SystemExit):
    """SIGTERM arrived; a SystemExit, because asyncio lets only that and KeyboardInterrupt out of its loop."""


class _Answer:
    """The script's one answer: the first one given is written, any other is not."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._given = threading.Lock()

    @property
    def given(self) -> bool:
        return self._given.locked()

    def give(self, output: ActionSuccess | ActionFailure) -> None:
        if self._given.acquire(blocking=False):
            write_all(self._descriptor, json.dumps(output.model_dump(mode="json"), allow_nan=False).encode() + b"\n")


def _failure(code: str, message: str, *, retriable: bool = False) -> ActionFailure:
    # An exception's text may hold undecodable bytes of file names, which are no JSON text.
    readable = message.encode("utf-8", "replace").decode()
    return ActionFailure(ok=False, error=ActionFault(code=code, message=readable, retriable=retriable))


_TERMINATED: Final = _failure("terminated", "the script was asked to stop before it had an answer", retriable=True)


def _run(function: Callable[..., Any], arguments: type[BaseModel], secrets: Sequence[str]) -> NoReturn:
    """Be the script: answer what stdin asks, and exit."""
    answer = _Answer(os.dup(1))
    # Even subprocesses and C libraries write to stderr from here on, and what was printed before goes there as well.
    os.dup2(2, 1)
    sys.stdout.flush()
    _watch_sigterm(answer)
    exit_code = 0
    try:
        answer.give(_respond(function, arguments, secrets))
    except _Terminated:
        exit_code = 128 + signal.SIGTERM
        answer.give(_TERMINATED)
    except KeyboardInterrupt:
        exit_code = 128 + signal.SIGINT
        answer.give(_TERMINATED)
    sys.exit(exit_code)


def _watch_sigterm(answer: _Answer) -> None:
    """End on SIGTERM: by an exception in the main thread, and by force when that is stuck in C code or holds on."""

    def interrupt(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not answer.given:
            raise _Terminated(128 + signal.SIGTERM)

    arrived, announce = os.pipe()
    os.set_blocking(announce, False)

    def enforce() -> None:
        while os.read(arrived, 1) != bytes([signal.SIGTERM]):
            pass
        time.sleep(_GRACE)
        answer.give(_TERMINATED)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, interrupt)
    signal.set_wakeup_fd(announce, warn_on_full_buffer=False)
    threading.Thread(target=enforce, name="sigterm", daemon=True).start()


def _respond(
    function: Callable[..., Any], arguments: type[BaseModel], secrets: Sequence[str]
) -> ActionSuccess | ActionFailure:
    try:
        request = _parse(sys.stdin.buffer.read())
    except ActionError as error:
        return _failure(error.code, error.message)
    mask = Mask((request.input.get(name) for name in secrets), shortest=1)
    with _masked_stderr(mask):
        output = _call(function, arguments, request.input)
    if isinstance(output, ActionFailure):
        fault = output.error
        return _failure(fault.code, mask.text(fault.message), retriable=fault.retriable)
    return ActionSuccess(ok=True, result=mask.value(output.result))


@contextmanager
def _masked_stderr(mask: Mask) -> Generator[None]:
    """Mask what goes to file descriptors 1 and 2, whoever writes it."""
    if not mask:
        yield
        return
    real = os.dup(2)
    source, target = os.pipe()
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    copier = threading.Thread(target=mask.stream, args=(source, real), name="mask", daemon=True)
    copier.start()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(real, 1)
        os.dup2(real, 2)
        # A process that the script left behind may still hold the pipe; the answer does not wait for it.
        copier.join(0.5)


def _parse(raw: bytes) -> ActionInput:
    if not raw.strip():
        raise ActionError("empty_input", 'stdin is empty; write one JSON object {"tool": ..., "input": {...}} to it')
    try:
        document = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ActionError("invalid_json", f"stdin is not one JSON text: {error}") from error
    if not isinstance(document, dict):
        raise ActionError("invalid_envelope", 'stdin must hold one JSON object {"tool": ..., "input": {...}}')
    try:
        return ActionInput.model_validate(document)
    except ValidationError as error:
        raise ActionError(
            "invalid_envelope", f'stdin must hold {{"tool": ..., "input": ...}}: {_faults(error)}'
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _faults(error: ValidationError) -> str:
    """Name what is wrong, field by field, without the values."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(": ".join([".".join(map(str, fault["loc"])) or "input", fault["msg"]]) for fault in faults)


def _arguments(function: Callable[..., Any], secrets: Sequence[str]) -> type[BaseModel]:
    """Build the model of a function's inputs.

    Fields have names of their own and the parameters' names as aliases, because a parameter may have a name that a
    model uses itself, such as `json`.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    extra: bool = False
    parameters = inspect.signature(function).parameters
    for index, (name, parameter) in enumerate(parameters.items()):
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise TypeError(
                f"@action {function.__name__}: parameter {name!r} cannot be given by name; inputs have names"
            )
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = True
            continue
        default = ... if parameter.default is parameter.empty else None
        fields[f"input_{index}"] = (hints.get(name, Any), Field(default, alias=name))
    for name in secrets:
        if name not in parameters:
            raise TypeError(f"@action {function.__name__}: secret {name!r} is none of its parameters")
    config = ConfigDict(extra="allow" if extra else "forbid", arbitrary_types_allowed=True)
    return create_model(f"{function.__name__} inputs", __config__=config, **fields)


def _call(
    function: Callable[..., Any], arguments: type[BaseModel], given: dict[str, JsonValue]
) -> ActionSuccess | ActionFailure:
    misplaced = _defined_below(function)
    if misplaced:
        advice = f"put {function.__name__} at the end of the script: it runs before {misplaced[0]} below it exists"
        return _failure("tool_failed", advice)
    try:
        # As JSON, in which a text may become a date or an enumeration, but never a number.
        inputs = arguments.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        return _failure("invalid_input", f"wrong input: {_faults(error)}")
    named = {field.alias or key: getattr(inputs, key) for key, field in arguments.model_fields.items()}
    outcome = _invoke(function, {name: named.get(name, value) for name, value in given.items()})
    if isinstance(outcome, ActionFailure):
        return outcome
    try:
        return ActionSuccess(ok=True, result=from_json(to_json(outcome, inf_nan_mode="null")))
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        return _failure("tool_failed", f"the result of {function.__name__} is not JSON: {error}")


def _invoke(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Return what the function returns, or the failure that it raised."""
    try:
        result = function(**inputs)
        if inspect.iscoroutine(result):
            import asyncio  # a script that is not asynchronous starts sooner without it

            return asyncio.run(result)
        return result  # noqa: TRY300 - an `else` would be far from what it belongs to
    except ActionError as error:
        return _failure(error.code, error.message, retriable=error.retriable)
    except _Terminated:
        raise
    except SystemExit as error:
        return _failure("tool_failed", f"{function.__name__} exited with {error.code!r} instead of returning a result")
    except Exception as error:  # noqa: BLE001 - whatever the author's function raises is the answer's business
        traceback.print_exc()
        retriable = isinstance(error, OSError) and not isinstance(error, _LOCAL_TROUBLE)
        message = f"{function.__name__} failed with {type(error).__name__}: {error}".rstrip(": ")
        return _failure("tool_failed", message, retriable=retriable)


def _defined_below(function: Callable[..., Any]) -> list[str]:
    """Return the names that the script defines only after the function has run."""
    code = function.__code__
    try:
        statements = ast.parse(Path(code.co_filename).read_bytes()).body
    except OSError:
        return []
    below = [node for node in statements if node.lineno > code.co_firstlineno]
    names = [node.name for node in below if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    names += [ast.unparse(node.targets[0]) for node in below if isinstance(node, ast.Assign)]
    return [name for name in names if name != function.__name__]
