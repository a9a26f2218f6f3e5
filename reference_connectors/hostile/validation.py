"""What the action script `validate` does: is there a bridge with lights at an address?"""

import json
import os
import socket
import sys
from typing import Any

MEMORY = "memory"
"""The host that needs no network: the lights that exist in memory only."""
PORT = 7070
WAIT = 0.5
"""Seconds that the script waits for a bridge, below what setup.json gives it."""
LIGHTS = ("light1", "light2")


class FaultError(Exception):
    """What is wrong, as the answer tells it."""

    def __init__(self, code: str, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "retriable": retriable}


class Validation:
    """One run of the script; its methods are small, so that each can be broken by itself."""

    def run(self) -> int:
        """Read stdin, answer, and return the exit code."""
        answer = self.answer(self.read())
        self.tell(answer)
        return self.code(answer)

    def read(self) -> bytes:
        """Return what stdin holds."""
        return sys.stdin.buffer.read()

    def answer(self, raw: bytes) -> dict[str, Any]:
        """Return what is answered."""
        try:
            return self.success(self.validated(self.input(raw)))
        except FaultError as fault:
            return self.failure(fault.error)

    def success(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the answer that tells a result."""
        return {"ok": True, "result": result}

    def failure(self, error: dict[str, Any]) -> dict[str, Any]:
        """Return the answer that tells an error."""
        return {"ok": False, "error": error}

    def tell(self, answer: dict[str, Any]) -> None:
        """Write the answer."""
        print(json.dumps(answer))

    def code(self, _answer: dict[str, Any]) -> int:
        """Return the exit code."""
        return os.EX_OK

    # ------------------------------------------------------------------ input
    def input(self, raw: bytes) -> dict[str, Any]:
        """Return the inputs of an envelope."""
        document = self.document(raw)
        if not isinstance(document, dict) or not isinstance(document.get("tool"), str):
            raise FaultError("invalid_envelope", "stdin must hold an object with `tool` and `input`")
        found = document.get("input")
        if not isinstance(found, dict):
            raise FaultError("invalid_envelope", "`input` must be an object")
        return found

    def document(self, raw: bytes) -> Any:
        """Parse JSON."""
        if not raw.strip():
            raise FaultError("empty_input", "stdin is empty: write one JSON object to it")
        try:
            return json.loads(raw.decode())
        except (ValueError, RecursionError) as error:
            raise FaultError("invalid_json", f"stdin is no JSON: {error}") from None

    def text(self, found: dict[str, Any], name: str) -> str:
        """Return an input that is a text."""
        value = found.get(name)
        if value is None:
            raise FaultError("missing_input", f"{name} is required")
        if not isinstance(value, str) or not value:
            raise FaultError("invalid_input", self.complaint(name, value))
        return value

    def complaint(self, name: str, _value: Any) -> str:
        """Say that an input is wrong."""
        return f"{name} must be a text that is not empty"

    def port(self, found: dict[str, Any]) -> int:
        """Return the port."""
        port = found.get("port", PORT)
        if isinstance(port, bool) or not isinstance(port, int):
            raise FaultError("invalid_input", "port must be a number")
        return port

    # ------------------------------------------------------------------ the bridge
    def validated(self, found: dict[str, Any]) -> dict[str, Any]:
        """Look for the bridge and return its lights."""
        host, password = self.text(found, "host"), self.text(found, "password")
        if host != MEMORY:
            self.ask(host, self.port(found), password)
        return self.result()

    def result(self) -> dict[str, Any]:
        """Return what a bridge has."""
        return {"devices": [{"address": name, "model": "light in memory"} for name in LIGHTS]}

    def ask(self, host: str, port: int, password: str) -> None:
        """Ask a bridge whether it takes a password."""
        try:
            with socket.create_connection((host, port), self.wait()) as bridge:
                bridge.sendall(f"hello {password}\n".encode())
                answer = bridge.recv(100)
        except OSError as error:
            raise self.unreachable(host, error) from None
        if answer != b"welcome\n":
            raise FaultError("refused", f"the bridge at {host} does not take this password")

    def wait(self) -> float | None:
        """Return the seconds to wait for a bridge."""
        return WAIT

    def unreachable(self, host: str, error: OSError) -> Exception:
        """Return the error of a bridge that does not answer."""
        return FaultError("unreachable", f"no bridge answers at {host}: {error}", retriable=True)
