"""Templates: reference connectors with a template.toml, and what becomes of one under a new name."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PACKAGED = PACKAGE / "templates"
"""Where an installed package has its templates, and additions/ to them."""
CHECKOUT = PACKAGE.parents[1] / "reference_connectors"
"""Where a checkout of the sources has them."""
DECLARATION = "template.toml"
NEVER = {"__pycache__", "instances", "node_modules", "conformance-report", DECLARATION}
"""What may lie in a connector's folder and is no part of a template, apart from hidden files."""
_MARKER = re.compile(r"^.*--8<-- \[.*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Template:
    """A folder to begin a connector from.

    Attributes:
        folder: The reference connector.
        description: One line for people.
        additions: The folder below templates/additions whose files come on top.
        leave_out: Files of the reference connector that make sense there only.
        port: Where the example instance finds the simulated devices.
        device: A device of the example instance that takes `command`.
        command: An argument of `iot2mqtt send`.
        replace: What stands in the reference connector, and what takes its place.
    """

    folder: Path
    description: str
    additions: str
    leave_out: tuple[str, ...]
    port: int
    device: str
    command: str
    replace: Mapping[str, str]

    def files(self, name: str) -> Iterator[tuple[Path, str, int]]:
        """Yield path, text and mode of each file of a connector of this name."""
        words = {"name": name, "class": class_name(name), "title": title(name)}
        replaced = _Replacing({old: _filled(new, words) for old, new in self.replace.items()})
        for file in self._own():
            text = replaced(_MARKER.sub("", file.read_text(encoding="utf-8")))
            yield file.relative_to(self.folder), text, file.stat().st_mode
        yield Path("instances", f"{name}.json"), self._instance(replaced), 0o644
        words |= {"template": self.folder.name, "device": self.device, "command": self.command}
        for file in sorted((PACKAGED / "additions" / self.additions).iterdir()):
            # The addition is named without its dot, lest git and the build obey it here.
            path = Path(".gitignore") if file.name == "gitignore" else Path(file.name)
            yield path, _filled(file.read_text(encoding="utf-8"), words), file.stat().st_mode

    def contains(self, word: str) -> bool:
        """Whether a word stands anywhere in the code."""
        pattern = re.compile(rf"\b{re.escape(word)}\b")
        return any(pattern.search(file.read_text(encoding="utf-8")) for file in self._own())

    def _own(self) -> Iterator[Path]:
        for file in sorted(self.folder.rglob("*")):
            parts = file.relative_to(self.folder).parts
            skipped = any(part in NEVER or part.startswith(".") for part in parts) or parts[0] in self.leave_out
            if file.is_file() and not skipped:
                yield file

    def _instance(self, replaced: "_Replacing") -> str:
        declared = tomllib.loads((self.folder / "conformance.toml").read_text(encoding="utf-8"))
        text = (self.folder / declared["connector"]["instance"]).read_text(encoding="utf-8")
        return replaced(text).replace('"{port}"', str(self.port)).replace("{port}", str(self.port))


class _Replacing:
    """Replaces several texts at once, so that what was put in is not replaced again."""

    def __init__(self, replace: Mapping[str, str]) -> None:
        self._replace = replace
        self._pattern = re.compile("|".join(map(re.escape, replace)))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._replace[found.group()], text)


def find() -> dict[str, Template]:
    """Return all templates by name."""
    found: dict[str, Template] = {}
    for root in (CHECKOUT, PACKAGED):
        for file in sorted(root.glob(f"*/{DECLARATION}")):
            found.setdefault(file.parent.name, _read(file))
    return found


def _read(file: Path) -> Template:
    declared = tomllib.loads(file.read_text(encoding="utf-8"))
    return Template(folder=file.parent, **{**declared, "leave_out": tuple(declared["leave_out"])})


def class_name(name: str) -> str:
    """Return the name of a connector's class: MyLampsConnector for my-lamps."""
    words = [word for word in re.split(r"[-_]+", name) if word]
    if words[-1].lower() == "connector":
        words.pop()
    return "".join(word[0].upper() + word[1:] for word in words) + "Connector"


def title(name: str) -> str:
    """Return what people read: My lamps for my-lamps."""
    text = re.sub(r"[-_]+", " ", name).strip()
    return text[0].upper() + text[1:]


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found.group(1), found.group()), text)
