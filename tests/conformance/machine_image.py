"""Container images made of programs of this machine, so that tests need no registry."""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import paho.mqtt

USERS = "root:x:0:0::/:/bin/sh\nmosquitto:x:1883:1883::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
LEFT_OUT = {"test", "tests", "__pycache__", "site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3"}


def engine_fault() -> str | None:
    """Return why containers cannot be tested here, or None where they can."""
    if shutil.which("docker") is None:
        return "NOT TESTED: docker is not installed"
    done = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"NOT TESTED: {done.stderr.strip().splitlines()[-1]}"


def libraries(programs: Iterable[str]) -> set[str]:
    """Return the files that the linker loads with programs."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", said))


def broker_files() -> set[str]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    assert program is not None, "mosquitto is not installed"
    return {program, *libraries([program])}


def python_files() -> Iterator[str]:
    """Yield the interpreter, its library, paho-mqtt, and a shell."""
    library = Path(sysconfig.get_paths()["stdlib"])
    interpreter = str(Path(sys.executable).resolve())
    programs = [interpreter, "/bin/sh", "/bin/rm", *map(str, library.glob("lib-dynload/*.so"))]
    yield from programs
    yield from libraries(programs)
    # The C library loads it by itself where a thread ends.
    yield from (str(path) for folder in ("/lib", "/usr/lib") for path in Path(folder).glob("*/libgcc_s.so.1"))
    for root in (library, Path(paho.mqtt.__path__[0])):
        for path in root.rglob("*"):
            parts = path.relative_to(root).parts
            if path.is_file() and not LEFT_OUT & set(parts) and not parts[0].startswith("config-"):
                yield str(path)


def python_variables() -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin",
        "PYTHONPATH": str(Path(paho.mqtt.__path__[0]).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def make(name: str, files: Iterable[str], variables: dict[str, str]) -> str:
    """Make an image of files of this machine, each where it is here, and return its tag; one that is there is kept."""
    names = sorted(set(files))
    tag = f"iot2mqtt-test/{name}:{hashlib.sha256(repr((names, variables)).encode()).hexdigest()[:12]}"
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode == 0:
        return tag
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        _folder(archive, "tmp", 0o1777)
        _text(archive, "etc/passwd", USERS)
        for path in names:
            # Folders that are not named are made for everybody to read, whatever they are here.
            archive.add(Path(path).resolve(), path.lstrip("/"), recursive=False)
    changes = [f"--change=ENV {key}={value}" for key, value in variables.items()]
    subprocess.run(["docker", "import", *changes, "-", tag], input=packed.getvalue(), check=True, capture_output=True)
    return tag


def _folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o644
    archive.addfile(entry, io.BytesIO(text.encode()))
