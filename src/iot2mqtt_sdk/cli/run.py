"""`iot2mqtt run`: a connector in the foreground, as a container would run it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import click

from iot2mqtt_sdk.cli import _preparing, _simulation
from iot2mqtt_sdk.cli._port import HOST
from iot2mqtt_sdk.cli._signals import open_signals, unheeded

PROGRAMS = ("main.py", "connector.py")
ENDING = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGHUP: signal.SIGTERM,
}
"""Signals that end this process, and what the connector is sent: it need not know of terminals."""
EXAMPLES = """\b
Examples:
  iot2mqtt run my_connector --instance kitchen
  iot2mqtt run my_connector --broker embedded
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--instance", metavar="NAME", help="Serve instances/NAME.json: the same as INSTANCE_NAME=NAME.")
@click.option("--broker", type=click.Choice(["embedded"]), help="Start a broker as well: needs nothing but pip.")
@click.option("--simulate", is_flag=True, help="Start the simulated devices of conformance.toml as well.")
def run(*, folder: Path, instance: str | None, broker: str | None, simulate: bool) -> None:
    """Run the connector in FOLDER: its main.py, or its connector.py, or the command of its conformance.toml.

    What conformance.toml declares as `prepare`, such as a build, is run first.

    FOLDER also holds .env and instances/, unless IOT2MQTT_PATH names another folder. The only instance there need not
    be named.

    --broker embedded is for trying out. The broker listens on 127.0.0.1, on port 1883 or, where that is taken, on
    another one; watch and send find it. It also starts the simulated devices, where the instance is made for them. All
    ends together, with the connector's exit code.
    """
    declared = _simulation.declaration(folder)
    start = _Start.of(folder, declared, instance)
    ports = _simulation.ports_of(folder, declared, start.instance_file) if broker or simulate else None
    if simulate and ports is None:
        raise click.ClickException(
            f"{start.instance_file} is not made for the simulated devices that {_simulation.FILE} declares:"
            " name an instance that is, or leave --simulate out"
        )
    _preparing.prepare(folder, declared)
    if broker is None and ports is None:
        start.replace_this_process()
    with ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        address = stack.enter_context(_embedded_broker()) if broker else {}
        if ports is not None:
            stack.enter_context(_simulation.devices(folder, declared, {**ports, **start.broker_here(address)}))
        code = signals.serve(partial(start.beside, address))
    sys.exit(code)


@contextmanager
def _embedded_broker() -> Iterator[dict[str, str]]:
    """Run the broker, and yield the variables that lead to it."""
    try:
        from iot2mqtt_sdk.cli import _embedded
    except ModuleNotFoundError:
        raise click.ClickException(
            "the embedded broker is not installed: run pip install 'iot2mqtt-sdk[embedded]'"
        ) from None
    with _embedded.broker() as port:
        click.echo(f"broker: {HOST}:{port} (embedded: it forgets everything when it ends)", err=True)
        yield _embedded.address(port)


@dataclass(frozen=True, slots=True)
class _Start:
    """How the connector is started."""

    command: list[str]
    workdir: Path
    environment: dict[str, str]
    instance_file: Path

    @classmethod
    def of(cls, folder: Path, declared: Mapping[str, Any], instance: str | None) -> Self:
        program = next((name for name in PROGRAMS if (folder / name).is_file()), None)
        command = [sys.executable, program] if program else _declared_command(folder, declared)
        workdir = folder if program else folder / str(declared["connector"].get("workdir", "."))
        environment = {"IOT2MQTT_PATH": str(folder.resolve()), **os.environ}
        if instance is not None:
            environment["INSTANCE_NAME"] = instance
        instances, name = _instance(environment)
        environment["INSTANCE_NAME"] = name
        return cls(command, workdir, environment, instances / f"{name}.json")

    def replace_this_process(self) -> None:
        """Let the connector take the place of this process, so that signals and exit code are its own."""
        os.chdir(self.workdir)
        try:
            os.execvpe(self.command[0], self.command, self.environment)  # noqa: S606 - no shell is wanted
        except OSError as error:
            raise _cannot_start(self.command, error) from None

    def broker_here(self, address: Mapping[str, str]) -> dict[str, int]:
        """Return where a simulated application finds the broker, which is on this machine only."""
        from iot2mqtt_sdk.settings import load

        settings = load({**self.environment, **address})
        return {_simulation.BROKER: settings.port} if settings.host in (HOST, "localhost") else {}

    def beside(self, address: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the connector beside this process."""
        try:
            # A group of its own: Ctrl-C in the terminal reaches it once, through this process.
            return subprocess.Popen(
                self.command, cwd=self.workdir, env={**self.environment, **address}, process_group=0
            )
        except OSError as error:
            raise _cannot_start(self.command, error) from None


def _declared_command(folder: Path, declared: Mapping[str, Any]) -> list[str]:
    command = declared.get("connector", {}).get("command")
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise click.ClickException(
            f"{folder} holds no connector: it has neither {' nor '.join(PROGRAMS)},"
            f" nor a {_simulation.FILE} with a command"
        )
    return _simulation.program(command)


def _instance(environment: Mapping[str, str]) -> tuple[Path, str]:
    """Return the folder of instances and the one to serve: the one named, or else the only one."""
    from iot2mqtt_sdk.errors import ConfigurationError
    from iot2mqtt_sdk.settings import load

    try:
        settings = load(environment)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    folder = settings.path / "instances"
    if settings.instance_name is not None:
        return folder, settings.instance_name
    names = sorted(file.stem for file in folder.glob("*.json"))
    if len(names) == 1:
        return folder, names[0]
    found = f"there are {', '.join(names)}" if names else "there is none yet: make one with `iot2mqtt setup`"
    raise click.UsageError(f"name one of the instances in {folder} with --instance: {found}")


def _cannot_start(command: list[str], error: OSError) -> click.ClickException:
    return click.ClickException(f"{command[0]} cannot be started: {error.strerror}; is it installed, and on PATH?")


class _Signals:
    """Hands the signals that end a program to the connector; the second one kills it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = False
        self._asked: int | None = None
        self._arrived = -1

    def __enter__(self) -> Self:
        # That a child has ended is a signal too, so that there is one place to wait for all of them.
        self._arrived = open_signals(dict.fromkeys(ENDING, self._end) | {signal.SIGCHLD: unheeded})
        return self

    def __exit__(self, *_: object) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

    def serve(self, start: Callable[[], subprocess.Popen[bytes]]) -> int:
        """Start the connector, wait for its end, and return what a shell would call its exit code."""
        self._starting = True
        self._process = start()
        if self._asked is not None:
            self._process.send_signal(self._asked)
        while (code := self._process.poll()) is None:
            os.read(self._arrived, 1)
        return code if code >= 0 else 128 - code

    def _end(self, number: int, _frame: object) -> None:
        if not self._starting:
            sys.exit(128 + number)
        again, self._asked = self._asked is not None, ENDING[signal.Signals(number)]
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if again else self._asked)
