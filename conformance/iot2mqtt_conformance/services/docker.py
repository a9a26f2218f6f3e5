"""Services in containers, by testcontainers: for machines that have Docker and nothing else.

Ryuk, the container that testcontainers cleans up with, is left to testcontainers' own settings.
"""

import asyncio
import os
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from iot2mqtt_conformance.ports import in_use
from iot2mqtt_conformance.services import local
from iot2mqtt_conformance.services.base import START_LIMIT, Broker, PortTakenError, ServiceError

IMAGES: Mapping[str, str] = {
    "mosquitto": "eclipse-mosquitto:2.0.20",
    "kafka": "apache/kafka:4.1.1",
    "timescaledb": "timescale/timescaledb:2.21.4-pg16",
}
"""The pinned image of each service; the variable IOT2MQTT_IMAGE_<SERVICE> names another."""
SOCKET = "unix:///var/run/docker.sock"
FOLDER = "/iot2mqtt"
"""Where the container finds its configuration."""
MQTT = 1883
KEPT_LINES = 50
ANSWERS_EVERY = 0.05
"""Seconds between two questions whether the broker answers: the port is open before the program behind it is."""
CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x0a\x00\x04test"
CONNACK = 0x20


def image(service: str) -> str:
    """Return the image of a service, as pinned or as the environment says."""
    return os.environ.get(f"IOT2MQTT_IMAGE_{service.upper()}") or IMAGES[service]


def find() -> str:
    """Return the version of the Docker engine.

    Raises:
        ServiceError: There is none, or nothing to speak to it with; the message says what to do.
    """
    try:
        import docker
    except ImportError:
        raise ServiceError(
            "services `docker` need testcontainers: run pip install 'iot2mqtt-sdk[conformance]'"
        ) from None
    where = os.environ.get("DOCKER_HOST") or SOCKET
    try:
        _call(where)
        client = docker.from_env()
        try:
            return str(client.version()["Version"])
        finally:
            client.close()
    except (docker.errors.DockerException, OSError) as error:
        raise ServiceError(
            f"services `docker` need a Docker engine, and none answers at {where} ({sentence(error)}): start Docker,"
            " or use --iot2mqtt-services=local or =embedded"
        ) from None


def _call(where: str) -> None:
    """Open and close a connection to the engine's socket: docker-py leaves one behind where nobody answers.

    Raises:
        OSError: Nobody answers.
    """
    if where.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(where.removeprefix("unix://"))


def mosquitto(engine: str) -> Broker:
    """Return a Mosquitto in a container that is not started yet."""
    chosen = image("mosquitto")
    config = local.CONFIG.format(port=MQTT).replace(f"listener {MQTT} 127.0.0.1", f"listener {MQTT}")
    return ContainerBroker(f"{chosen} in Docker {engine}", chosen, config)


class ContainerBroker(Broker):
    """A broker in a container; each start makes a new one, on the same port of this machine."""

    def __init__(self, name: str, image: str, config: str) -> None:
        super().__init__(name, [])
        self._image = image
        self._text = config
        self._container: Any = None
        self._watch: asyncio.Task[None] | None = None
        self._last: list[str] = []

    async def _attempt(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="iot2mqtt-broker-"))
        self._folder.chmod(0o755)
        (self._folder / "broker.conf").write_text(self._text, encoding="utf-8")
        try:
            self._container = await asyncio.to_thread(self._make)
            await asyncio.to_thread(self._container.start)
            self._up = await self._answers()
        except failures() as error:
            await self._fail(sentence(error))
        if not self._up:
            await self._fail(f"it did not answer within {START_LIMIT:.0f} s")
        self._watch = asyncio.create_task(self._watch_end(self._container.get_wrapped_container()))

    def _make(self) -> Any:
        from testcontainers.core.container import DockerContainer

        made = DockerContainer(self._image).with_command(["mosquitto", "-c", f"{FOLDER}/broker.conf"])
        made.with_volume_mapping(str(self._folder), FOLDER, "ro")
        # Not with_bind_ports, which opens the port to the whole network.
        made.ports[f"{MQTT}/tcp"] = cast("Any", (self.host, self.port))
        return made

    async def _fail(self, why: str) -> None:
        """Clean up and raise."""
        taken = "already allocated" in why or "address already in use" in why or (not self._up and in_use(self.port))
        await self.stop()
        told = (
            f"{self.name} could not be started on port {self.port}: {why}; its last lines: {self.said()};"
            " IOT2MQTT_IMAGE_MOSQUITTO names another image"
        )
        raise PortTakenError(told) if taken else ServiceError(told)

    async def _answers(self) -> bool:
        """Whether the broker accepts an MQTT connection in time."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + START_LIMIT
        never = asyncio.Event()
        while loop.time() < limit:
            if await asyncio.to_thread(gone, self._container):
                return False
            if await _accepts(self.host, self.port):
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), ANSWERS_EVERY)
        return False

    async def _watch_end(self, container: Any) -> None:
        """Notice the end of a container that nobody has stopped."""
        with suppress(*failures()):
            await asyncio.to_thread(container.wait, timeout=None)
        self._ended()

    async def stop(self) -> None:
        """Remove the container; a second call does nothing."""
        self._up = False
        if self._container is not None:
            await asyncio.to_thread(self._remove, self._container)
            self._container = None
        if self._watch is not None:
            await self._watch
            self._watch = None
        await super().stop()

    def _remove(self, container: Any) -> None:
        self._last = lines(container)
        # Who cannot be removed has gone already, as its engine has.
        with suppress(*failures()):
            container.stop()

    def last_lines(self) -> list[str]:
        """Return what the container printed last."""
        return self._last if self._container is None else lines(self._container)


def gone(container: Any) -> bool:
    """Whether a container has ended.

    Raises:
        One of failures(): The engine does not tell.
    """
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    return bool(wrapped.status in ("exited", "dead"))


def lines(container: Any) -> list[str]:
    """Return what a container has printed last; nothing where it was never created."""
    with suppress(*failures()):
        said: bytes = container.get_wrapped_container().logs(tail=KEPT_LINES)
        return said.decode("utf-8", "replace").splitlines()
    return []


async def _accepts(host: str, port: int) -> bool:
    """Whether a broker answers CONNECT: an open port alone is Docker's, not the broker's."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(CONNECT)
        answer = await asyncio.wait_for(reader.read(1), 1)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.transport.abort()
    return answer[:1] == bytes([CONNACK])


def failures() -> tuple[type[Exception], ...]:
    """Return what docker-py and testcontainers raise where the engine does not do what it is asked for."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException
    from testcontainers.core.exceptions import ContainerStartException

    return DockerException, RequestException, ContainerStartException, ConnectionError


def sentence(error: Exception) -> str:
    """Return the first line of an error, shortened."""
    told = str(getattr(error, "explanation", None) or error).strip().partition("\n")[0]
    return told if len(told) <= 200 else f"{told[:200]}…"  # noqa: PLR2004 - what fits into a sentence
