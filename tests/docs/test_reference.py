"""What the pages say is complete."""

import ast
import re

import pytest

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import _KEYS
from tests.docs.pages import DOCS, PAGES, README, REPOSITORY, rows, section, text

SETTINGS = REPOSITORY / "src" / "iot2mqtt_sdk" / "settings.py"
LISTS = {"devices", "peripherals"}
COUNT = re.compile(r"(\d+) of\s+the contract's\s+(\d+)\s+clauses")


@pytest.mark.parametrize("table", sorted(_KEYS.keys() - {""}))
def test_every_key_of_a_declaration_is_explained_and_none_that_does_not_exist(table: str) -> None:
    heading = f"### `[[{table}]]`" if table in LISTS else f"### `[{table}]`"
    assert rows(section(DOCS / "conformance.md", heading)) == set(_KEYS[table])


def test_every_table_of_a_declaration_has_a_section() -> None:
    found = set(re.findall(r"^### `\[+(\w+)", text(DOCS / "conformance.md"), re.MULTILINE))
    assert found == set(_KEYS[""])


def variables(code: str) -> set[str]:
    """Return the names in capitals that a file hands to a call as the first argument: what it looks up."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and node.args]
    first = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    return {name for name in first if isinstance(name, str) and re.fullmatch(r"[A-Z][A-Z0-9_]+[A-Z0-9]", name)}


def test_every_environment_variable_is_explained_and_none_that_is_not_read() -> None:
    read = variables(SETTINGS.read_text(encoding="utf-8"))
    assert {"MQTT_HOST", "IOT2MQTT_PATH", "INSTANCE_NAME"} <= read
    assert rows(section(DOCS / "connector.md", "## Environment variables")) == read


def test_the_number_of_judged_clauses_is_true_wherever_it_is_written() -> None:
    said = [match.groups() for page in PAGES for match in COUNT.finditer(text(page))]
    assert len(said) == len(COUNT.findall(text(README))) == 2
    assert set(said) == {(str(len(JUDGES)), str(len(clauses())))}, "README.md: write in the new number, twice"


def test_the_number_of_clauses_in_the_introduction_is_true() -> None:
    said = re.search(r"(\d+) numbered clauses", text(README))
    assert said is not None
    assert int(said[1]) == len(clauses())
