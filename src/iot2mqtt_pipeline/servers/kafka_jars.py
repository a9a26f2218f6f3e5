"""Where the program files of a local Kafka are; Maven brings them once for every user of the machine's cache."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from iot2mqtt_sdk.errors import ConfigurationError

POM = Path(__file__).with_name("kafka_pom.xml")
"""What Maven is to bring."""
PATIENCE = 600.0
"""Seconds that Maven may take for 45 MB."""
_LINES = 15


def jars() -> Path:
    """Return the folder of Kafka's jars: IOT2MQTT_KAFKA_HOME or its `libs`, else the cache, which is filled if needed.

    Raises:
        ConfigurationError: The folder has no Kafka in it, Maven is missing, or it could not bring the jars.
    """
    named = os.environ.get("IOT2MQTT_KAFKA_HOME")
    if named:
        return _named(Path(named))
    folder = _cached()
    cache = folder.parent
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "kafka.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _bring(folder)
    return folder


def at_hand() -> bool:
    """Whether a local Kafka can start without bringing anything."""
    named = os.environ.get("IOT2MQTT_KAFKA_HOME")
    return shutil.which("java") is not None and (bool(named) or _cached().is_dir())


def java() -> str:
    """Return the path of Java.

    Raises:
        ConfigurationError: There is none.
    """
    return _program("java", "install Java 17 or later")


def _cached() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "iot2mqtt" / f"kafka-{_version()}"


def _named(home: Path) -> Path:
    for folder in (home / "libs", home):
        if any(folder.glob("kafka-clients-*.jar")):
            return folder
    raise ConfigurationError(
        f"IOT2MQTT_KAFKA_HOME={home} has no Kafka in it: set it to an unpacked Kafka 4, or unset it"
    )


def _version() -> str:
    found = re.search(r"<kafka\.version>([^<]+)<", POM.read_text(encoding="utf-8"))
    if found is None:
        raise ConfigurationError(f"{POM.name} names no kafka.version: mend the installation")
    return found.group(1)


def _bring(folder: Path) -> None:
    """Fill a folder beside, and put it in place as a whole, so that an interrupted Maven leaves no half of it."""
    maven = _program("mvn", "install Maven, or set IOT2MQTT_KAFKA_HOME to an unpacked Kafka 4")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={part}", "-DincludeScope=runtime"]
    done = subprocess.run(
        [maven, "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode != 0 or not any(part.glob("kafka-clients-*.jar")):
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LINES:])
        raise ConfigurationError(f"Maven could not bring Kafka's jars: check its access to a Maven repository\n{last}")
    part.rename(folder)


def _program(name: str, advice: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ConfigurationError(f"a local Kafka needs {name}, which is not on PATH: {advice}")
    return path
