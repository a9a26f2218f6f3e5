"""Writes an instance and its secrets, both or neither."""

import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from iot2mqtt_sdk.setup_flow.draft import Draft
from iot2mqtt_sdk.setup_flow.errors import SetupError


@dataclass(frozen=True, slots=True)
class Home:
    """Where instances are kept.

    Attributes:
        instances: The folder of the instance files: what the connector sees as ${IOT2MQTT_PATH}/instances.
        secrets: The folder of the secrets files: what it sees as ${IOT2MQTT_SECRETS_DIR}.
    """

    instances: Path
    secrets: Path

    @classmethod
    def beside(cls, folder: Path) -> Self:
        """Return the home that `iot2mqtt run` reads: in the connector's own folder."""
        return cls(folder / "instances", folder / "secrets")

    @classmethod
    def of_host(cls, output: Path, connector: str) -> Self:
        """Return the home on a host of several connectors, which mounts instances/<connector> as /app/instances."""
        return cls(output / "instances" / connector, output / "secrets")

    def instance_file(self, draft: Draft) -> Path:
        """Return the file of an instance (clause I2M-ENV-09)."""
        return self.instances / f"{draft.instance_id}.json"

    def secrets_file(self, draft: Draft) -> Path:
        """Return the file of an instance's secrets (clause I2M-ENV-14)."""
        return self.secrets / f"{draft.instance_id}_creds"

    def taken(self, draft: Draft) -> Path | None:
        """Return a file that writing the draft would replace, None where there is none."""
        files = [self.instance_file(draft), self.secrets_file(draft)]
        return next((file for file in files if file.exists()), None)


def write(draft: Draft, home: Home) -> list[Path]:
    """Write an instance, in place of one of the same id.

    The secrets file is readable by its owner only. An instance without secrets leaves none of an older one behind,
    because readers would merge them.

    Returns:
        The files.

    Raises:
        SetupError: They cannot be written.
    """
    text = json.dumps(draft.document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    lines = "".join(f"{key}={value}\n" for key, value in draft.secrets.items())
    instance_file, secrets_file = home.instance_file(draft), home.secrets_file(draft)
    made: list[Path] = []
    with _undisturbed():
        try:
            made.append(_beside(instance_file, text, 0o666, 0o777))
            if lines:
                made.append(_beside(secrets_file, lines, 0o600, 0o700))
                made[1].replace(secrets_file)
            else:
                secrets_file.unlink(missing_ok=True)
            made[0].replace(instance_file)
        except OSError as error:
            raise SetupError(f"{error.filename} cannot be written: {error.strerror}; choose another --output") from None
        finally:
            for file in made:
                file.unlink(missing_ok=True)
    return [instance_file, secrets_file] if lines else [instance_file]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let neither Ctrl-C nor SIGTERM come between the two files."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _beside(file: Path, text: str, mode: int, folder_mode: int) -> Path:
    """Write a text to a new file beside another one, so that one rename puts it in its place."""
    file.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name[:100]}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        new.unlink()
        raise
    return new
