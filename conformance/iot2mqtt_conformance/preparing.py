"""Prepares a connector that must be built, or whose packages must be installed, before it can be started."""

import os
import shlex
import signal
import subprocess
from contextlib import suppress

from iot2mqtt_conformance.declaration import Declaration, DeclarationError, load
from iot2mqtt_conformance.launch import connector_environment

PREPARED_WITHIN = 600.0
"""Seconds that preparing may take: compilers and package registries can be slow."""
SHOWN_LINES = 10


class PrepareError(Exception):
    """The connector could not be prepared; the message says what was run, where, and what it said at last."""


def prepare(declaration: Declaration) -> Declaration:
    """Run the declared `prepare` in the connector's folder; without one nothing happens.

    Returns:
        The declaration, which may name programs and scripts that are there only now.

    Raises:
        PrepareError: It cannot be started, fails, takes too long, or does not make a program that is declared.
    """
    if not declaration.prepare:
        return declaration
    told = f"[connector] prepare: `{shlex.join(declaration.prepare)}` in {declaration.workdir}"
    try:
        process = subprocess.Popen(
            declaration.prepare,
            cwd=declaration.workdir,
            env=connector_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise PrepareError(f"{told} cannot be started: {error.strerror}") from None
    with process:
        output = _output(process, told)
    if process.returncode:
        lines = "\n  ".join(output.splitlines()[-SHOWN_LINES:]) or "nothing"
        raise PrepareError(f"{told} ended with code {process.returncode}; it printed at last:\n  {lines}")
    try:
        return load(declaration.path, prepared=True)
    except DeclarationError as error:
        raise PrepareError(f"{told} has ended well, and still: {error}") from None


def _output(process: subprocess.Popen[str], told: str) -> str:
    """Return what a process prints until its end; nothing of it is left where it is not waited for."""
    try:
        return process.communicate(timeout=PREPARED_WITHIN)[0]
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, subprocess.TimeoutExpired):
            raise PrepareError(f"{told} has not ended within {PREPARED_WITHIN:.0f} s") from None
        raise
