"""The connector as an image: what it holds, whether it turns healthy, what it writes, and `docker stop`."""

import asyncio
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, cast

from iot2mqtt_conformance.launch_image import MOUNTED, attempt, docker
from iot2mqtt_conformance.names import EXIT_LIMIT
from iot2mqtt_conformance.report.redact import names_a_secret
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

RUN = "image"
HEALTHY_WITHIN = 15.0
"""Seconds from `online` until the health check says healthy."""
LOOK_EVERY = 0.2
"""Seconds between two looks at the health: nothing tells of it."""
KEY_SIZE = 65_536
"""Bytes that a private key has at most."""

_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\S+)")
_SECRET_FILES = {".env", ".netrc", ".pgpass", ".git-credentials", "id_rsa", "id_ecdsa", "id_ed25519"}
_KEY_FILES = {".key", ".pem"}
_OF_THE_SYSTEM = ("etc/ssl/", "usr/", "proc/", "sys/")


async def play(stage: Stage) -> None:
    """Look into the image, run it with its health check, and stop it as Docker does."""
    if not stage.image:
        return
    looking = asyncio.create_task(_look_into(stage))
    try:
        async with Rig(stage, RUN, setting=Setting(healthy=True)) as rig:
            if await rig.online():
                await rig.states()
                await _health(rig)
                await _written(rig)
            await _stop(rig)
    finally:
        await looking


async def _look_into(stage: Stage) -> None:
    """Write down what the image says of itself, and what looks like a secret in it."""
    (found,) = json.loads(await docker("image", "inspect", stage.image))
    config = found["Config"]
    history = await docker("history", "--no-trunc", "--format={{.CreatedBy}}", stage.image)
    test = (config.get("Healthcheck") or {}).get("Test") or []
    stage.recorder.add(
        RUN,
        "image",
        user=config.get("User") or "",
        healthcheck=bool(test) and test[0] != "NONE",
        assigned=sorted({*_assigned(config.get("Env") or []), *_assigned(history.splitlines())}),
        files=await asyncio.to_thread(_secret_files, stage.image),
    )


def _assigned(lines: list[str]) -> Iterator[str]:
    """Yield the names of secrets that lines give a value to."""
    for line in lines:
        for name, value in _ASSIGNED.findall(line):
            if names_a_secret(name) and value.strip("\"'"):
                yield name


def _secret_files(image: str) -> list[str]:
    """Return the files of all layers that look like secrets, those that a later layer removes too."""
    program = shutil.which("docker") or "docker"
    with subprocess.Popen([program, "save", image], stdout=subprocess.PIPE) as saving:
        stream = cast("IO[bytes]", saving.stdout)
        with tarfile.open(fileobj=stream, mode="r|") as whole:
            return sorted({path for member in whole for path in _of_layer(whole, member)})


def _of_layer(whole: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[str]:
    content = whole.extractfile(member) if member.isfile() else None
    if content is None:
        return
    try:
        with tarfile.open(fileobj=content, mode="r|*") as layer:
            for entry in layer:
                if entry.isfile() and entry.size and _is_secret(layer, entry):
                    yield f"/{entry.name}"
    except tarfile.TarError:
        return  # Not a layer, but what describes the image.


def _is_secret(layer: tarfile.TarFile, entry: tarfile.TarInfo) -> bool:
    path = PurePosixPath(entry.name)
    if str(path).startswith(_OF_THE_SYSTEM):
        return False
    if path.name in _SECRET_FILES or path.match("run/secrets/*"):
        return True
    content = layer.extractfile(entry) if path.suffix in _KEY_FILES and entry.size < KEY_SIZE else None
    return content is not None and b"PRIVATE KEY-----" in content.read()


async def _health(rig: Rig) -> None:
    """Wait until the container is healthy, or has no health."""
    loop = asyncio.get_running_loop()
    began, limit = loop.time(), loop.time() + rig.stage.deadline(HEALTHY_WITHIN)
    never = asyncio.Event()
    while True:
        health = await _inspected(rig, "State.Health")
        status = health.get("Status", "") if health else ""
        if status in ("", "none", "healthy") or loop.time() > limit:
            break
        try:
            await asyncio.wait_for(never.wait(), LOOK_EVERY)
        except TimeoutError:
            continue
    said = (health.get("Log") or [{}])[-1].get("Output", "") if health else ""
    rig.stage.recorder.add(RUN, "image.health", status=status, said=said[-500:], seconds=round(loop.time() - began, 3))


async def _inspected(rig: Rig, what: str) -> Any:
    said = await docker("inspect", "--format={{json ." + what + "}}", rig.container)
    return json.loads(said)


async def _written(rig: Rig) -> None:
    """Write down what is mounted, and what the connector has written beside it."""
    mounts = await _inspected(rig, "Mounts")
    _, changes, _ = await attempt("diff", rig.container)
    rig.stage.recorder.add(
        RUN,
        "image.files",
        writable=sorted(m["Destination"] for m in mounts if m["Destination"] in MOUNTED.values() and m["RW"]),
        mounted=sorted(m["Destination"] for m in mounts if m["Destination"] in MOUNTED.values()),
        changed=[line[2:] for line in changes.splitlines() if line[:2] in ("A ", "C ")],
    )


async def _stop(rig: Rig) -> None:
    """`docker stop`: SIGTERM, and SIGKILL ten seconds later."""
    loop = asyncio.get_running_loop()
    rig.note("docker_stop")
    began = loop.time()
    await attempt("stop", f"--time={EXIT_LIMIT:.0f}", rig.container)
    took = loop.time() - began
    state = await _inspected(rig, "State")
    running = state["Status"] not in ("exited", "dead")
    rig.stage.recorder.add(
        RUN, "image.stopped", code=None if running else state["ExitCode"], seconds=round(took, 3), error=state["Error"]
    )
