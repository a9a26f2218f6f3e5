"""The pages, and what stands in them."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
PAGES = (README, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "conformance" / "README.md", *sorted(DOCS.rglob("*.md")))
"""Everything that is written for readers, besides the changelog."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: Where it stands.
        heading: The heading above it.
        code: Its text.
    """

    page: Path
    heading: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}-{self.heading}".replace(" ", "_")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str, *pages: Path) -> list[Block]:
    """Return the blocks of a language; one that quotes a file opens with `{ .language }` and is none of these."""
    return [
        Block(page, _heading_above(text(page)[: match.start()]), match[2])
        for page in pages or PAGES
        for match in _BLOCK.finditer(text(page))
        if match[1] == language
    ]


def _heading_above(before: str) -> str:
    headings = re.findall(r"^#+ (.+)$", re.sub(_BLOCK, "", before), re.MULTILINE)
    return headings[-1].strip("`") if headings else ""


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, as far as the next one."""
    _, found, rest = text(page).partition(f"\n{heading}\n")
    assert found, f"{page.name} has no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(section_text: str) -> set[str]:
    """Return the first cells of the tables of a section, without backticks."""
    return set(re.findall(r"^\| `([^`]+)` \|", section_text, re.MULTILINE))
