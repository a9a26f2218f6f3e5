"""I2M-GROUP: commands for several devices at once."""

from iot2mqtt_conformance.clauses.commanded import (
    first_after,
    never_heard,
    never_online,
    responses,
    showing,
    stopped_short,
    success_of,
)
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import DISABLED, UNKNOWN
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, Run, View


def _members(run: Run | None) -> Record | None:
    """Return the note on who belongs to the groups, None where the scenario did not get so far."""
    notes = run.steps("members") if run else []
    return notes[0] if notes else None


def _all_show(run: Run, sent: Record, members: list[str], before: int) -> list[Record] | Verdict:
    """Return the states in which all members show what a group command asked for, or the failure."""
    evidence = [sent]
    name, value = next(iter(sent.data["values"].items()))
    for device in members:
        shown = showing(run.states(device), name, value, after=sent.i, before=before)
        if shown is None:
            states = [p.record for p in run.states(device) if sent.i < p.record.i < before]
            return failed(
                f"the command on {sent.data['suffix']} applied to {device}: a state with {name} = {value!r}",
                f"{len(states)} states of it, none with this value" if states else "no state of it",
                at=[sent, *states],
                hint="carry a group command out for each enabled member as if it had been sent to it",
            )
        evidence.append(shown.record)
    return evidence


def _end_of(run: Run, probe: str) -> int:
    """Return the index of the first send under a probe's name, or the end of the launch."""
    sent = run.sent(probe)
    return sent[0].i if sent else run.records[-1].i + 1


@judges("I2M-GROUP-01", "groups")
def every_member_obeys_and_nobody_else(view: View, _declaration: Declaration) -> Verdict:
    """All members of a group change; with a group of one, only that one does."""
    run = view.run("groups")
    note = _members(run)
    if run is None or note is None:
        return never_online()
    members, whole, single = note.data["members"], run.sent("group_all"), run.sent("group_one")
    if not whole or not single:
        return stopped_short(run, "groups_end") or never_online()
    evidence: list[Record] = []
    for sent, obeying, end in ((whole[0], members, "group_one"), (single[0], members[:1], "group_one_seen")):
        shown = _all_show(run, sent, obeying, _end_of(run, end))
        if isinstance(shown, Verdict):
            return shown
        evidence += shown
    asked = run.sent("group_one_seen")
    last = _end_of(run, "group_unknown")
    name, value = next(iter(single[0].data["values"].items()))
    for device in members[1:]:
        question = next((r for r in asked if r.data["device"] == device), None)
        seen = first_after(run, device, question) if question else None
        if seen is None:
            return failed(f"a state of {device}, which is in no group that was commanded last", "none", at=single)
        stray = showing(run.states(device), name, value, after=single[0].i, before=last)
        if stray is not None:
            return failed(
                f"{device} unchanged by the command on {single[0].data['suffix']}, a group it does not belong to",
                f"{name} = {value!r}",
                at=[single[0], stray.record],
            )
        evidence.append(seen.record)
    return passed(evidence)


@judges("I2M-GROUP-02", "groups")
def strangers_are_skipped(view: View, _declaration: Declaration) -> Verdict:
    """A disabled and an unknown member keep nobody else from obeying; a command for an unknown group does nothing."""
    run = view.run("groups")
    note = _members(run)
    whole = run.sent("group_all") if run else []
    if run is None or note is None or not whole:
        return never_online()
    members = note.data["members"]
    shown = _all_show(run, whole[0], members, _end_of(run, "group_one"))
    if isinstance(shown, Verdict):
        return shown
    stray = next((p for p in run.publications if _is_state_of_stranger(p)), None)
    if stray is not None:
        return failed(
            f"no state of {DISABLED}, which is disabled, or {UNKNOWN}, which is not configured",
            f"{stray.text} on {stray.topic}",
            at=[whole[0], stray.record],
        )
    unknown = run.sent("group_unknown")
    if not unknown:
        return stopped_short(run, "groups_end") or never_online()
    quiet = _nothing_changed(run, unknown[0], members, "group_unknown")
    return quiet if isinstance(quiet, Verdict) else passed([*shown, *quiet])


def _is_state_of_stranger(publication: Publication) -> bool:
    levels = publication.levels
    told = levels[:1] == ["devices"] and levels[2:3] == ["state"] and not publication.clears
    return told and levels[1] in (DISABLED, UNKNOWN)


def _nothing_changed(run: Run, sent: Record, members: list[str], probe: str) -> Verdict | list[Record]:
    """Return the evidence that a group command changed no member and harmed nothing, or the failure."""
    name, value = next(iter(sent.data["values"].items()))
    executed = success_of(run, sent.data["id"])
    about = f"the command on {sent.data['suffix']}" + (f" of {stamp}" if (stamp := sent.data["timestamp"]) else "")
    if executed is not None:
        return failed(f"{about} not executed", f"the response {executed.text}", at=[sent, executed.record])
    evidence = [sent]
    for device in members:
        barrier = next((r for r in run.sent(f"{probe}_barrier_device") if r.data["device"] == device), None)
        asked = next((r for r in run.sent(f"{probe}_after") if r.data["device"] == device), None)
        seen = first_after(run, device, asked) if asked else None
        if barrier is None or seen is None or not responses(run, barrier.data["id"]):
            at = [sent, *([barrier] if barrier else []), *run.steps("timeout")[-1:]]
            return failed(f"a command for {device} answered after {about}", "no response, or no state", at=at)
        stray = showing(run.states(device), name, value, after=sent.i, before=seen.record.i + 1)
        if stray is not None:
            return failed(f"{device} unchanged by {about}", f"{name} = {value!r}", at=[sent, stray.record])
        evidence.append(seen.record)
    return evidence


@judges("I2M-GROUP-03", "groups")
def stale_group_commands_are_not_executed(view: View, _declaration: Declaration) -> Verdict:
    """Older than 30 s: no member changes; of 25 s: all do."""
    run = view.run("groups")
    note = _members(run)
    if run is None or note is None:
        return never_online()
    members = note.data["members"]
    old = [r for r in run.steps("send") if _is_old(r)]
    fresh = run.sent("group_fresh_25")
    evidence: list[Record] = []
    for sent in old:
        quiet = _nothing_changed(run, sent, members, sent.data["probe"])
        if isinstance(quiet, Verdict):
            return quiet
        evidence += quiet
    if not old or not fresh:
        return stopped_short(run, "groups_end") or never_online()
    shown = _all_show(run, fresh[0], members, _end_of(run, "group_refused"))
    return shown if isinstance(shown, Verdict) else passed([*evidence, *shown])


def _is_old(sent: Record) -> bool:
    probe: str = sent.data["probe"]
    return probe.startswith("group_old_") and "timestamp" in sent.data and probe.count("_") == 2  # noqa: PLR2004


@judges("I2M-GROUP-04", "groups", "trouble")
def group_commands_are_answered_once(view: View, declaration: Declaration) -> Verdict:
    """One response of the right form: success of all, error where none obeys, partial where one member fails."""
    run = view.run("groups")
    note = _members(run)
    if run is None or note is None:
        return never_online()
    probes = [(run, "group_all", "success"), (run, "group_refused", "error"), (run, "group_unknown", "error")]
    failing = view.run("trouble.failing")
    together = declaration.grouped
    struck = declaration.struck("device_fails") if "device_fails" in declaration.stimuli else None
    if failing is not None and together is not None and struck in [device.id for device in together[0]]:
        probes.append((failing, "group_partial", "partial"))
    evidence: list[Record] = []
    for launch, probe, status in probes:
        members = [] if probe == "group_unknown" else note.data["members"]
        answered = _answered(launch, probe, status, members)
        if isinstance(answered, Verdict):
            return answered
        evidence += answered
    return passed(evidence)


def _answered(run: Run, probe: str, status: str, members: list[str]) -> Verdict | list[Record]:
    """Return the evidence that a group command got the one response that it should, or the failure."""
    sent = run.sent(probe)
    if not sent:
        return failed(
            "a connector that goes on answering to the end of the scenario", "it did not", at=run.records[-3:]
        )
    order = sent[0]
    if probe == "group_unknown" and never_heard(run, order):
        return []
    who = ", ".join(members) or "nobody"
    expected = (
        f"one response to {order.data['id']} on {order.data['suffix']}/response:"
        f" status {status} and results of {who}; not retained"
    )
    answers = responses(run, order.data["id"])
    fault = _fault(order, answers, status, members)
    at = [order, *(p.record for p in answers)]
    if fault is not None:
        hint = "answer a group command once, when the last member is done, with what came of it for each member"
        return failed(expected, fault, at=at, hint=hint)
    return at


def _fault(order: Record, answers: list[Publication], status: str, members: list[str]) -> str | None:
    """Return what is wrong with the answers to a group command."""
    if len(answers) != 1:
        return f"{len(answers)} responses"
    answer = answers[0]
    fault = schema_fault("group_response", answer.value)
    if fault is not None:
        return f"{answer.text}: {fault}"
    if answer.suffix != f"{order.data['suffix']}/response":
        return f"one on {answer.topic}"
    if answer.retain:
        return "a retained one: publish responses with retain off"
    results = answer.value["results"]
    good = [device for device, result in results.items() if result["status"] == "success"]
    # Of a partial success it is the failing device alone that has not obeyed.
    right = {"success": len(members), "error": 0, "partial": len(members) - 1}[status]
    # What is refused as a whole, with a reason, was not given to any member.
    as_a_whole = status == "error" and not results and bool(answer.value.get("error"))
    told = as_a_whole or (set(results) == set(members) and len(good) == right)
    if answer.value["status"] != status or not told:
        return f"status {answer.value['status']} and results {results}"
    return None
