"""I2M-LIFE: life cycle."""

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import EXIT_LIMIT, RECOVERY
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import View


def _ends_by(view: View, declaration: Declaration, name: str) -> Verdict:
    run = view.run(f"shutdown.{name.lower()}")
    signalled = run.first("proc.signal") if run else None
    if run is None or signalled is None:
        return failed("a connector that is online before it is stopped", "none")
    limit = min(EXIT_LIMIT, declaration.stop_deadline)
    interval = run.facts["interval"]
    expected = f"the end of the process with code 0 within {limit:.0f} s of {name}, at update_interval {interval:.0f}"
    late = run.steps("timeout", what="the end of the process")
    ended = run.first("proc.exit")
    if late or ended is None:
        return failed(
            expected,
            "it was still running",
            at=[signalled, *late],
            hint="wait for the next poll with a wait that the signal ends",
        )
    if ended.data["code"] != 0:
        return failed(
            expected,
            f"exit code {ended.data['code']}",
            at=[signalled, ended],
            hint="handle the signal and leave by the normal way",
        )
    return passed([signalled, ended])


@judges("I2M-LIFE-01", "shutdown")
def sigterm_ends_it(view: View, declaration: Declaration) -> Verdict:
    """SIGTERM: exit code 0 in time."""
    return _ends_by(view, declaration, "SIGTERM")


@judges("I2M-LIFE-02", "shutdown")
def sigint_ends_it(view: View, declaration: Declaration) -> Verdict:
    """SIGINT: exit code 0 in time."""
    return _ends_by(view, declaration, "SIGINT")


@judges("I2M-LIFE-05", "restart")
def comes_back_after_a_broker_restart(view: View, declaration: Declaration) -> Verdict:
    """Online, answering and publishing within 10 s of the broker's return."""
    run = view.run("restart")
    back = run.steps("broker_back") if run else []
    expected = f"online, subscribed and publishing within {RECOVERY:.0f} s of the broker's return"
    if run is None or not back:
        return failed(expected, "the connector was not online before the broker stopped")
    after = [p for p in run.onlines if p.record.i > back[0].i]
    if not after:
        return failed(
            expected,
            "no `online`",
            at=[*run.steps("broker_down"), *back],
            hint="try again for as long as it takes, at most some seconds apart",
        )
    late = [r for r in run.steps("timeout") if r.i > back[0].i]
    if late:
        return failed(
            expected, f"online, but in vain waited for {late[0].data['what']}", at=[*back, after[0].record, *late]
        )
    states = [next(p.record for p in run.states(device) if p.record.i > back[0].i) for device in declaration.enabled]
    return passed([*back, after[0].record, *states])
