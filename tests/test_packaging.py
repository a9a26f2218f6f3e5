"""The built wheel, installed where the sources are not, judges a connector."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MINUTES = 60.0

pytestmark = pytest.mark.slow

LOCATE = "import json, iot2mqtt_sdk, iot2mqtt_conformance as c; print(json.dumps([iot2mqtt_sdk.__file__, c.__file__]))"


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=10 * MINUTES,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_carries_the_contract_and_the_three_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    contract = REPOSITORY / "src" / "iot2mqtt_sdk" / "contract"
    schemas = {f"iot2mqtt_sdk/contract/schemas/{file.name}" for file in contract.glob("schemas/*.json")}
    assert schemas
    needed = {
        "iot2mqtt_sdk/contract/clauses.toml",
        "iot2mqtt_sdk/py.typed",
        "iot2mqtt_conformance/py.typed",
        "iot2mqtt_conformance/plugin.py",
        "iot2mqtt_pipeline/py.typed",
        "iot2mqtt_pipeline/schema/measurements/001_sink.sql",
        "iot2mqtt_pipeline/servers/kafka_pom.xml",
    }
    assert (schemas | needed) - names == set()
    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {
        "iot2mqtt_sdk",
        "iot2mqtt_pipeline",
        "iot2mqtt_conformance",
    }


def test_the_wheel_judges_a_connector_without_the_sources(wheel: Path, tmp_path: Path) -> None:
    connector, place = tmp_path / "hostile", tmp_path / "place"
    shutil.copytree(REPOSITORY / "reference_connectors" / "hostile", connector)
    installed = run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, wheel, cwd=tmp_path
    )
    assert installed.returncode == 0, installed.stderr
    located = run(sys.executable, "-c", LOCATE, cwd=tmp_path, PYTHONPATH=str(place))
    assert all(Path(file).is_relative_to(place) for file in json.loads(located.stdout))
    judged = run(
        *(sys.executable, "-m", "pytest", "--iot2mqtt-conformance", "--iot2mqtt-clauses=I2M-STATUS-*"),
        cwd=connector,
        PYTHONPATH=str(place),
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.soak
def test_the_wheel_brings_all_that_it_needs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    connector = tmp_path / "hostile"
    shutil.copytree(REPOSITORY / "reference_connectors" / "hostile", connector)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "--quiet", f"{wheel}[conformance,embedded]", cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    located = run(python, "-c", LOCATE, cwd=tmp_path)
    assert all(Path(file).is_relative_to(environment) for file in json.loads(located.stdout))

    only = "--iot2mqtt-clauses=I2M-STATUS-*"
    judged = run(environment / "bin" / "pytest", "--iot2mqtt-conformance", only, cwd=connector)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "I2M-" in run(environment / "bin" / "iot2mqtt", "contract", "clauses", cwd=tmp_path).stdout


def test_a_clone_judges_a_connector_without_what_only_its_tests_need() -> None:
    program = """
import sys, pytest
sys.modules.update(dict.fromkeys(["hypothesis", "xdist", "pytest_randomly"]))
connector = "--iot2mqtt-connector=reference_connectors/simple"
sys.exit(pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", "--iot2mqtt-conformance", connector]))
"""
    # Installed plugins are left out, as they are not there either.
    plugin = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "iot2mqtt_conformance.plugin"}
    done = run(sys.executable, "-c", program, cwd=REPOSITORY, **plugin)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "I2M-STATUS-01" in done.stdout
