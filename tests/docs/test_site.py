"""The built site."""

import re
import subprocess
import sys
from collections.abc import Mapping
from html import unescape
from pathlib import Path

import pytest

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import Clause, clauses
from iot2mqtt_pipeline.cli import cli as pipeline
from iot2mqtt_pipeline.settings import variables
from iot2mqtt_sdk.cli import cli
from tests.docs.pages import DOCS, REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Every page of the site by its path there."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        # Not --quiet: it hides warnings from --strict as well.
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert not (folder / "hooks.py").exists()
    return {
        page.relative_to(folder).as_posix(): page.read_text(encoding="utf-8") for page in Path(folder).rglob("*.html")
    }


def words(html: str) -> str:
    """Return the text of a piece of HTML."""
    return unescape(re.sub(r"<[^>]+>", "", html))


def row_of(clause: Clause, page: str) -> str:
    (row,) = re.findall(rf'<tr id="{clause.id}">(.*?)</tr>', page, re.DOTALL)
    return str(row)


def test_every_page_is_built(site: Mapping[str, str]) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert pages <= set(site)


def test_every_clause_has_one_row_with_its_level_and_its_sentence_unharmed(site: Mapping[str, str]) -> None:
    assert len(re.findall(r'<tr id="I2M-', site["clauses.html"])) == len(clauses())
    for clause in clauses().values():
        row = row_of(clause, site["clauses.html"])
        assert f"<td>{clause.level}</td>" in row
        assert clause.text.replace("`", "") in words(row)


def test_every_judged_clause_and_no_other_is_marked(site: Mapping[str, str]) -> None:
    marked = {c.id for c in clauses().values() if row_of(c, site["clauses.html"]).endswith("<td>yes</td>")}
    assert marked == set(JUDGES)


def test_links_to_clauses_lead_to_a_clause(site: Mapping[str, str]) -> None:
    named = {name for page in site.values() for name in re.findall(r'href="[^"]*#(I2M-[^"]+)"', page)}
    assert named
    assert named <= set(clauses())


def test_the_command_line_page_shows_the_help_of_every_command(site: Mapping[str, str]) -> None:
    page = words(site["cli.html"])
    assert [name for name in cli.commands if f"Usage: iot2mqtt {name} [OPTIONS]" not in page] == []


def test_the_page_on_running_the_pipeline_shows_every_command_and_every_setting(site: Mapping[str, str]) -> None:
    page = words(site["pipeline/running.html"])
    assert [name for name in pipeline.commands if f"Usage: iot2mqtt-pipeline {name} [OPTIONS]" not in page] == []
    assert [name for name in variables() if name not in page] == []


@pytest.mark.parametrize("file", ["connector.py", "actions/validate.py", "Dockerfile"])
def test_the_tutorial_quotes_the_simple_connector(site: Mapping[str, str], file: str) -> None:
    source = (REPOSITORY / "reference_connectors" / "simple" / file).read_text(encoding="utf-8")
    quoted = source.partition("[start:connector]\n")[2].partition("# --8<--")[0] or source
    assert quoted.strip() in words(site["connector.html"])


def test_nothing_is_left_to_be_filled_in(site: Mapping[str, str]) -> None:
    assert [name for name, page in site.items() if "fill:" in page or "--8&lt;--" in page or "--8<--" in page] == []


def test_no_page_loads_anything_from_another_host(site: Mapping[str, str]) -> None:
    loads = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")
    assert {name: loads.findall(page) for name, page in site.items() if loads.search(page)} == {}
