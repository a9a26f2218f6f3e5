"""I2M-IMG: the container image."""

import re
from collections.abc import Iterator
from itertools import chain

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import slack
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import EXIT_LIMIT
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import View

READ_ONLY = ("/app/.env", "/app/instances", "/app/shared")
KILLED = 137
"""The exit code of a process that SIGKILL has ended."""
ROOT = re.compile(r"(root|0)?(:|$)")
LOG_FILE = re.compile(r"/logs?/|\.log(\.|$)")


def _record(view: View, kind: str) -> Record | None:
    return next((r for r in view.transcript.of("image") if r.kind == kind), None)


@judges("I2M-IMG-01", "image")
def runs_on_read_only_mounts(view: View, _declaration: Declaration) -> Verdict:
    """It comes online with the contract's mounts, and writes no log but what it prints."""
    expected = (
        "`online` with /app/instances, /app/shared and /app/.env mounted read-only, and logs on stdout and stderr"
    )
    run, files = view.run("image"), _record(view, "image.files")
    if run is None or not run.onlines or files is None:
        return failed(expected, "no `online`", at=[] if run is None else run.records[-1:])
    bare = sorted(set(READ_ONLY) - set(files.data["mounted"]) | set(files.data["writable"]))
    logs = [path for path in files.data["changed"] if LOG_FILE.search(path)]
    printed = run.first("out")
    if bare:
        return failed(expected, f"not mounted read-only: {', '.join(bare)}", at=[files])
    if logs:
        return failed(expected, f"a log in the container: {', '.join(logs[:5])}", at=[files], hint="print instead")
    if printed is None:
        return failed(expected, "nothing was printed at all", at=[files], hint="log to stderr")
    return passed([run.onlines[0].record, files, printed])


@judges("I2M-IMG-02", "image")
def docker_stop_ends_it(view: View, _declaration: Declaration) -> Verdict:
    """`docker stop` ends it in time, with 0."""
    expected = f"the end with code 0 within {EXIT_LIMIT:.0f} s of `docker stop`"
    run, stopped = view.run("image"), _record(view, "image.stopped")
    if run is None or stopped is None or not run.onlines:
        return failed(expected, "it was not online before it was stopped")
    code, seconds = stopped.data["code"], stopped.data["seconds"]
    if code == KILLED or code is None or seconds > EXIT_LIMIT + slack(view):
        return failed(
            expected,
            f"it had to be killed after {seconds:.1f} s" if code == KILLED else f"still running after {seconds:.1f} s",
            at=[stopped],
            hint='start it with CMD ["program", "argument"], not through a shell, and handle SIGTERM',
        )
    if code != 0:
        return failed(expected, f"exit code {code}", at=[stopped], hint="handle SIGTERM and leave by the normal way")
    return passed([stopped])


@judges("I2M-IMG-03", "image")
def modest_and_healthy(view: View, _declaration: Declaration) -> Verdict:
    """A user of its own, a health check that turns healthy, and no secrets."""
    image, health = _record(view, "image"), _record(view, "image.health")
    if image is None or health is None:
        return failed("a non-root user, a health check that turns healthy, no secrets", "it did not come online")
    complaint = next(chain(_of_the_image(image), _of_its_health(image, health)), None)
    if complaint is None:
        return passed([image, health])
    at, expected, seen, hint = complaint
    return failed(expected, seen, at=[at], hint=hint)


Complaint = tuple[Record, str, str, str]
"""What it is about, what was expected, what was seen, and what to do."""


def _of_the_image(image: Record) -> Iterator[Complaint]:
    user, assigned, files = (image.data[key] for key in ("user", "assigned", "files"))
    if ROOT.match(user):
        yield image, "a non-root user", f"user {user!r}" if user else "no USER, which is root", "USER 10001:10001"
    if assigned:
        seen = f"values of {', '.join(assigned)} in its environment or history"
        yield image, "no secret in the environment or the layers", seen, "secrets are given when it is started"
    if files:
        yield image, "no secret in the layers", f"the files {', '.join(files[:5])}", "name them in .dockerignore"


def _of_its_health(image: Record, health: Record) -> Iterator[Complaint]:
    if not image.data["healthcheck"]:
        yield image, "a HEALTHCHECK", "none", "let it ask whether the connector is online"
    elif health.data["status"] != "healthy":
        seen = f"{health.data['status'] or 'no status'} after {health.data['seconds']:.1f} s"
        said = health.data["said"].strip()
        yield health, "a HEALTHCHECK that turns healthy once it is online", f"{seen}; it said {said!r}", ""
