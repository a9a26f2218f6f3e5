"""Runs action scripts of any language as the test runner does: bounded in time and output, with its secrets masked."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from pydantic import JsonValue, ValidationError

from iot2mqtt_sdk.contract.actions import ACTION_OUTPUT, ActionFailure, ActionFault, ActionSuccess, resolve_tool
from iot2mqtt_sdk.contract.setup import Tool
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import decode
from iot2mqtt_sdk.masking import Mask, read_chunks, secret_values, tells_a_secret

__all__ = ["Stop", "UnknownToolError", "load_tool", "resolve_tool", "run_action", "run_tool"]

_LOGGER: Final = logging.getLogger(__name__)
TERM_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL (clause I2M-ACT-06)."""
DRAIN: Final = 1.0
"""Seconds to read what is left in the pipes of a group that is dead; a process that left the group may hold them."""
OUTPUT_LIMIT: Final = 1024 * 1024
"""Bytes that a tool may write to stdout."""
_SLICE: Final = 0.5
"""Seconds after which a main thread that waits looks for a signal at the latest."""
_STDERR_KEPT: Final = 64 * 1024
"""Bytes of stderr that are kept, its last ones."""
_UNBUFFERED: Final = "PYTHONUNBUFFERED"
"""Not handed on: what a Python module prints while it is imported stays off stdout only while Python buffers it."""

_Result = TypeVar("_Result")


class UnknownToolError(ConfigurationError):
    """The connector's setup.json declares no tool of this name; the message lists those that it declares."""


class Stop:
    """Ends runs before their time: those that run, and those that begin after it was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._listeners: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Ask every run to end: SIGTERM now, SIGKILL 2 s later."""
        with self._lock:
            self._asked = True
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Generator[None]:
        """Call the listener when the stop is asked for, or at once where it was."""
        with self._lock:
            self._listeners.append(listener)
            asked = self._asked
        try:
            if asked:
                listener()
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


def load_tool(folder: Path, name: str) -> tuple[Tool, Path]:
    """Return a tool that a connector's setup.json declares, and its script.

    Only that tool is judged: a fault in a flow is the business of `iot2mqtt check`.

    Raises:
        UnknownToolError: setup.json declares no such tool.
        ConfigurationError: setup.json cannot be read, or the tool is malformed, or its script is missing or outside of
            the connector's folder; the message names the fault.
    """
    file = folder / "setup.json"
    try:
        document = decode(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{file} is malformed: {error}") from None
    tools = document.get("tools", {}) if isinstance(document, dict) else None
    if not isinstance(tools, dict):
        raise ConfigurationError(f"{file} is malformed: its tools must be an object")
    if name not in tools:
        known = ", ".join(sorted(tools)) or "none"
        raise UnknownToolError(f"{file} declares no tool {name!r}; it declares: {known}")
    try:
        tool = Tool.model_validate(tools[name])
        return tool, resolve_tool(folder, tool.entry)
    except ValidationError as error:
        raise ConfigurationError(f"{file}, tools.{name}: {_first_fault(error)}") from None
    except ValueError as error:
        raise ConfigurationError(f"{file}, tools.{name}: {error}") from None


def run_tool(
    folder: Path,
    name: str,
    input: Mapping[str, JsonValue],  # noqa: A002 - the envelope's own word
    *,
    timeout: float | None = None,
    stop: Stop | None = None,
    on_stderr: Callable[[bytes], None] | None = None,
) -> dict[str, Any]:
    """Run a tool as the connector's setup.json declares it, in the connector's folder.

    Args:
        folder: The connector's folder.
        name: Name of the tool.
        input: The tool's inputs.
        timeout: Seconds; by default those that the tool declares.
        stop: Ends the run before its time.
        on_stderr: Gets what the script writes to stderr, masked, as it arrives, in a thread of its own; by default it
            is logged at the end.

    Returns:
        An ActionOutput, as `run_action` does.

    Raises:
        UnknownToolError: setup.json declares no such tool.
        ConfigurationError: setup.json or the tool in it is wrong.
        ValueError: The input is no JSON, because it holds NaN for instance.
    """
    tool, script = load_tool(folder, name)
    return run_action(
        script,
        tool=name,
        input=input,
        timeout=tool.timeout if timeout is None else timeout,
        environment=tool.environment or {},
        secrets=tool.secrets or (),
        output_limit=OUTPUT_LIMIT,
        folder=folder.resolve(),
        stop=stop,
        on_stderr=on_stderr,
    )


def run_action(
    script: Path,
    *,
    tool: str,
    input: Mapping[str, JsonValue],  # noqa: A002 - the envelope's own word
    timeout: float,
    environment: Mapping[str, str],
    secrets: Iterable[str],
    output_limit: int,
    folder: Path | None = None,
    stop: Stop | None = None,
    on_stderr: Callable[[bytes], None] | None = None,
) -> dict[str, Any]:
    """Run an action script once and return its answer (clauses I2M-ACT-01 to I2M-ACT-07).

    A `.py` file runs under this interpreter, anything else by itself, with its shebang. It gets a process group of its
    own, of which nothing survives the call, not even if the call ends by an exception.

    Args:
        script: The script, as `resolve_tool` returns it.
        tool: Name of the tool.
        input: The tool's inputs.
        timeout: Seconds until the script is asked to stop with SIGTERM; 2 s later its whole group is killed.
        environment: Variables beyond those of this process. Of these the script gets all but those whose names say
            that they are secret, such as a password for MQTT.
        secrets: Names of inputs whose values are masked in the answer. In what the script writes to stderr, inputs
            and variables whose names say that they are secret are masked as well.
        output_limit: Bytes of stdout beyond which the script is killed.
        folder: The script's working directory, the connector's folder; by default the one the script is in.
        stop: Ends the run before its time.
        on_stderr: Gets what the script writes to stderr, masked, as it arrives, in a thread of its own; by default it
            is logged at the end.

    Returns:
        An ActionOutput. Failures of the script itself carry the codes `timeout` (retriable), `terminated` (retriable;
        it was stopped), `tool_failed` (it exited with another code than 0), `invalid_output` (stdout is no
        ActionOutput, or too long) and `executor_error` (it could not be started).

    Raises:
        ValueError: The input is no JSON, because it holds NaN for instance.
    """
    mask = Mask((input.get(name) for name in secrets), shortest=1)
    hidden = Mask(secret_values(input) | secret_values(environment))
    request = json.dumps({"tool": tool, "input": dict(input)}, allow_nan=False).encode()

    def carried_out(ending: Stop) -> _Run | Exception:
        try:
            process = _start(script, folder or script.parent, environment)
        except (OSError, ValueError) as error:
            return error
        run = _Run(process, request, output_limit, (mask, hidden), on_stderr)
        run.finish(timeout, ending)
        return run

    run = _undisturbed(carried_out, stop or Stop())
    if isinstance(run, Exception):
        reason = run.strerror if isinstance(run, OSError) else str(run)
        advice = "is it executable (chmod +x), and does its first line name an installed program?"
        return _failure("executor_error", f"{script.name} cannot be started: {reason}; {advice}")
    complaint = run.stderr.decode("utf-8", "replace").strip()
    if complaint and on_stderr is None:
        _LOGGER.info("%s wrote to stderr:\n%s", tool, complaint)
    if run.overflowed:
        return _failure("invalid_output", f"{script.name} wrote more than {output_limit} bytes to stdout")
    if run.ended_by is not None or run.exit_code != 0:
        return _why(run, script.name, run.exit_code, complaint)
    return _judge(run.stdout, script.name, mask)


def _undisturbed(carried_out: Callable[[Stop], _Result], stop: Stop) -> _Result:
    """Carry a run out in a thread of its own: a signal's exception could otherwise come between fork and `finally`.

    It may come anywhere here, also while the thread is being started; then either the run never begins, or it is ended.
    """
    ending, run = Stop(), Future[_Result]()

    def carry_out() -> None:
        if not run.set_running_or_notify_cancel():
            return
        try:
            run.set_result(carried_out(ending))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            run.set_exception(error)

    with stop.heard_by(ending.ask):
        try:
            threading.Thread(target=carry_out, name="action").start()
            # In slices: a signal that the system hands to another thread does not wake the main one.
            while not wait([run], _SLICE).done:
                pass
            return run.result()
        except BaseException:
            ending.ask()
            if not run.cancel():
                wait([run])
            raise


def _why(run: "_Run", name: str, code: int, complaint: str) -> dict[str, Any]:
    """Return the failure of a script that did not end of its own will, or not well."""
    if run.ended_by is not None:
        return _failure(run.ended_by, f"{name} {run.reason}", retriable=True)
    last_words = complaint.rpartition("\n")[2] or "it wrote nothing to stderr"
    return _failure("tool_failed", f"{name} {_ending(code)}: {last_words}")


def _start(script: Path, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not tells_a_secret(name) and name != _UNBUFFERED}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(script)] if script.suffix == ".py" else [str(script)],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=folder,
        env={**inherited, **environment},
        start_new_session=True,
    )


class _Run:
    """A running script: feeds its stdin, collects its stdout and stderr, and ends its whole process group."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        request: bytes,
        output_limit: int,
        masks: tuple[Mask, Mask],
        on_stderr: Callable[[bytes], None] | None,
    ) -> None:
        self.stdout = b""
        self.stderr = b""
        self.overflowed = False
        self.ended_by: str | None = None
        self.reason = ""
        self._process = process
        self._limit = output_limit
        self._masks = masks
        self._on_stderr = on_stderr
        self._request = request
        self._exited = threading.Event()
        self._news = threading.Event()
        jobs = (
            (self._feed, process.stdin),
            (self._collect_stdout, process.stdout),
            (self._collect_stderr, process.stderr),
        )
        self._threads = [threading.Thread(target=job, args=(pipe,), daemon=True) for job, pipe in jobs]
        for thread in (*self._threads, threading.Thread(target=self._watch, daemon=True)):
            thread.start()

    @property
    def exit_code(self) -> int:
        """The code with which the process has ended."""
        return int(self._process.returncode)

    def finish(self, timeout: float, stop: Stop) -> None:
        """Wait for the end, or bring it about after `timeout` seconds or when it is asked for."""
        try:
            with stop.heard_by(self._news.set):
                in_time = self._news.wait(min(timeout, threading.TIMEOUT_MAX))
            if not self._exited.is_set():
                self.ended_by = "terminated" if in_time else "timeout"
                self.reason = (
                    "was stopped before it had an answer" if in_time else f"gave no answer within {timeout:g} s"
                )
        finally:
            self._end()

    def _end(self) -> None:
        try:
            if not self._exited.is_set():
                self._signal(signal.SIGTERM)
            if not self._exited.wait(TERM_GRACE):
                _LOGGER.warning("process %d ignores SIGTERM and is killed", self._process.pid)
        finally:
            self._signal(signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(DRAIN)

    def _watch(self) -> None:
        self._process.wait()
        self._exited.set()
        self._news.set()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # nobody of the group is left, or, as macOS puts it, only the dead

    def _feed(self, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                pipe.write(self._request)
        except BrokenPipeError:
            return  # a script may answer without reading its input

    def _collect_stdout(self, pipe: IO[bytes]) -> None:
        with pipe:
            for chunk in read_chunks(pipe.fileno()):
                self.stdout += chunk
                if len(self.stdout) > self._limit:
                    self.overflowed = True
                    self._signal(signal.SIGKILL)
                    return

    def _collect_stderr(self, pipe: IO[bytes]) -> None:
        with pipe:
            declared, hidden = self._masks
            for piece in hidden.pieces(declared.pieces(read_chunks(pipe.fileno()))):
                self.stderr = (self.stderr + piece)[-_STDERR_KEPT:]
                if self._on_stderr is not None:
                    self._on_stderr(piece)


def _ending(returncode: int) -> str:
    if returncode < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was ended by {names.get(-returncode, f'signal {-returncode}')}"
    return f"exited with code {returncode}"


def _judge(stdout: bytes, script: str, mask: Mask) -> dict[str, Any]:
    """Parse what a script wrote as an ActionOutput, or say why it is none."""
    if not stdout.strip():
        return _failure("invalid_output", f"{script} wrote nothing to stdout; write one JSON object")
    try:
        document = decode(stdout)
    except ValueError as error:
        return _failure("invalid_output", f"{script} must write one JSON object and nothing else to stdout: {error}")
    try:
        output = ACTION_OUTPUT.validate_python(document)
    except ValidationError as error:
        return _failure("invalid_output", f"{script} wrote no valid answer: {mask.text(_first_fault(error, 1))}")
    if isinstance(output, ActionSuccess):
        return {"ok": True, "result": mask.value(output.result)}
    return _failure(output.error.code, mask.text(output.error.message), retriable=output.error.retriable)


def _first_fault(error: ValidationError, skipped: int = 0) -> str:
    """Name the first thing that is wrong and where, without its value."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"][skipped:])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def _failure(code: str, message: str, *, retriable: bool = False) -> dict[str, Any]:
    fault = ActionFault(code=code, message=message, retriable=retriable)
    return ActionFailure(ok=False, error=fault).model_dump(mode="json")
