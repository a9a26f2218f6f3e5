"""The suite waits for what it needs, never for time to pass."""

import ast
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[2] / "conformance"


def sleeps(code: str) -> list[int]:
    """Return the lines on which something called `sleep` is imported, fetched or called."""
    found = []
    for node in ast.walk(ast.parse(code)):
        imported = isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names)
        fetched = isinstance(node, ast.Attribute) and node.attr == "sleep"
        named = isinstance(node, ast.Name) and node.id == "sleep"
        spawned = isinstance(node, ast.Constant) and node.value == "sleep"
        if imported or fetched or named or spawned:
            found.append(node.lineno)  # type: ignore[attr-defined]
    return found


def test_the_suite_never_sleeps() -> None:
    files = sorted(SUITE.rglob("*.py"))
    assert any(file.name == "rig.py" for file in files)
    found = {str(file.relative_to(SUITE)): sleeps(file.read_text(encoding="utf-8")) for file in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.sleep(1)",
        "import time as clock\nclock.sleep(1)",
        "import asyncio\nasync def wait():\n    await asyncio.sleep(0)",
        "from time import sleep",
        "from asyncio import sleep as pause",
        "subprocess.run(['sleep', '1'])",
        "getattr(time, 'sleep')(1)",
    ],
)
def test_a_sleep_is_noticed(code: str) -> None:
    assert sleeps(code)
