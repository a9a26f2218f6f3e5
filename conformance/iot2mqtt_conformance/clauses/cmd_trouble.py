"""I2M-CMD-14 to 16: devices that fail, and devices that do not answer."""

from iot2mqtt_conformance.clauses.commanded import (
    deliveries,
    first_response,
    refusal,
    responses,
    status_of,
    stopped_short,
)
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import Strike, slack, strike
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import COMMAND_TIMEOUT, HELD_UP
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Outcome, Verdict, failed, passed
from iot2mqtt_conformance.view import Run, View

GRACE = 0.5
"""Seconds after its limit in which a command must have been answered."""

EARLY = 0.1
"""Seconds by which a command may be given up before its limit."""


def _delivered(run: Run, sent: Record) -> Record:
    """Return when the connector was given a command; where the wire does not say, when it was sent."""
    return deliveries(run, sent.data["suffix"]).get(sent.data["id"], sent)


def _trouble(view: View, declaration: Declaration, scenario: str, stimulus: str) -> Strike | Verdict:
    """Return what a stimulus did; a connector that takes no commands is not asked, nor a device that takes none."""
    reason = declaration.missing_need("commands") or _nothing_to_command(declaration, scenario, stimulus)
    return Verdict(Outcome.NOT_APPLICABLE, seen=reason) if reason else strike(view, scenario, stimulus)


def _nothing_to_command(declaration: Declaration, scenario: str, stimulus: str) -> str | None:
    """Return why no command can be sent to the device in trouble, or to another one beside it; None where it can."""
    if stimulus not in declaration.stimuli:
        return None
    struck = declaration.struck(stimulus)
    able = {device.id for device in declaration.devices if declaration.switch_of(device)}
    if struck not in able:
        return f"{struck}, which {stimulus} acts on, is not declared with two values of a writable property"
    return f"no device but {struck} can be commanded" if scenario == "trouble.beside" and able == {struck} else None


def _sent(found: Strike, probe: str) -> Record | Verdict:
    """Return what was sent after a stimulus, or the failure where the declaration names no device to send it to."""
    sent = found.run.sent(probe)
    if sent:
        return sent[0]
    return failed(
        f"[[devices]] entries with two values of a writable property for {found.device} and for another device",
        f"no device for the probe {probe}",
        at=[found.begin],
        hint="declare them in conformance.toml, so that the devices can be commanded",
    )


@judges("I2M-CMD-14", "trouble")
def the_timeout_bounds_a_command(view: View, declaration: Declaration) -> Verdict:
    """A command with a timeout of 500 ms for a device that does not answer: the code timeout, in time."""
    found = _trouble(view, declaration, "trouble.timeout", "device_slow")
    if isinstance(found, Verdict):
        return found
    sent = _sent(found, "slow_timeout")
    if isinstance(sent, Verdict):
        return sent
    answer = refusal(found.run, sent, ("timeout",))
    if isinstance(answer, Verdict):
        return answer
    given = _delivered(found.run, sent)
    took = answer.record.t - given.t
    limit = COMMAND_TIMEOUT / 1000 + GRACE + slack(view)
    if took > limit:
        return failed(
            f"a response with the code timeout within 500 ms of the timeout of {COMMAND_TIMEOUT} ms",
            f"it came after {took * 1000:.0f} ms (with this machine and connection, {limit * 1000:.0f} ms are allowed)",
            at=[given, answer.record],
            hint="watch the time of a command beside what carries it out, not after it",
        )
    # Whoever reckons from the command's own timestamp begins a little before it is delivered.
    early = answer.record.t - sent.t
    if early < COMMAND_TIMEOUT / 1000 - EARLY:
        return failed(
            f"a response with the code timeout once the timeout of {COMMAND_TIMEOUT} ms is over",
            f"it came {early * 1000:.0f} ms after the command",
            at=[sent, given, answer.record],
            hint="let a command have the time that its `timeout` gives it, whatever the device's own limit is",
        )
    return passed([given, answer.record])


@judges("I2M-CMD-15", "trouble")
def a_failed_command_is_told_to_all(view: View, declaration: Declaration) -> Verdict:
    """A command for a failing device: status error in the response, and a message on the device's error topic."""
    found = _trouble(view, declaration, "trouble.failing", "device_fails")
    if isinstance(found, Verdict):
        return found
    sent = _sent(found, "failing_command")
    if isinstance(sent, Verdict):
        return sent
    answer = refusal(found.run, sent)
    if isinstance(answer, Verdict):
        return answer
    told = next(iter(found.after("error")), None)
    if told is None:
        return failed(
            f"a message on devices/{found.device}/error about the command that failed",
            "none",
            at=[sent, answer.record],
            hint="others than the sender of the command want to know as well",
        )
    return passed([sent, answer.record, told.record])


@judges("I2M-CMD-16", "trouble")
def a_slow_device_holds_up_no_other(view: View, declaration: Declaration) -> Verdict:
    """While one device does not answer, a command for another one is carried out."""
    found = _trouble(view, declaration, "trouble.beside", "device_slow")
    if isinstance(found, Verdict):
        return found
    slow, quick = _sent(found, "slow_command"), _sent(found, "beside_slow")
    if isinstance(slow, Verdict):
        return slow
    if isinstance(quick, Verdict):
        return quick
    return _held_up(found, slow, quick) or passed([slow, quick, *_answers(found.run, quick)])


def _answers(run: Run, sent: Record) -> list[Record]:
    return [answer.record for answer in responses(run, sent.data["id"])]


def _held_up(found: Strike, slow: Record, quick: Record) -> Verdict | None:
    """Return the failure where a command had to wait for the one to the slow device, None where it had not."""
    given = _delivered(found.run, slow)
    end = found.run.steps("beside_end")
    if not end:
        return stopped_short(found.run, "beside_end")
    # A command that is still under way when the launch ends may be answered or refused then, however soon that is.
    held = next((p for p in responses(found.run, slow.data["id"]) if p.record.i < end[0].i), None)
    if held is not None and held.record.t - given.t < HELD_UP:
        return failed(
            f"{found.device} made slow by the stimulus device_slow",
            f"a response after {(held.record.t - given.t) * 1000:.0f} ms: {held.text}",
            at=[given, held.record],
            hint="let device_slow make the device answer nobody for some seconds",
        )
    answer = first_response(found.run, quick.data["id"])
    expected = f"a command for {quick.data['device']} carried out while {found.device} does not answer"
    if answer is None or status_of(answer) != "success":
        return failed(expected, (answer.text or "") if answer else "no response", at=[given, quick])
    if held is not None and held.record.i < answer.record.i:
        return failed(
            expected,
            f"it was answered {answer.record.t - given.t:.1f} s later, after the slow one",
            at=[given, held.record, answer.record],
            hint="give every device a queue of its own, and carry nothing out in the callback of the network",
        )
    return None
