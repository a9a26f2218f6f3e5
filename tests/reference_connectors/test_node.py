"""The `node` connector: the tests of its own, and files that fit each other."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.preparing import prepare
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.conformance.suite_runs import REFERENCES, copy_of

NODE = REFERENCES / "node"
PUBLIC = "https://registry.npmjs.org/"


def read(name: str) -> Any:
    return json.loads((NODE / name).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_its_own_tests_pass(tmp_path: Path) -> None:
    folder = copy_of("node", tmp_path)
    prepare(load(folder))
    result = subprocess.run(["node", "--test"], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "# fail 0" in result.stdout
    assert "# tests 0" not in result.stdout


def test_what_is_locked_comes_from_the_public_registry_and_is_what_is_asked_for() -> None:
    lock = read("package-lock.json")
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 1
    assert [name for name, package in packages.items() if not package["resolved"].startswith(PUBLIC)] == []
    assert lock["packages"][""]["dependencies"] == read("package.json")["dependencies"]


def test_the_setup_file_and_the_manifest_are_valid() -> None:
    setup, manifest = Setup.model_validate(read("setup.json")), Manifest.model_validate(read("manifest.json"))
    assert manifest.domain == NODE.name
    assert manifest.version == setup.version == read("package.json")["version"]
    assert check(setup, NODE) == []


def test_what_the_image_copies_is_there() -> None:
    lines = (NODE / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    assert [name for name in copied if not (NODE / name).exists()] == []
