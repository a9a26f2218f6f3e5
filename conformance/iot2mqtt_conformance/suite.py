"""One run of the suite: services, what was played for each connector, verdicts, summary and exit code."""

from __future__ import annotations

import random
import shlex
import shutil
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iot2mqtt_conformance.adoption.attach import Attached
from iot2mqtt_conformance.adoption.target import EXAMPLE, Target, TargetError, TheirBroker, parse_target
from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration, DeclarationError, load
from iot2mqtt_conformance.fault import FaultError, told
from iot2mqtt_conformance.judging import Played, attached, judge, judged, needed, play
from iot2mqtt_conformance.preparing import prepare
from iot2mqtt_conformance.report import files
from iot2mqtt_conformance.report.data import Judged
from iot2mqtt_conformance.report.redact import masked
from iot2mqtt_conformance.report.terminal import summary
from iot2mqtt_conformance.scenarios import SCENARIOS
from iot2mqtt_conformance.services.base import ServiceError
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.sharing import folder_of, read, shared
from iot2mqtt_conformance.smoke import diagnose
from iot2mqtt_conformance.transcript import Origin, Transcript, TranscriptError
from iot2mqtt_conformance.transcript import load as load_transcript
from iot2mqtt_conformance.verdict import Outcome, Ruling, Standing, Verdict, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from iot2mqtt_conformance.contract import Clause
    from iot2mqtt_conformance.services.base import Broker

CUT_SHORT = 3
FAILED = 1
FAULT = "iot2mqtt_fault"
"""The property of an item that says why nothing is judged."""
SEED_RANGE = 2**31
JUDGED = frozenset(
    {Standing.PASS, Standing.FAIL, Standing.WARNING, Standing.EXPECTED_FAILURE, Standing.UNEXPECTED_PASS}
)


def _chosen_clauses(glob: str) -> list[Clause]:
    chosen = [clause for clause in judged() if fnmatch(clause.id, glob)]
    if not chosen:
        raise pytest.UsageError(f"--iot2mqtt-clauses={glob} fits no clause that this version judges")
    return chosen


def _declarations(arguments: list[str], *, attached: bool) -> dict[Path, Declaration]:
    paths = [Path(argument.partition("::")[0]) for argument in arguments]
    try:
        return {path.resolve(): load(path, attached=attached) for path in paths if path.suffix == ".toml"}
    except DeclarationError as error:
        raise pytest.UsageError(str(error)) from None


def piped(declaration: Declaration, asked: str) -> Declaration:
    """Return a declaration with or without the feature `pipeline`, as --iot2mqtt-pipeline asks for."""
    if asked == "on":
        return replace(declaration, features=declaration.features | {"pipeline"})
    if asked == "off":
        return replace(declaration, left_out={"pipeline": "left out by --iot2mqtt-pipeline=off"})
    return declaration


def _recorded(file: str | None, declarations: Iterable[Declaration]) -> Transcript | None:
    """Read the transcript that is to be judged again, if any."""
    if file is None:
        return None
    names = [declaration.name for declaration in declarations]
    try:
        transcript = load_transcript(Path(file))
    except TranscriptError as error:
        raise pytest.UsageError(f"--iot2mqtt-transcript: {error}") from None
    if names != [transcript.origin.connector]:
        raise pytest.UsageError(
            f"--iot2mqtt-transcript: {file} is a transcript of the connector `{transcript.origin.connector}`, and"
            f" `{', '.join(names)}` is to be judged: name its conformance.toml with --iot2mqtt-connector=PATH"
        )
    return transcript


def _writable(folder: str | None) -> Path | None:
    """Return the folder of the report, which can be written: better known before a run than after it."""
    if folder is None:
        return None
    try:
        files.prepare(Path(folder))
    except OSError as error:
        raise pytest.UsageError(
            f"--iot2mqtt-report: {folder} cannot be written: {error.strerror}; name another folder"
        ) from None
    return Path(folder)


class Suite:
    """Plays each connector once, whatever the order of items, and judges from what was seen."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        worker = getattr(config, "workerinput", None)
        self._worker = worker is not None
        self._test_run: str | None = worker["testrunuid"] if worker else None
        self._played: dict[Path, tuple[Declaration, Played]] = {}
        self._rulings: dict[Path, dict[str, Ruling]] = {}
        self._reported: dict[str, set[str]] = {}
        self._ran = 0
        self._proved = 0
        self._unproved = 0
        self.clauses = _chosen_clauses(config.getoption("--iot2mqtt-clauses"))
        self._target = self._their_broker()
        self._pipeline: str = config.getoption("--iot2mqtt-pipeline")
        declared = _declarations(config.args, attached=self._target is not None)
        self.declarations = {path: piped(one, self._pipeline) for path, one in declared.items()}
        self._transcript = _recorded(config.getoption("--iot2mqtt-transcript"), self.declarations.values())
        self._folder = None if worker else _writable(config.getoption("--iot2mqtt-report"))
        self.seed = self._seed(worker)
        self.services = self._services()

    def _seed(self, worker: dict[str, int] | None) -> int:
        given: int | None = self.config.getoption("--iot2mqtt-seed")
        if worker:
            return worker["iot2mqtt_seed"]
        if self._transcript is not None:
            return self._transcript.origin.seed
        return random.randrange(SEED_RANGE) if given is None else given

    def _their_broker(self) -> Target | None:
        """Return the broker of a connector that runs already, if it is to be judged."""
        option = self.config.getoption
        url = option("--iot2mqtt-broker")
        alone = [name for name in ("--iot2mqtt-ca", "--iot2mqtt-rough") if option(name)]
        if url is None and alone:
            raise pytest.UsageError(f"{alone[0]} is for a connector that runs already: name --iot2mqtt-broker=URL too")
        try:
            return None if url is None else parse_target(url, option("--iot2mqtt-ca"))
        except TargetError as error:
            raise pytest.UsageError(f"--iot2mqtt-broker: {error}") from None

    def _services(self) -> str:
        if self._transcript is not None:
            return self._transcript.origin.services
        if self._target is not None:
            target = self._target
            self.new_broker: Callable[[], Broker] = lambda: TheirBroker(target)
            return f"attached: watches the connector on its broker {target}, and starts nothing"
        try:
            self.new_broker, said = choose(self.config.getoption("--iot2mqtt-services"))
        except ServiceError as error:
            pytest.exit(str(error), returncode=CUT_SHORT)
        return said

    def wants(self, path: Path) -> bool:
        """Whether a file is one of the declarations that were asked for."""
        return path.resolve() in self.declarations

    # ------------------------------------------------------------------ playing and judging
    def played(self, declaration: Declaration, session: pytest.Session) -> Played:
        """Return what happened with a connector, playing its scenarios at the first call."""
        found = self._played.get(declaration.path)
        if found is not None:
            return found[1]
        return self._keep(declaration, self._transcript or self._fresh(declaration, self._chosen(declaration, session)))

    def _keep(self, declaration: Declaration, transcript: Transcript) -> Played:
        """Keep what happened; a diagnosis is made of what is written down, as every verdict is."""
        origin = transcript.origin
        played = Played(transcript, None, origin.scenarios, origin.round_trip)
        with told("in the diagnosis"):
            played.smoke = diagnose(played.view, declaration)
        self._played[declaration.path] = (declaration, played)
        return played

    def _fresh(self, declaration: Declaration, chosen: list[str]) -> Transcript:
        def play_it() -> Transcript:
            with told(f"while {declaration.name} was played"):
                return self._play(declaration, chosen)

        return play_it() if self._test_run is None else shared(self._test_run, declaration.path, play_it)

    def _play(self, declaration: Declaration, chosen: list[str]) -> Transcript:
        """Play, and return what happened without the secrets in it: judges, reports and files see only that."""
        running = self._running(declaration)
        declaration = declaration if running else piped(prepare(declaration), self._pipeline)
        possible = running.scenarios if running else SCENARIOS
        number, done = len(needed(declaration, chosen, possible)), iter(range(1, SEED_RANGE))

        def progress(line: str) -> None:
            self._progress(f"played {next(done):>2}/{number} {line}")

        played = play(
            declaration,
            chosen,
            new_broker=self.new_broker,
            seed=self.seed,
            progress=progress,
            running=running,
            services=self.config.getoption("--iot2mqtt-services"),
        )
        behind = [r.data["said"] for r in played.transcript if r.kind == "services"]
        origin = Origin(
            connector=declaration.name,
            seed=self.seed,
            services="; pipeline: ".join([self.services, *behind]),
            scenarios=played.durations,
            round_trip=played.round_trip,
        )
        return masked(Transcript(played.transcript, wall=played.transcript.wall, origin=origin))

    def _running(self, declaration: Declaration) -> Attached | None:
        if self._target is None:
            return None
        return Attached(self._target, declaration, rough=self.config.getoption("--iot2mqtt-rough"))

    @staticmethod
    def _chosen(declaration: Declaration, session: pytest.Session) -> list[str]:
        clauses = (
            getattr(item, "clause", None) for item in session.items if getattr(item, "declaration", None) == declaration
        )
        return [clause.id for clause in clauses if clause is not None]

    def _progress(self, line: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or self.config.get_verbosity() < 0:
            return
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(f"  {line}", light=True)

    def ruling(self, declaration: Declaration, clause: Clause) -> Ruling:
        """Return the verdict on one clause, and what it means for the run."""
        played = self._played[declaration.path][1]
        with told(f"in the judge of {clause.id}"):
            verdict = judge(clause, declaration, played)
        missing = [name for name in JUDGES[clause.id].scenarios if name not in played.durations]
        if missing and not attached(played.view) and verdict.outcome in (Outcome.PASS, Outcome.FAIL):
            seen = f"the transcript was recorded without {', '.join(missing)}: record it with this clause"
            verdict = Verdict(Outcome.NOT_RUN, seen=seen)
        ruling = rule(
            verdict,
            level=clause.level,
            expected=declaration.expected_failures.get(clause.id),
            strict=self.config.getoption("--iot2mqtt-strict"),
        )
        self._rulings.setdefault(declaration.path, {})[clause.id] = ruling
        return ruling

    def again(self, nodeid: str = "") -> str:
        """Return the command that judges the same again, from the same folder."""
        services = self.config.getoption("--iot2mqtt-services")
        parts = ["pytest", "--iot2mqtt-conformance", f"--iot2mqtt-seed={self.seed}"]
        parts += [f"--iot2mqtt-services={services}"] if services != "auto" else []
        parts += [f"--iot2mqtt-pipeline={self._pipeline}"] if self._pipeline != "auto" else []
        parts += [f"--iot2mqtt-broker={EXAMPLE}"] if self._target is not None else []
        parts += ["--iot2mqtt-rough"] if self.config.getoption("--iot2mqtt-rough") else []
        parts += ["--iot2mqtt-strict"] if self.config.getoption("--iot2mqtt-strict") else []
        return shlex.join([*parts, nodeid] if nodeid else parts)

    # ------------------------------------------------------------------ pytest's hooks
    def pytest_report_header(self) -> list[str]:
        """Say which services were chosen and why, and the seed."""
        if self._transcript is not None:
            file = self.config.getoption("--iot2mqtt-transcript")
            return [f"iot2mqtt: judges {file} again; nothing is started", f"iot2mqtt: recorded with {self.services}"]
        return [f"iot2mqtt: {self.services}", f"iot2mqtt: --iot2mqtt-seed={self.seed}"]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Give every xdist worker the same seed, and remember where they share what they play."""
        node.workerinput["iot2mqtt_seed"] = self.seed  # type: ignore[attr-defined]
        self._test_run = node.workerinput["testrunuid"]  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show a warning as what it is."""
        if report.when != "call" or dict(report.user_properties).get("iot2mqtt_outcome") != Standing.WARNING:
            return None
        return "warned", "w", ("WARNED", {"yellow": True})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was proved, so that nothing unproved can end in 0; end with what keeps anything from being."""
        properties = dict(report.user_properties)
        if FAULT in properties and not self._worker:
            self._forget()
            pytest.exit(str(properties[FAULT]), returncode=CUT_SHORT)
        outcome = properties.get("iot2mqtt_outcome")
        if report.when != "call" or outcome is None:
            return
        self._ran += 1
        self._unproved += outcome == Standing.NOT_RUN
        if "iot2mqtt_clause" in properties:
            self._reported.setdefault(report.fspath, set()).add(str(properties["iot2mqtt_clause"]))
            self._proved += outcome in JUDGED

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Turn a green exit code red where an applicable clause was not judged, or nothing was."""
        nothing = not self._proved if self._reported else not self._ran
        if exitstatus == pytest.ExitCode.OK and (self._unproved or nothing) and not self.config.option.collectonly:
            session.exitstatus = FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the verdicts by area, and write the report; under xdist that is the controller's work."""
        if self._worker:
            return
        try:
            with told("in the summary"):
                self._summarize(terminalreporter)
        except FaultError as error:
            pytest.exit(str(error), returncode=CUT_SHORT)

    def _summarize(self, terminalreporter: pytest.TerminalReporter) -> None:
        self._gather()
        names = files.names([declaration.name for declaration, _ in self._played.values()])
        for name, (path, (declaration, played)) in zip(names, self._played.items(), strict=True):
            rulings = self._rulings.get(path, {})
            again = f"{self.again()} --iot2mqtt-connector={shlex.quote(str(declaration.path))}"
            services = played.transcript.origin.services
            judged = Judged(declaration.name, played, rulings, self.seed, services, again)
            terminalreporter.section("IoT2MQTT conformance")
            for line in summary(judged):
                terminalreporter.write_line(line)
            if self._folder is not None:
                self._write(terminalreporter, self._folder, name, judged)

    def _gather(self) -> None:
        """Under xdist the workers have played: read their transcripts, and judge the same clauses from them."""
        if self._test_run is None:
            return
        for path, declaration in self.declarations.items():
            transcript = self._transcript or read(self._test_run, declaration.path)
            if transcript is None:
                continue
            self._keep(declaration, transcript)
            reported = {
                clause
                for file, ids in self._reported.items()
                if (self.config.rootpath / file).resolve() == path
                for clause in ids
            }
            for clause in self.clauses:
                if clause.id in reported:
                    self.ruling(declaration, clause)
        self._forget()

    def _forget(self) -> None:
        """Remove what the workers have shared."""
        if self._test_run is not None:
            shutil.rmtree(folder_of(self._test_run), ignore_errors=True)

    @staticmethod
    def _write(terminalreporter: pytest.TerminalReporter, folder: Path, name: str, judged: Judged) -> None:
        try:
            paths = files.write(folder, name, judged)
        except OSError as error:
            pytest.exit(f"the report cannot be written to {folder}: {error.strerror}", returncode=CUT_SHORT)
        terminalreporter.write_line(f"report: {', '.join(map(str, paths))}")
