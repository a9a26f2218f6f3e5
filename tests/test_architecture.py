"""Who may import whom. Prose rules rot; this one fails."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import iot2mqtt_sdk
import iot2mqtt_sdk.actions

REPOSITORY = Path(__file__).parents[1]
SDK = REPOSITORY / "src" / "iot2mqtt_sdk"
PIPELINE = REPOSITORY / "src" / "iot2mqtt_pipeline"
SUITE = REPOSITORY / "conformance" / "iot2mqtt_conformance"
REFERENCES = REPOSITORY / "reference_connectors"
OURS = ("iot2mqtt_sdk", "iot2mqtt_conformance", "iot2mqtt_pipeline")

GROUND = {"contract", "errors", "settings", "clock", "jsontext", "masking"}
MAY_IMPORT: dict[str, set[str]] = {
    "contract": set(),
    "errors": set(),
    "clock": set(),
    "masking": set(),
    "logs": {"masking"},
    "jsontext": {"contract", "errors"},
    "settings": {"contract", "errors"},
    "properties": {"contract", "errors"},
    "client": GROUND | {"runtime"},
    "runtime": GROUND | {"client", "properties"},
    "homeassistant": GROUND | {"client", "properties", "runtime"},
    "metrics": GROUND | {"client", "runtime"},
    "actions": GROUND,
    "action_runner": GROUND | {"actions"},
    "action_server": GROUND | {"actions", "action_runner"},
    "setup_flow": GROUND | {"actions", "action_runner"},
    "connector": GROUND | {"client", "homeassistant", "logs", "metrics", "properties", "runtime"},
    "instance": GROUND | {"logs", "runtime"},
    "testing": GROUND | {"client", "connector", "runtime"},
    "__init__": GROUND | {"client", "connector", "instance", "properties"},
    "cli": GROUND | {"client", "runtime", "actions", "action_runner", "action_server", "setup_flow", "connector"},
}
"""Parts of the SDK, and the other parts that each may import."""
PUBLIC = {
    "iot2mqtt_sdk": set(iot2mqtt_sdk.__all__),
    "iot2mqtt_sdk.actions": set(iot2mqtt_sdk.actions.__all__),
}
"""What a connector may import from the SDK."""
SDK_FOR_THE_PIPELINE = {"errors", "settings", "contract", "clock", "logs", "masking"}
"""Parts of the SDK that the pipeline may import, besides the public names."""
STAGES = {"bridge", "processor", "sink", "deadletter"}
"""Stages of the pipeline: they speak through the Protocols of stage.py, and only cli joins them with adapters."""
DRIVERS = {"paho", "confluent_kafka", "psycopg"}
MAY_DRIVE = ("adapters/", "servers/embedded.py")
"""Where the pipeline may import the drivers of MQTT, Kafka and PostgreSQL."""
FOR_THE_SUITE = {"services/warehouse_program.py": ("iot2mqtt_pipeline.servers", "iot2mqtt_sdk.errors")}
"""What a file of the suite may import of ours: one program, in a process of its own, starts Kafka and PostgreSQL."""
INDEPENDENT = {"hostile", "shell"}
"""Reference connectors that must not need anything of ours."""


def imports(code: str) -> Iterator[tuple[str, str | None]]:
    """Yield each imported module, with the imported name where there is one."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((module, alias.name) for alias in node.names)


def part_of(module: str, name: str | None) -> str:
    """Return the part of the SDK that an import reaches."""
    path = module.split(".")[1:]
    if not path and name in MAY_IMPORT:
        return str(name)
    return path[0] if path else "__init__"


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS or module.startswith(".")


def sdk_faults(part: str, code: str) -> list[str]:
    """Return the imports that a file of a part of the SDK must not have."""
    if part not in MAY_IMPORT:
        return [f"{part} has no row in MAY_IMPORT: decide what it may import"]
    faults = []
    for module, name in imports(code):
        if not is_ours(module):
            continue
        reached = part_of(module, name) if module.split(".")[0] == "iot2mqtt_sdk" else None
        if reached is None or reached not in MAY_IMPORT[part] | {part}:
            faults.append(f"{part} imports {module} ({name})")
    return faults


def pipeline_faults(path: str, code: str) -> list[str]:
    """Return the imports that a file of the pipeline, named by its path there, must not have."""
    part = path.split("/", maxsplit=1)[0].removesuffix(".py")
    return [f"{path} imports {module} ({name})" for module, name in imports(code) if _strays(path, part, module, name)]


def _strays(path: str, part: str, module: str, name: str | None) -> bool:
    root, *rest = module.split(".")
    if root in DRIVERS:
        return not path.startswith(MAY_DRIVE)
    if root == "iot2mqtt_sdk":
        return name not in PUBLIC["iot2mqtt_sdk"] if not rest else rest[0] not in SDK_FOR_THE_PIPELINE
    if root != "iot2mqtt_pipeline":
        return is_ours(module)
    reached = rest[0] if rest else name
    if part in {"cli", "__main__"} or reached == part:
        return False
    # deadletter is what `dlq` does: nobody but cli has to do with it or with another stage.
    return reached in STAGES | {"cli", "adapters"} or (part in STAGES and reached == "servers")


def suite_faults(path: str, code: str) -> list[str]:
    """Return the imports that a file of the conformance suite, named by its path there, must not have."""
    allowed = ("iot2mqtt_conformance", *FOR_THE_SUITE.get(path, ()))
    return [module for module, _ in imports(code) if is_ours(module) and not module.startswith(allowed)]


def connector_faults(folder: str, code: str) -> list[str]:
    """Return the imports that a file of a reference connector must not have."""
    public = {} if folder in INDEPENDENT else PUBLIC
    return [
        f"{module}.{name}"
        for module, name in imports(code)
        if is_ours(module) and name not in public.get(module, set())
    ]


def python_files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, f"no Python file was found in {folder}: the test would prove nothing"
    return found


def test_the_sdk_imports_only_downwards() -> None:
    faults = []
    for file in python_files(SDK):
        faults += sdk_faults(file.relative_to(SDK).parts[0].removesuffix(".py"), file.read_text(encoding="utf-8"))
    assert faults == []


def test_every_part_of_the_sdk_that_has_a_rule_exists() -> None:
    parts = {file.relative_to(SDK).parts[0].removesuffix(".py") for file in python_files(SDK)}
    assert set(MAY_IMPORT) <= parts


def test_stages_adapters_and_drivers_of_the_pipeline_meet_in_its_command_line_only() -> None:
    faults = []
    for file in python_files(PIPELINE):
        faults += pipeline_faults(file.relative_to(PIPELINE).as_posix(), file.read_text(encoding="utf-8"))
    assert faults == []
    assert {f"{stage}.py" for stage in STAGES} <= {file.name for file in PIPELINE.glob("*.py")}


def test_the_suite_imports_no_sdk_code() -> None:
    faults = {
        file: suite_faults(file.relative_to(SUITE).as_posix(), file.read_text(encoding="utf-8"))
        for file in python_files(SUITE)
    }
    assert {str(file): found for file, found in faults.items() if found} == {}


def test_reference_connectors_use_public_names_only() -> None:
    faults = {
        file: connector_faults(file.relative_to(REFERENCES).parts[0], file.read_text(encoding="utf-8"))
        for file in python_files(REFERENCES)
    }
    assert {str(file): found for file, found in faults.items() if found} == {}
    assert {"simple", "hostile"} <= {file.relative_to(REFERENCES).parts[0] for file in faults}


def test_the_shell_connector_uses_nothing_of_ours() -> None:
    files = [file for file in (REFERENCES / "shell").iterdir() if file.suffix in {".sh", ".awk"}]
    assert files
    assert [file.name for file in files if any(name in file.read_text(encoding="utf-8") for name in OURS)] == []


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("contract", "from iot2mqtt_sdk.errors import ConfigurationError"),
        ("contract", "def late():\n    import iot2mqtt_sdk.settings"),
        ("client", "from iot2mqtt_sdk import BaseConnector"),
        ("runtime", "from iot2mqtt_sdk.connector import BaseConnector"),
        ("runtime", "from iot2mqtt_sdk import connector"),
        ("connector", "import iot2mqtt_pipeline.record"),
        ("cli", "from iot2mqtt_pipeline import record"),
        ("cli", "from iot2mqtt_conformance.suite import Suite"),
        ("errors", "from . import settings"),
        ("novelty", ""),
    ],
)
def test_a_wrong_direction_in_the_sdk_is_noticed(part: str, code: str) -> None:
    assert sdk_faults(part, code)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("bridge.py", "from iot2mqtt_pipeline.processor import Processor"),
        ("bridge.py", "from iot2mqtt_pipeline import sink"),
        ("sink.py", "from iot2mqtt_pipeline.adapters.timescale import TimescaleStore"),
        ("processor.py", "import confluent_kafka"),
        ("deadletter.py", "from iot2mqtt_pipeline.servers import kafka"),
        ("ledger.py", "from iot2mqtt_pipeline.adapters import counts"),
        ("health.py", "from iot2mqtt_pipeline.cli import main"),
        ("adapters/kafka.py", "from iot2mqtt_pipeline.sink import Sink"),
        ("adapters/kafka.py", "from iot2mqtt_pipeline.cli._wiring import topics"),
        ("cli/up.py", "def late():\n    from psycopg import sql"),
        ("servers/kafka.py", "from paho.mqtt.client import Client"),
        ("record.py", "from iot2mqtt_sdk.jsontext import decode"),
        ("record.py", "from iot2mqtt_sdk import runtime"),
        ("cli/up.py", "from iot2mqtt_sdk.cli import cli"),
        ("cli/up.py", "from iot2mqtt_conformance.ports import free_port"),
        ("stage.py", "from . import record"),
    ],
)
def test_a_wrong_direction_in_the_pipeline_is_noticed(path: str, code: str) -> None:
    assert pipeline_faults(path, code)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("adapters/mqtt_out.py", "import paho.mqtt.client"),
        ("servers/embedded.py", "from confluent_kafka import Producer"),
        ("cli/_wiring.py", "from iot2mqtt_pipeline.bridge import Bridge"),
        ("decoding.py", "from iot2mqtt_sdk.contract.models import explain"),
        ("simulator.py", "from iot2mqtt_sdk import MQTTClient"),
    ],
)
def test_a_right_direction_in_the_pipeline_is_let_through(path: str, code: str) -> None:
    assert pipeline_faults(path, code) == []


def test_the_suite_imports_the_drivers_of_the_pipeline_only_where_it_judges_it() -> None:
    top_level = {
        module
        for file in python_files(SUITE)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        for module, _ in imports(ast.unparse(node))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    of_the_pipeline = {"confluent_kafka", "psycopg", "orjson", "prometheus_client"}
    assert {module for module in top_level if module.partition(".")[0] in of_the_pipeline} == set()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("rig.py", "import iot2mqtt_sdk"),
        ("rig.py", "from iot2mqtt_sdk.contract import topics"),
        ("conveyor.py", "def late():\n    from iot2mqtt_pipeline.servers import kafka"),
        ("services/warehouse_program.py", "from iot2mqtt_pipeline.sink import Sink"),
        ("services/warehouse_program.py", "from iot2mqtt_sdk import MQTTClient"),
    ],
)
def test_a_suite_that_imports_the_sdk_or_the_pipeline_is_noticed(path: str, code: str) -> None:
    assert suite_faults(path, code)


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("simple", "from iot2mqtt_sdk.client import MQTTClient"),
        ("simple", "from iot2mqtt_sdk import settings"),
        ("simple", "import iot2mqtt_sdk"),
        ("simple", "from iot2mqtt_conformance import wire"),
        ("hostile", "from iot2mqtt_sdk import BaseConnector"),
    ],
)
def test_a_reference_connector_that_reaches_inside_is_noticed(folder: str, code: str) -> None:
    assert connector_faults(folder, code)
