"""Services in containers and connectors as images, with a real engine; where there is none, the reasons say so."""

import asyncio
import fcntl
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration, DeclarationError, load
from iot2mqtt_conformance.judging import Played, judge, judged, play
from iot2mqtt_conformance.ports import in_use
from iot2mqtt_conformance.preparing import prepare
from iot2mqtt_conformance.services import local
from iot2mqtt_conformance.services.base import ServiceError
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.services.docker_warehouse import ContainerWarehouse
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance import base_images, machine_image, service_images
from tests.conformance.raw_client import Client
from tests.conformance.recorded import changed, rebuilt
from tests.conformance.suite_runs import REFERENCES, connector, copy_of, run_suite

FAULT = machine_image.engine_fault()
ENGINE = pytest.mark.skipif(FAULT is not None, reason=FAULT or "")
IMAGE_CLAUSES = {clause for clause in JUDGES if clause.startswith("I2M-IMG")}


def leftovers() -> list[str]:
    said = subprocess.run(
        ["docker", "ps", "--all", "--format={{.Names}} {{.Image}}"], capture_output=True, text=True, check=True
    )
    return [line for line in said.stdout.splitlines() if "iot2mqtt" in line]


def addresses(port: int) -> set[str]:
    """Return the addresses of this machine on which a container's port can be reached."""
    words = ["docker", "ps", "--format={{.Ports}}", f"--filter=publish={port}"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return set(re.findall(rf"(\S+):{port}->", said))


def kill_container(port: int) -> None:
    """Kill the container that a port of this machine leads to."""
    words = ["docker", "ps", "--quiet", f"--filter=publish={port}"]
    (name,) = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "kill", name], check=True, capture_output=True)


@pytest.fixture
def turn() -> Iterator[None]:
    """One test with containers at a time, also of several workers: what one leaves behind is seen by nobody else."""
    with (Path(gettempdir()) / "iot2mqtt-test-docker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def broker_image() -> str:
    return machine_image.make("broker", machine_image.broker())


@pytest.fixture(scope="module")
def python_image() -> str:
    return machine_image.make("python-paho", machine_image.python())


@pytest.fixture
def in_docker(turn: None, broker_image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    del turn  # Its end comes after the look at what is left.
    monkeypatch.setenv("IOT2MQTT_IMAGE_MOSQUITTO", broker_image)
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    yield
    assert leftovers() == []


# ---------------------------------------------------------------------- services
@ENGINE
@pytest.mark.usefixtures("in_docker")
def test_a_broker_in_a_container_keeps_its_port_and_forgets_the_rest() -> None:
    async def scenario() -> None:
        broker = choose("docker")[0]()
        await broker.start()
        port = broker.port
        assert await asyncio.to_thread(addresses, port) == {"127.0.0.1"}
        async with Client(broker, "one") as one:
            await one.publish("a/b", b"kept", retain=True)
        await broker.stop()
        assert not in_use(port)
        await broker.start()
        assert broker.port == port
        async with Client(broker, "two") as two:
            await two.subscribe("a/b")
            assert await two.silence() == []
        await broker.stop()
        assert not broker.died.is_set()

    asyncio.run(scenario())


@ENGINE
@pytest.mark.usefixtures("in_docker")
def test_a_container_that_dies_is_noticed_and_what_it_said_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        broker = choose("docker")[0]()
        await broker.start()
        await asyncio.to_thread(kill_container, broker.port)
        await asyncio.wait_for(broker.died.wait(), 10)
        await broker.stop()

    asyncio.run(scenario())
    monkeypatch.setattr(local, "CONFIG", "no_such_option true\n")
    with pytest.raises(ServiceError, match=r"its last lines: .*no_such_option"):
        asyncio.run(choose("docker")[0]().start())


@ENGINE
@pytest.mark.usefixtures("in_docker")
def test_an_image_that_cannot_be_had_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOT2MQTT_IMAGE_MOSQUITTO", "127.0.0.1:1/no/broker:7")
    with pytest.raises(ServiceError, match=r"127.0.0.1:1/no/broker:7 .* could not be started on port"):
        asyncio.run(choose("docker")[0]().start())


@ENGINE
@pytest.mark.usefixtures("in_docker")
def test_the_suite_judges_with_a_broker_in_a_container() -> None:
    result = run_suite(
        "-n2", "--iot2mqtt-services=docker", "--iot2mqtt-clauses=I2M-LIFE-0[15]", cwd=REFERENCES / "simple"
    )
    assert result.returncode == 0, result.stdout
    assert "in Docker" in result.stdout


def test_docker_mode_without_docker_is_one_sentence_and_no_green_run() -> None:
    result = run_suite("--iot2mqtt-services=docker", cwd=REFERENCES / "simple", DOCKER_HOST="unix:///no/docker.sock")
    assert result.returncode == 3
    assert "Traceback" not in result.stdout + result.stderr
    (sentence,) = [line for line in (result.stdout + result.stderr).splitlines() if "need a Docker engine" in line]
    assert "none answers at unix:///no/docker.sock" in sentence
    assert "--iot2mqtt-services=local" in sentence


@ENGINE
@pytest.mark.soak
@pytest.mark.usefixtures("in_docker")
def test_kafka_and_a_database_in_containers_serve_until_they_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOT2MQTT_IMAGE_KAFKA", machine_image.make("kafka", service_images.kafka()))
    monkeypatch.setenv("IOT2MQTT_IMAGE_TIMESCALEDB", machine_image.make("postgres", service_images.postgres()))

    async def scenario() -> None:
        warehouse = ContainerWarehouse()
        try:
            store = await warehouse.ready()
            assert addresses(int(store.kafka.rpartition(":")[2])) == {"127.0.0.1"}
            assert addresses(store.database["port"]) == {"127.0.0.1"}
            admin = AdminClient({"bootstrap.servers": store.kafka})
            (made,) = admin.create_topics([NewTopic("lights", num_partitions=1)]).values()
            await asyncio.to_thread(made.result, 30)
            with psycopg.connect(**store.database) as connection:
                assert connection.execute("SELECT current_database()").fetchone() == ("iot2mqtt",)
        finally:
            await warehouse.stop()

    asyncio.run(scenario())


# ---------------------------------------------------------------------- images
RECIPE = """\
FROM {base}
WORKDIR /connector
COPY *.py keeper.sh ./
COPY broken broken
USER 10001:10001
HEALTHCHECK CMD ["sh", "-c", "exit 0"]
CMD ["{python}", "main.py"]
"""
PYTHON = Path(sys.executable).resolve().name
SHELL = f"{PYTHON} main.py; exit 0"
MUTANTS: dict[str, tuple[str, str]] = {
    "I2M-IMG-01": (f'CMD ["{PYTHON}", "main.py"]', f'CMD ["sh", "-c", "exec {PYTHON} main.py 2>/tmp/lights.log"]'),
    "I2M-IMG-01.silent": (f'CMD ["{PYTHON}", "main.py"]', f'CMD ["sh", "-c", "exec {PYTHON} main.py 2>/dev/null"]'),
    "I2M-IMG-02": (f'CMD ["{PYTHON}", "main.py"]', f'CMD ["sh", "-c", "{SHELL}"]'),
    "I2M-IMG-02.code": ("USER", "ENV BREAK=I2M-LIFE-01\nUSER"),
    "I2M-IMG-03": ("USER 10001:10001\n", ""),
    "I2M-IMG-03.unchecked": ('HEALTHCHECK CMD ["sh", "-c", "exit 0"]\n', ""),
    "I2M-IMG-03.sick": ("exit 0", "exit 1"),
    "I2M-IMG-03.variable": ("USER", "ENV HUB_TOKEN=abc123\nUSER"),
    "I2M-IMG-03.layer": ("USER", "COPY .netrc ./\nRUN rm .netrc\nUSER"),
}
"""By name, what is written in the place of what in the recipe."""


def image_folder(folder: Path, base: str, change: tuple[str, str] = ("", "")) -> Path:
    """Return a copy of hostile that is declared as an image."""
    copy = shutil.copytree(REFERENCES / "hostile", folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    recipe = RECIPE.format(base=base, python=PYTHON)
    assert change[0] in recipe
    (copy / "Dockerfile").write_text(recipe.replace(*change, 1), encoding="utf-8")
    (copy / ".netrc").write_text("machine hub.invalid login a password b\n", encoding="utf-8")
    file = copy / "conformance.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('command = ["python", "main.py"]', 'build = "."'), encoding="utf-8")
    return copy


def played_in(folder: Path) -> tuple[Declaration, Played]:
    """Play what the clauses of images are judged by."""
    declaration = load(folder)
    new_broker, _ = choose("auto")
    played = play(declaration, IMAGE_CLAUSES, new_broker=new_broker, seed=7, progress=lambda _line: None)
    assert played.smoke is None, played.smoke
    return declaration, played


def failures(declaration: Declaration, played: Played) -> dict[str, str]:
    """Judge the clauses of images, and return what each failed one saw."""
    verdicts = {clause.id: judge(clause, declaration, played) for clause in judged() if clause.id in IMAGE_CLAUSES}
    assert {verdict.outcome for verdict in verdicts.values()} <= {Outcome.PASS, Outcome.FAIL}
    return {name: verdict.seen for name, verdict in verdicts.items() if verdict.outcome is Outcome.FAIL}


def test_each_clause_of_images_has_a_mutant() -> None:
    assert {name.partition(".")[0] for name in MUTANTS} == IMAGE_CLAUSES


@ENGINE
@pytest.mark.usefixtures("turn")
@pytest.mark.soak
def test_a_connector_as_an_image_honours_every_clause_and_leaves_no_container(
    tmp_path: Path, python_image: str
) -> None:
    result = run_suite(cwd=image_folder(tmp_path, python_image))
    assert result.returncode == 0, result.stdout
    assert leftovers() == []


@ENGINE
@pytest.mark.usefixtures("turn")
@pytest.mark.mutant
@pytest.mark.soak
@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_image_is_told_by_its_clause_alone(name: str, tmp_path: Path, python_image: str) -> None:
    found = failures(*played_in(image_folder(tmp_path, python_image, MUTANTS[name])))
    assert set(found) == {name.partition(".")[0]}, found
    assert leftovers() == []


@ENGINE
@pytest.mark.usefixtures("turn")
def test_an_image_that_cannot_be_built_is_one_diagnosis(tmp_path: Path, python_image: str) -> None:
    folder = image_folder(tmp_path, python_image, ("WORKDIR /connector", "RUN exit 7"))
    result = run_suite("--iot2mqtt-clauses=I2M-IMG-*", cwd=folder)
    assert result.returncode == 1
    assert "docker build" in result.stdout
    assert "code: 7" in result.stdout


SPOILT: list[tuple[str, str, dict[str, Any]]] = [
    ("I2M-IMG-01", "image.files", {"writable": ["/app/instances"]}),
    ("I2M-IMG-01", "image.files", {"changed": ["/connector/lights.log"]}),
    ("I2M-IMG-02", "image.stopped", {"code": 137}),
    ("I2M-IMG-02", "image.stopped", {"code": 1}),
    ("I2M-IMG-03", "image", {"user": "0:0"}),
    ("I2M-IMG-03", "image", {"healthcheck": False}),
    ("I2M-IMG-03", "image", {"assigned": ["HUB_TOKEN"]}),
    ("I2M-IMG-03", "image", {"files": ["/connector/.netrc"]}),
    ("I2M-IMG-03", "image.health", {"status": "unhealthy"}),
]
"""Clauses, and facts of what a scenario has written down that break them."""


def as_its_image(name: str, folder: Path) -> Path:
    """Return a copy of a reference connector that is declared as the image of its Dockerfile."""
    copy = copy_of(name, folder)
    # The simulated devices are programs of this machine still.
    prepare(load(copy))
    file = copy / "conformance.toml"
    text = re.sub(r"^prepare = .*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    declared = f'image = "{base_images.build(name)}"'
    text = re.sub(r"^command = .*$", declared, text, count=1, flags=re.MULTILINE)
    if name == "sensor_hub":
        text = without_serial_port(copy / "conformance" / "instance.json", text)
    file.write_text(text, encoding="utf-8")
    return copy


def without_serial_port(instance: Path, text: str) -> str:
    """Disable the devices at a serial port, which a container has none of, and let another one fail instead."""
    document = json.loads(instance.read_text(encoding="utf-8"))
    document["devices"] = [{**device, "enabled": "address" not in device} for device in document["devices"]]
    instance.write_text(json.dumps(document), encoding="utf-8")
    return text.replace("temp_living_room", "motion_front_door")


def test_every_dockerfile_of_a_reference_connector_is_built_on_images_of_this_machine() -> None:
    files = {file.parent.name: file.read_text(encoding="utf-8") for file in REFERENCES.glob("*/Dockerfile")}
    assert set(base_images.BASES) == set(files)
    for name, recipe in files.items():
        arguments = set(re.findall(r"^ARG (\w+)=\S+:\S+$", recipe, re.MULTILINE))
        assert arguments == set(base_images.BASES[name]), name
        stages = {*re.findall(r" AS (\w+)$", recipe, re.MULTILINE), "scratch"}
        named = set(re.findall(r"^FROM (\S+)", recipe, re.MULTILINE)) - stages
        assert named == {f"${{{argument}}}" for argument in arguments}, name


@ENGINE
@pytest.mark.usefixtures("turn")
@pytest.mark.parametrize("name", base_images.BASES)
def test_the_image_of_a_reference_connector_honours_the_clauses_of_images(name: str, tmp_path: Path) -> None:
    declaration, played = played_in(as_its_image(name, tmp_path))
    assert failures(declaration, played) == {}
    # One of them shows whether the judges look.
    for clause, kind, facts in SPOILT if name == "shell" else []:
        records = [changed(r, **facts) if (r.run, r.kind) == ("image", kind) else r for r in played.transcript]
        found = failures(declaration, Played(rebuilt(records, played.transcript.wall), None))
        assert set(found) == {clause}, (kind, facts)
    assert leftovers() == []


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"image": '"x"'}, "`command` and `image`: only one"),
        ({"build": '"."'}, "`command` and `build`: only one"),
        ({"build": '"."', "command": '""'}, "command must be a list"),
    ],
)
def test_a_connector_is_started_in_one_way(tmp_path: Path, declared: dict[str, str], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        load(connector(tmp_path, "", **declared))


def test_a_folder_without_a_dockerfile_cannot_be_built(tmp_path: Path) -> None:
    folder = connector(tmp_path, "", build='"."')
    file = folder / "conformance.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('command = ["python", "main.py"]\n', ""), encoding="utf-8")
    with pytest.raises(DeclarationError, match="holds no Dockerfile"):
        load(folder)
