"""Starts a connector as the image that it is shipped as, with the mounts of the contract (I2M-IMG-01).

`docker run` stays in the foreground and stands for the connector: it passes on output, SIGTERM and SIGINT, and the exit
code. The container shares this machine's network, as connectors do that look for devices; so MQTT_HOST is the same for
a program and for an image.
"""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.launch import GRACE, LaunchError, Process, connector_environment

APP = "/app"
MOUNTED = {"instances": f"{APP}/instances", "shared": f"{APP}/shared", ".env": f"{APP}/.env", "secrets": "/run/secrets"}
"""Where the contract has the connector's folders and files, all read-only."""
OF_A_PROGRAM = {"IOT2MQTT_PATH", "IOT2MQTT_SECRETS_DIR", "PYTHONUNBUFFERED"}
"""Variables that lead a program to its files; an image finds them where the contract has them."""
AT_ONCE = 2
"""Containers that start at the same time."""
SIGN_OF_LIFE = 5.0
"""Seconds for which a container that says nothing keeps others from starting."""
HEALTH_EVERY = 1
"""Seconds between two health checks of a container that is watched for them."""
BUILD_WITHIN = 900.0
"""Seconds that building or fetching an image may take."""
ANSWER_WITHIN = 60.0
"""Seconds that the engine may take to answer a question."""


async def docker(*words: str, seconds: float = ANSWER_WITHIN) -> str:
    """Return what a docker command prints.

    Raises:
        LaunchError: There is no such program, or it ended with a fault; the message holds its last line.
    """
    code, said, complaint = await attempt(*words, seconds=seconds)
    if code:
        last = complaint.strip().rpartition("\n")[2] or "it printed nothing"
        raise LaunchError(f"docker {' '.join(words[:2])} ended with code {code}: {last}")
    return said


async def attempt(*words: str, seconds: float = ANSWER_WITHIN) -> tuple[int, str, str]:
    """Return a docker command's exit code, what it prints, and what it complains about.

    Raises:
        LaunchError: There is no such program, or it did not end in time.
    """
    if shutil.which("docker") is None:
        raise LaunchError("a connector that is declared as an image needs the program docker: install Docker")
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            ["docker", *words],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise LaunchError(f"docker {' '.join(words[:2])} did not end within {seconds:.0f} s") from None
    return done.returncode, done.stdout, done.stderr


async def prepare(declaration: Declaration) -> str:
    """Return the image to launch, built or fetched where it is not there.

    Raises:
        LaunchError: It cannot be had; the message says why.
    """
    if declaration.build is not None:
        return (await docker("build", "--force-rm", "--quiet", str(declaration.build), seconds=BUILD_WITHIN)).strip()
    code, _, _ = await attempt("image", "inspect", declaration.image)
    if code:
        await docker("pull", "--quiet", declaration.image, seconds=BUILD_WITHIN)
    return declaration.image


class Container(Process):
    """A container in the place of a program.

    Args:
        image: The image.
        folder: The folder of the launch, with what is mounted.
        env: The contract's variables.
        label: The launch.
        healthy: Whether the image's health check runs.
        on_line: Told of each line that the connector prints.
        on_exit: Told of its exit code.
    """

    def __init__(
        self,
        image: str,
        *,
        folder: Path,
        env: Mapping[str, str],
        label: str,
        healthy: bool,
        on_line: Callable[[str, str], object],
        on_exit: Callable[[int], object],
    ) -> None:
        self.name = f"iot2mqtt-{uuid4().hex[:12]}"
        given = {name: value for name, value in env.items() if name not in OF_A_PROGRAM}
        health = [f"--health-interval={HEALTH_EVERY}s", "--health-start-period=0s"] if healthy else ["--no-healthcheck"]
        command = ["docker", "run", "--name", self.name, "--network=host", *health, *_mounts(folder, given)]
        for name in sorted(given):
            # By name only: values are nobody's business who lists processes.
            command += ["--env", name]
        super().__init__(
            [*command, image],
            cwd=folder,
            env=connector_environment(given),
            label=label,
            on_line=on_line,
            on_exit=on_exit,
        )
        self._named = _named_folders(given)
        self._inside = 0
        self._errands: set[asyncio.Future[tuple[int, str, str]]] = set()
        self._removed = False

    async def start(self) -> None:
        """Start the container.

        Raises:
            LaunchError: There is no program to do that with.
        """
        for folder in self._named:
            open_up(folder)
        await super().start()

    async def look_up(self) -> None:
        """Find out which process of this machine the container's first one is."""
        _, said, _ = await attempt("inspect", "--format={{.State.Pid}}", self.name)
        self._inside = int(said) if said.strip().isdecimal() else 0

    @property
    def pid(self) -> int | None:
        """The container's first process as this machine numbers it; until it is looked up, that of `docker run`."""
        return self._inside or super().pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the container's first process; `docker run` passes on all but SIGKILL."""
        if number is not signal.SIGKILL or self._removed or self.exited.is_set():
            super().signal(number)
            return
        errand = asyncio.ensure_future(attempt("kill", self.name))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def close(self) -> None:
        """End the container and remove it."""
        if super().pid is None:
            return
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), GRACE)
        await asyncio.gather(*self._errands)
        await attempt("rm", "--force", "--volumes", self.name)
        self._removed = True
        await super().close()


def _mounts(folder: Path, env: Mapping[str, str]) -> list[str]:
    """Return the options that mount what the contract names, and the files that variables name, read-only."""
    places = {str(folder / name): inside for name, inside in MOUNTED.items()}
    places |= {str(named): str(named) for named in _named_folders(env)}
    return [f"--volume={outside}:{inside}:ro" for outside, inside in places.items()]


def _named_folders(env: Mapping[str, str]) -> set[Path]:
    """Return the suite's own folders that hold files which variables name, such as certificates."""
    folders = {Path(value).parent for value in env.values() if value.startswith(tempfile.gettempdir())}
    return {folder for folder in folders if folder.name.startswith("iot2mqtt-")}


def open_up(folder: Path) -> None:
    """Let everybody read what is mounted: a container has users of its own."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
