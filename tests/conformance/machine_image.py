"""Container images made of programs of this machine, so that tests need no registry."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import paho.mqtt

USERS = "root:x:0:0::/:/bin/sh\nmosquitto:x:1883:1883::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
LEFT_OUT = {"test", "tests", "testdata", "site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3"}


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an image is made of.

    Attributes:
        files: Files of this machine, each where it is here.
        placed: Files of this machine by the place where they are in the image.
        scripts: Texts of shell scripts by their places.
        variables: The environment.
        instructions: What else is said of it, as in a Dockerfile.
    """

    files: frozenset[str]
    placed: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    instructions: tuple[str, ...] = ()


def engine_fault() -> str | None:
    """Return why containers cannot be tested here, or None where they can."""
    if shutil.which("docker") is None:
        return "NOT TESTED: docker is not installed"
    done = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"NOT TESTED: {done.stderr.strip().splitlines()[-1]}"


def libraries(programs: Iterable[str]) -> set[str]:
    """Return the files that the linker loads with programs."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    # Programs may name their own libraries by way of their folder's parent.
    return {os.path.normpath(path) for path in re.findall(r"(/\S+) \(0x", said)}


def tree(*folders: Path) -> Iterator[str]:
    """Yield the files of folders, without tests."""
    for root in folders:
        for folder, names, files in os.walk(root, followlinks=True):
            names[:] = [name for name in names if name not in LEFT_OUT]
            # Bytecode is named otherwise while it is written.
            yield from (f"{folder}/{name}" for name in files if ".pyc." not in name)


def broker() -> Content:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    assert program is not None, "mosquitto is not installed"
    return Content(files=frozenset({program, *libraries([program])}))


def interpreter() -> Path:
    return Path(sys.executable).resolve()


def python_files() -> Iterator[str]:
    """Yield the interpreter, its library, and a shell."""
    library = Path(sysconfig.get_paths()["stdlib"])
    programs = [str(interpreter()), "/bin/sh", "/bin/rm", *map(str, library.glob("lib-dynload/*.so"))]
    yield from programs
    yield from libraries(programs)
    # The C library loads it by itself where a thread ends.
    yield from (str(path) for folder in ("/lib", "/usr/lib") for path in Path(folder).glob("*/libgcc_s.so.1"))
    yield from (path for path in tree(library) if "/config-" not in path)


def python() -> Content:
    """Return Python with paho-mqtt."""
    paho_folder = Path(paho.mqtt.__path__[0])
    return Content(
        files=frozenset({*python_files(), *tree(paho_folder)}),
        variables={
            "PATH": f"{interpreter().parent}:/usr/bin:/bin",
            "PYTHONPATH": str(paho_folder.parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


def make(name: str, content: Content) -> str:
    """Make an image and return its tag; one that is there is kept."""
    told = repr([sorted(value) if isinstance(value, frozenset) else value for value in vars(content).values()])
    tag = f"iot2mqtt-test/{name}:{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode == 0:
        return tag
    changes = [f"--change=ENV {key}={value}" for key, value in content.variables.items()]
    changes += [f"--change={instruction}" for instruction in content.instructions]
    command = ["docker", "import", *changes, "-", tag]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as importing,
        cast("IO[bytes]", importing.stdin) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        _pack(archive, content)
    assert importing.returncode == 0, f"docker import ended with code {importing.returncode}"
    return tag


def _pack(archive: tarfile.TarFile, content: Content) -> None:
    _entry(archive, "tmp", mode=0o1777)
    _entry(archive, "etc/passwd", USERS.encode(), mode=0o644)
    for place, text in content.scripts.items():
        _entry(archive, place.lstrip("/"), f"#!/bin/sh\n{text}\n".encode(), mode=0o755)
    places = {**{path: path for path in content.files}, **content.placed}
    for place in sorted(places):
        # Folders that are not named are made for everybody to read, whatever they are here.
        archive.add(Path(places[place]).resolve(), place.lstrip("/"), recursive=False)


def _entry(archive: tarfile.TarFile, name: str, content: bytes | None = None, *, mode: int) -> None:
    """Add a file, or without content a folder."""
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    if content is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
        return
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
