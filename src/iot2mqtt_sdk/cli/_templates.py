"""Templates: reference connectors with a template.toml, and what becomes of one under a new name."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PACKAGED = PACKAGE / "templates"
"""Where an installed package has its templates, and additions/ to them."""
CHECKOUT = PACKAGE.parents[1] / "reference_connectors"
"""Where a checkout of the sources has them."""
DECLARATION = "template.toml"
DEFAULT = "simple"
NEVER = {"__pycache__", "bin", "instances", "node_modules", "conformance-report", DECLARATION}
"""What may lie in a connector's folder and is no part of a template, apart from hidden files."""
HIDDEN = {".dockerignore"}
"""Hidden files that are part of one all the same."""
IGNORED = {".env", "conformance-report/", "secrets/"}
"""What git is to leave alone in every connector."""
_MARKER = re.compile(r"^.*--8<-- \[.*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Template:
    """A folder to begin a connector from.

    Attributes:
        folder: The reference connector.
        description: One line for people.
        needs: What must be installed beside `iot2mqtt`, for people.
        leave_out: Files of the reference connector that make sense there only.
        files: What to do with each file, for the new README.
        replace: What stands in the reference connector, in texts and paths, and what takes its place.
        device: A device of the example instance that takes `command`; empty where none takes any.
        command: An argument of `iot2mqtt send`.
        port: Where the example instance finds the simulated devices.
        ignore: What git is to leave alone beyond what it leaves alone in every connector.
        dockerfile: What the container runs, where the template's own Dockerfile is not taken.
    """

    folder: Path
    description: str
    needs: str
    leave_out: Sequence[str]
    files: Mapping[str, str]
    replace: Mapping[str, str]
    device: str = ""
    command: str = ""
    port: int = 0
    ignore: Sequence[str] = ()
    dockerfile: str = ""

    def written(self, name: str) -> Iterator[tuple[Path, str, int]]:
        """Yield path, text and mode of each file of a connector of this name."""
        replaced = self._replacing(name)
        for file in self._own():
            text = replaced(_MARKER.sub("", file.read_text(encoding="utf-8")))
            yield self._place(file, replaced), text, file.stat().st_mode
        yield Path("instances", f"{name}.json"), self._instance(replaced), 0o644
        words = self._words(name)
        for file in sorted((PACKAGED / "additions").iterdir()):
            # The addition is named without its dot, lest git and the build obey it here.
            path = Path(".gitignore") if file.name == "gitignore" else Path(file.name)
            if path.name != "Dockerfile" or self.dockerfile:
                yield path, _filled(file.read_text(encoding="utf-8"), words), 0o644

    def to_try(self, name: str) -> tuple[list[str], list[str]]:
        """Return what to type first in the folder of a connector of this name, and what elsewhere, while it runs."""
        install = ["pip install -r requirements.txt"] if self._needs_packages() else []
        send = [f"iot2mqtt send {name} {self.device} {self.command}"] if self.device else []
        return [*install, "iot2mqtt check", "iot2mqtt run --broker embedded"], ["iot2mqtt watch", *send]

    def _needs_packages(self) -> bool:
        """Whether requirements.txt names anything but the SDK, which who reads this has."""
        file = self.folder / "requirements.txt"
        lines = file.read_text(encoding="utf-8").split() if file.is_file() else []
        return not all(line.startswith("iot2mqtt-sdk") for line in lines)

    def clashes(self, name: str) -> bool:
        """Whether a new connector of this name would name something that the template has already."""
        replaced = self._replacing(name)
        files = list(self._own())
        return self._contains(class_name(name)) or len({self._place(file, replaced) for file in files}) < len(files)

    def _contains(self, word: str) -> bool:
        pattern = re.compile(rf"\b{re.escape(word)}\b")
        return any(pattern.search(file.read_text(encoding="utf-8")) for file in self._own())

    def _own(self) -> Iterator[Path]:
        for file in sorted(self.folder.rglob("*")):
            parts = file.relative_to(self.folder).parts
            hidden = any(part.startswith(".") and part not in HIDDEN for part in parts)
            if file.is_file() and not hidden and NEVER.isdisjoint(parts) and parts[0] not in self.leave_out:
                yield file

    def _place(self, file: Path, replaced: "_Replacing") -> Path:
        return Path(replaced(file.relative_to(self.folder).as_posix()))

    def _words(self, name: str) -> dict[str, str]:
        first, meanwhile = self.to_try(name)
        return {
            "name": name,
            "lower": name.lower(),
            "class": class_name(name),
            "title": title(name),
            "template": self.folder.name,
            "description": self.description,
            "needs": self.needs,
            "first": "\n".join(first),
            "meanwhile": "\n".join(meanwhile),
            "dockerfile": self.dockerfile,
            "files": "\n".join(f"| {file} | {what} |" for file, what in self.files.items()),
            "ignore": "\n".join(sorted({*IGNORED, *self.ignore})),
        }

    def _replacing(self, name: str) -> "_Replacing":
        words = self._words(name)
        return _Replacing({old: _filled(new, words) for old, new in self.replace.items()})

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
    """Return all templates by name, the simplest first."""
    found: dict[str, Template] = {}
    for root in (CHECKOUT, PACKAGED):
        for file in sorted(root.glob(f"*/{DECLARATION}")):
            found.setdefault(file.parent.name, _read(file))
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT, item[0])))


def _read(file: Path) -> Template:
    declared = tomllib.loads(file.read_text(encoding="utf-8"))
    return Template(folder=file.parent, **declared)


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
