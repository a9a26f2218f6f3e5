"""Runs action scripts of any language as the test runner does: bounded in time and output, with its secrets masked."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from pydantic import JsonValue, ValidationError

from iot2mqtt_sdk.actions import Mask
from iot2mqtt_sdk.contract.actions import ACTION_OUTPUT, ActionFailure, ActionFault, ActionSuccess, resolve_tool

__all__ = ["resolve_tool", "run_action"]

_LOGGER: Final = logging.getLogger(__name__)
_TERM_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL (clause I2M-ACT-06)."""
_DRAIN: Final = 1.0
"""Seconds to read what is left in the pipes of a group that is dead; a process that left the group may hold them."""


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
) -> dict[str, Any]:
    """Run an action script once and return its answer (clauses I2M-ACT-01 to I2M-ACT-07).

    A `.py` file runs under this interpreter, anything else by itself, with its shebang. It gets a process group of its
    own, of which nothing survives the call. Its stderr is logged.

    Args:
        script: The script, as `resolve_tool` returns it.
        tool: Name of the tool.
        input: The tool's inputs.
        timeout: Seconds until the script is asked to stop with SIGTERM; 2 s later its whole group is killed.
        environment: Variables beyond those of this process.
        secrets: Names of inputs whose values are masked in the answer and in the log.
        output_limit: Bytes of stdout beyond which the script is killed.
        folder: The script's working directory, the connector's folder; by default the one the script is in.

    Returns:
        An ActionOutput. Failures of the script itself carry the codes `timeout` (retriable), `tool_failed` (it exited
        with another code than 0), `invalid_output` (stdout is no ActionOutput, or too long) and `executor_error` (it
        could not be started).

    Raises:
        ValueError: The input is no JSON, because it holds NaN for instance.
    """
    mask = Mask(input.get(name) for name in secrets)
    command = [sys.executable, str(script)] if script.suffix == ".py" else [str(script)]
    request = json.dumps({"tool": tool, "input": dict(input)}, allow_nan=False).encode()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder or script.parent,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return _failure("executor_error", f"{script.name} cannot be started: {reason}; is it an executable script?")
    run = _Run(process, request, output_limit)
    timed_out = run.finish(timeout)
    complaint = mask.text(run.stderr.decode("utf-8", "replace")).strip()
    if complaint:
        _LOGGER.info("%s wrote to stderr:\n%s", tool, complaint)
    if run.overflowed:
        return _failure("invalid_output", f"{script.name} wrote more than {output_limit} bytes to stdout")
    if timed_out:
        return _failure("timeout", f"{script.name} gave no answer within {timeout:g} s", retriable=True)
    if process.returncode != 0:
        last_words = complaint.rpartition("\n")[2] or "it wrote nothing to stderr"
        return _failure("tool_failed", f"{script.name} {_ending(process.returncode)}: {last_words}")
    return _judge(run.stdout, script.name, mask)


class _Run:
    """A running script: feeds its stdin, collects its stdout and stderr, and ends its whole process group."""

    def __init__(self, process: subprocess.Popen[bytes], request: bytes, output_limit: int) -> None:
        self.stdout = b""
        self.stderr = b""
        self.overflowed = False
        self._process = process
        self._limit = output_limit
        self._request = request
        jobs = (
            (self._feed, process.stdin),
            (self._collect_stdout, process.stdout),
            (self._collect_stderr, process.stderr),
        )
        self._threads = [threading.Thread(target=job, args=(pipe,), daemon=True) for job, pipe in jobs]
        for thread in self._threads:
            thread.start()

    def finish(self, timeout: float) -> bool:
        """Wait for the end, or bring it about after `timeout` seconds; tell whether that was needed."""
        timed_out = False
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            self._signal(signal.SIGTERM)
            self._wait_for_grace()
        self._signal(signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(_DRAIN)
        return timed_out

    def _wait_for_grace(self) -> None:
        try:
            self._process.wait(_TERM_GRACE)
        except subprocess.TimeoutExpired:
            _LOGGER.warning("process %d ignores SIGTERM and is killed", self._process.pid)

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
            while chunk := os.read(pipe.fileno(), 65536):
                self.stdout += chunk
                if len(self.stdout) > self._limit:
                    self.overflowed = True
                    self._signal(signal.SIGKILL)
                    return

    def _collect_stderr(self, pipe: IO[bytes]) -> None:
        """Keep the last words, as many as the limit for stdout allows."""
        with pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                self.stderr = (self.stderr + chunk)[-self._limit :]


def _ending(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with code {returncode}"


def _judge(stdout: bytes, script: str, mask: Mask) -> dict[str, Any]:
    """Parse what a script wrote as an ActionOutput, or say why it is none."""
    if not stdout.strip():
        return _failure("invalid_output", f"{script} wrote nothing to stdout; write one JSON object")
    try:
        document = json.loads(stdout.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return _failure("invalid_output", f"{script} must write one JSON object and nothing else to stdout: {error}")
    try:
        output = ACTION_OUTPUT.validate_python(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"][1:]) or "answer"
        return _failure("invalid_output", f"{script} wrote no valid answer: {where}: {mask.text(fault['msg'])}")
    if isinstance(output, ActionSuccess):
        return {"ok": True, "result": mask.value(output.result)}
    return _failure(output.error.code, mask.text(output.error.message), retriable=output.error.retriable)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _failure(code: str, message: str, *, retriable: bool = False) -> dict[str, Any]:
    fault = ActionFault(code=code, message=message, retriable=retriable)
    return ActionFailure(ok=False, error=fault).model_dump(mode="json")
