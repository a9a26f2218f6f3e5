"""One run of a connector's setup, from its files to the instance on disk."""

from dataclasses import dataclass, replace
from pathlib import Path

from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.setup_flow.answers import Answers
from iot2mqtt_sdk.setup_flow.asking import Asker
from iot2mqtt_sdk.setup_flow.draft import Draft
from iot2mqtt_sdk.setup_flow.files import AnswerFile, RecordedFile, read_model, read_setup
from iot2mqtt_sdk.setup_flow.names import instance_id
from iot2mqtt_sdk.setup_flow.store import Home, write
from iot2mqtt_sdk.setup_flow.terminal import Terminal
from iot2mqtt_sdk.setup_flow.tools import Tools
from iot2mqtt_sdk.setup_flow.walk import Walk


@dataclass(frozen=True, slots=True)
class Done:
    """What a run has written.

    Attributes:
        instance_id: The instance.
        files: Its file, and that of its secrets where there is one.
        notes: What was changed on the way, for the user.
        has_secrets: Whether there is a secrets file.
    """

    instance_id: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    has_secrets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        folder: The connector's folder.
        answers: A file of answers; None asks at the terminal.
        recorded: A file of recorded answers of tools; None runs them.
        output: The host's folder to write to; None means the connector's own.
        overwrite: Whether an instance of the same id is replaced.
    """

    folder: Path
    answers: Path | None
    recorded: Path | None
    output: Path | None
    overwrite: bool

    def go(self) -> Done | None:
        """Walk through a flow and write the instance; None where the user left.

        Raises:
            SetupError: The run cannot go on, and nothing was written.
        """
        setup = read_setup(self.folder)
        recorded = None if self.recorded is None else read_model(RecordedFile, self.recorded)
        asker: Asker = Terminal() if self.answers is None else Answers(read_model(AnswerFile, self.answers))
        walk = Walk(
            setup=setup,
            asker=asker,
            tools=Tools(folder=self.folder, recorded=recorded),
            home=self.output or self.folder,
            connector=self._connector(),
            recorded=recorded,
        )
        draft = walk.run()
        if draft is None:
            return None
        draft, home = self._free(draft, asker)
        files = write(draft, home)
        return Done(draft.instance_id, tuple(files), draft.notes, bool(draft.secrets))

    def _connector(self) -> str:
        """Return the connector's name: its manifest's domain, or else its folder's name."""
        file = self.folder / "manifest.json"
        return read_model(Manifest, file).domain if file.exists() else self.folder.resolve().name

    def _free(self, draft: Draft, asker: Asker) -> tuple[Draft, Home]:
        """Return the draft under an id that may be written, and where to."""
        home = Home.beside(self.folder) if self.output is None else Home.of_host(self.output, draft.connector)
        while not self.overwrite and (file := home.taken(draft)):
            given = asker.other_id(f"{file} exists; name another instance id, or replace it with --overwrite")
            name = instance_id(given, None)
            draft = replace(draft, instance_id=name, document={**draft.document, "instance_id": name})
        return draft, home
