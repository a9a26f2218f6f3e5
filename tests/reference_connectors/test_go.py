"""The `go` connector: the tests of its own language, and files that fit each other."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.conformance.suite_runs import REFERENCES

GO = REFERENCES / "go"

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")


def read(name: str) -> Any:
    return json.loads((GO / name).read_text(encoding="utf-8"))


@pytest.mark.slow
@needs_go
@pytest.mark.parametrize("command", [["vet", "./..."], ["test", "./..."]])
def test_its_own_checks_and_tests_pass(command: list[str]) -> None:
    result = subprocess.run(["go", *command], cwd=GO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="gofmt is not installed")
def test_it_is_formatted_as_go_is() -> None:
    result = subprocess.run(["gofmt", "-l", "."], cwd=GO, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_go
def test_the_module_files_are_tidy() -> None:
    result = subprocess.run(["go", "mod", "tidy", "-diff"], cwd=GO, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_the_setup_file_and_the_manifest_are_valid() -> None:
    setup, manifest = Setup.model_validate(read("setup.json")), Manifest.model_validate(read("manifest.json"))
    assert manifest.domain == GO.name
    assert manifest.version == setup.version
    assert check(setup, GO) == []


def test_what_the_image_copies_is_there() -> None:
    lines = (GO / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    assert [name for name in copied if not (GO / name).exists()] == []
