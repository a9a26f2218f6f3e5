"""The command line, run as its user runs it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
REPOSITORY = Path(__file__).parents[3]
SECONDS = 30


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what the command line reads, with these variables on top."""
    ours = ("MQTT_", "IOT2MQTT_", "INSTANCE_NAME", "PYTEST_", "XDG_", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # Brokers that another test has started are no concern of this one.
    return {**kept, "XDG_RUNTIME_DIR": "/nonexistent", "PYTHONUNBUFFERED": "1", **variables}


def call(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [IOT2MQTT, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def at(port: int) -> dict[str, str]:
    """Return the variables that lead to a broker."""
    return {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(port)}


class Running:
    """A command that goes on, and whose lines can be waited for."""

    def __init__(self, *arguments: str, cwd: Path | None = None, variables: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment(**(variables or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # What the command has started, and would leave behind if it were killed, ends with it.
            self.end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.end(signal.SIGKILL)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match of a pattern in a line."""

        def found() -> re.Match[str] | None:
            return next((hit for line in self.lines if (hit := re.search(pattern, line))), None)

        with self._news:
            assert self._news.wait_for(found, SECONDS), f"{pattern!r} did not appear in:\n{self.output}"
        hit = found()
        assert hit is not None
        return hit

    def end(self, number: int) -> int:
        """Send a signal, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "something that the command has started goes on writing"
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def mosquitto(folder: Path, port: int, *lines: str) -> Iterator[Running]:
    """Run Mosquitto on a port; without further lines of configuration, for anybody."""
    file = folder / f"mosquitto{port}.conf"
    text = "\n".join([f"listener {port} 127.0.0.1", *(lines or ["allow_anonymous true"])])
    file.write_text(f"{text}\n", encoding="utf-8")
    with Running("mosquitto", "-c", str(file)) as running:
        running.wait_for(r"mosquitto version .* running")
        yield running
