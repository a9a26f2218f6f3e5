"""One run of the suite: services, what was played for each connector, verdicts, summary and exit code."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iot2mqtt_conformance.declaration import Declaration, DeclarationError, load
from iot2mqtt_conformance.judging import CutShortError, judge, judged, play
from iot2mqtt_conformance.report import files
from iot2mqtt_conformance.report.terminal import Judged, as_json, summary
from iot2mqtt_conformance.services.base import ServiceError
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.sharing import folder_of, read, shared
from iot2mqtt_conformance.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from iot2mqtt_conformance.contract import Clause
    from iot2mqtt_conformance.judging import Played

CUT_SHORT = 3
FAILED = 1
SEED_RANGE = 2**31


def _chosen_clauses(glob: str) -> list[Clause]:
    chosen = [clause for clause in judged() if fnmatch(clause.id, glob)]
    if not chosen:
        raise pytest.UsageError(f"--iot2mqtt-clauses={glob} fits no clause that this version judges")
    return chosen


def _declarations(arguments: list[str]) -> dict[Path, Declaration]:
    paths = [Path(argument.partition("::")[0]) for argument in arguments]
    try:
        return {path.resolve(): load(path) for path in paths if path.suffix == ".toml"}
    except DeclarationError as error:
        raise pytest.UsageError(str(error)) from None


class Suite:
    """Plays each connector once, whatever the order of items, and judges from what was seen."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        given = config.getoption("--iot2mqtt-seed")
        worker = getattr(config, "workerinput", None)
        self.seed: int = worker["iot2mqtt_seed"] if worker else random.randrange(SEED_RANGE) if given is None else given
        self._played: dict[Path, tuple[Declaration, Played, float]] = {}
        self._verdicts: dict[Path, dict[str, Verdict]] = {}
        self.clauses = _chosen_clauses(config.getoption("--iot2mqtt-clauses"))
        self.declarations = _declarations(config.args)
        self._test_run: str | None = worker["testrunuid"] if worker else None
        self._reported: dict[str, set[str]] = {}
        self._run = 0
        self._unproved = 0
        try:
            self.new_broker, self.services = choose(config.getoption("--iot2mqtt-services"))
        except ServiceError as error:
            pytest.exit(str(error), returncode=CUT_SHORT)

    def wants(self, path: Path) -> bool:
        """Whether a file is one of the declarations that were asked for."""
        return path.resolve() in self.declarations

    # ------------------------------------------------------------------ playing and judging
    def played(self, declaration: Declaration, session: pytest.Session) -> Played:
        """Return what happened with a connector, playing its scenarios at the first call."""
        found = self._played.get(declaration.path)
        if found is not None:
            return found[1]
        chosen = self._chosen(declaration, session)
        began = time.monotonic()
        try:
            played = (
                shared(self._test_run, declaration.path, lambda: self._play(declaration, chosen))
                if self._test_run
                else self._play(declaration, chosen)
            )
        except (ServiceError, CutShortError) as error:
            pytest.exit(str(error), returncode=CUT_SHORT)
        self._played[declaration.path] = (declaration, played, time.monotonic() - began)
        return played

    def _play(self, declaration: Declaration, chosen: list[str]) -> Played:
        return play(declaration, chosen, new_broker=self.new_broker, seed=self.seed, progress=self._progress)

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
            reporter.write_line(f"  played {line}", light=True)

    def verdict(self, declaration: Declaration, clause: Clause) -> Verdict:
        """Return the verdict on one clause."""
        verdict = judge(clause, declaration, self._played[declaration.path][1])
        self._verdicts.setdefault(declaration.path, {})[clause.id] = verdict
        return verdict

    # ------------------------------------------------------------------ pytest's hooks
    def pytest_report_header(self) -> list[str]:
        """Say which services were chosen and why, and the seed."""
        return [f"iot2mqtt: {self.services}", f"iot2mqtt: --iot2mqtt-seed={self.seed}"]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Give every xdist worker the same seed, and remember where they share what they play."""
        node.workerinput["iot2mqtt_seed"] = self.seed  # type: ignore[attr-defined]
        self._test_run = node.workerinput["testrunuid"]  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was proved, so that nothing unproved can end in 0."""
        properties = dict(report.user_properties)
        outcome = properties.get("iot2mqtt_outcome")
        if "iot2mqtt_clause" in properties:
            self._reported.setdefault(report.fspath, set()).add(str(properties["iot2mqtt_clause"]))
        if report.when == "call" and outcome is not None:
            self._run += outcome in (Outcome.PASS.value, Outcome.FAIL.value)
            self._unproved += outcome == Outcome.NOT_RUN.value

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Turn a green exit code red where an applicable clause was not judged, or nothing was."""
        if (
            exitstatus == pytest.ExitCode.OK
            and (self._unproved or not self._run)
            and not self.config.option.collectonly
        ):
            session.exitstatus = FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the verdicts by area, and write the report; under xdist that is the controller's work."""
        if hasattr(self.config, "workerinput"):
            return
        folder = self.config.getoption("--iot2mqtt-report")
        self._gather()
        for path, (declaration, played, seconds) in self._played.items():
            judged = Judged(declaration.name, played, self._verdicts.get(path, {}), seconds)
            terminalreporter.section("IoT2MQTT conformance")
            for line in summary(judged):
                terminalreporter.write_line(line)
            if folder:
                self._write(terminalreporter, Path(folder), judged)

    def _gather(self) -> None:
        """Under xdist the workers have played: read their transcripts, and judge the same clauses from them."""
        if self._test_run is None:
            return
        for path, declaration in self.declarations.items():
            played = read(self._test_run, path)
            if played is None:
                continue
            self._played[declaration.path] = (declaration, played, sum(played.durations.values()))
            reported = {
                c
                for file, ids in self._reported.items()
                if (self.config.rootpath / file).resolve() == path
                for c in ids
            }
            for clause in self.clauses:
                if clause.id in reported:
                    self.verdict(declaration, clause)
        shutil.rmtree(folder_of(self._test_run), ignore_errors=True)

    def _write(self, terminalreporter: pytest.TerminalReporter, folder: Path, judged: Judged) -> None:
        report = as_json(judged, seed=self.seed, services=self.services)
        try:
            paths = files.write(folder, judged.name, report, judged.played.transcript)
        except OSError as error:
            pytest.exit(f"the report cannot be written to {folder}: {error.strerror}", returncode=CUT_SHORT)
        terminalreporter.write_line(f"report: {', '.join(map(str, paths))}")
