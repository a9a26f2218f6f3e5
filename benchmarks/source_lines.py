"""Counts a connector's lines of code: what remains without blanks, comments and docstrings."""

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

from iot2mqtt_conformance.declaration import Declaration

LANGUAGES = {".py": "Python", ".sh": "shell", ".awk": "awk", ".js": "JavaScript", ".mjs": "JavaScript", ".go": "Go"}
OTHER_PROGRAMS = {"actions", "broken", "conformance", "node_modules", "simulator", "test", "vendor", "__pycache__"}
"""Folders whose files are no part of the connector's own program."""
COMMENTS = ("#", "//")
NO_CODE = {
    tokenize.ENCODING,
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def languages(folder: Path, declaration: Declaration) -> dict[str, int]:
    """Return the lines of a connector's program by language, the most used one first."""
    simulators = {word for peripheral in declaration.peripherals for word in peripheral.command}
    lines: Counter[str] = Counter()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.name.endswith("_test.go"):
            continue
        if file.suffix in LANGUAGES and str(path) not in simulators and OTHER_PROGRAMS.isdisjoint(path.parts):
            lines[LANGUAGES[file.suffix]] += count(file)
    return dict(lines.most_common())


def count(file: Path) -> int:
    """Return the lines of code of one file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return len(_python(text))
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith(COMMENTS))


def _python(text: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {line for token in tokens if token.type not in NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            docstring = node.body[0]
            code -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return code
