"""I2M-SUB: subscriptions."""

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.saying import listed
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Run, View, covers, matches


def required(run: Run, declaration: Declaration) -> dict[str, list[str]]:
    """Return the topics that must be subscribed, by the clause that says so."""
    root = run.facts["root"]
    topics = {
        "I2M-SUB-02": [f"{root}/devices/{device}/get" for device in run.enabled],
        "I2M-SUB-04": [f"{root}/meta/request/{name}" for name in ("devices_list", "info", "anything")],
    }
    if "commands" in declaration.features:
        topics["I2M-SUB-01"] = [f"{root}/devices/{device}/cmd" for device in run.enabled]
    if "groups" in declaration.features:
        topics["I2M-SUB-03"] = [f"{root}/groups/{group}/cmd" for group in run.groups or ["anygroup"]]
    return topics


_FILTERS = {
    "I2M-SUB-01": "devices/+/cmd",
    "I2M-SUB-02": "devices/+/get",
    "I2M-SUB-03": "groups/+/cmd",
    "I2M-SUB-04": "meta/request/+",
}
"""The filter below the instance that fits each clause."""


def _subscribed(view: View, declaration: Declaration, clause: str, least_qos: int) -> Verdict:
    boot = view.run("boot")
    if boot is None:
        return failed("subscriptions", "the connector was not launched")
    packets = boot.packets("SUBSCRIBE")
    entries = [entry for packet in packets for entry in packet.data["filters"]]
    for topic in required(boot, declaration)[clause]:
        found = [entry for entry in entries if matches(entry["filter"], topic)]
        if not found:
            filters = sorted({entry["filter"] for entry in entries})
            return failed(
                f"a SUBSCRIBE with a filter that covers {topic}",
                f"{len(packets)} SUBSCRIBE, and none of its filters does: {listed(filters, 'there is no SUBSCRIBE')}",
                at=packets,
                hint=f"subscribe to {boot.facts['root']}/{_FILTERS[clause]} at QoS 1 after each connection",
            )
        if max(entry["qos"] for entry in found) < least_qos:
            return failed(
                f"a subscription to {topic} at QoS {least_qos} or higher",
                f"QoS 0 for {', '.join(entry['filter'] for entry in found)}",
                at=packets,
                hint="ask for QoS 1 in SUBSCRIBE: a command at QoS 0 may get lost",
            )
    return passed(packets)


@judges("I2M-SUB-01", "boot")
def commands_are_subscribed(view: View, declaration: Declaration) -> Verdict:
    """devices/+/cmd at QoS 1."""
    return _subscribed(view, declaration, "I2M-SUB-01", 1)


@judges("I2M-SUB-02", "boot")
def gets_are_subscribed(view: View, declaration: Declaration) -> Verdict:
    """devices/+/get."""
    return _subscribed(view, declaration, "I2M-SUB-02", 0)


@judges("I2M-SUB-03", "boot")
def group_commands_are_subscribed(view: View, declaration: Declaration) -> Verdict:
    """groups/+/cmd."""
    return _subscribed(view, declaration, "I2M-SUB-03", 0)


@judges("I2M-SUB-04", "boot")
def meta_requests_are_subscribed(view: View, declaration: Declaration) -> Verdict:
    """meta/request/+."""
    return _subscribed(view, declaration, "I2M-SUB-04", 0)


@judges("I2M-SUB-05", "boot", "reconnect")
def subscriptions_stay_inside(view: View, declaration: Declaration) -> Verdict:
    """No filter reaches outside the instance's topics, except the declared ones."""
    evidence = []
    for run in view.runs():
        inside = f"{run.facts['root']}/#"
        for packet in run.packets("SUBSCRIBE"):
            for entry in packet.data["filters"]:
                if not any(covers(f, entry["filter"]) for f in (inside, *declaration.extra_topics)):
                    return failed(
                        f"filters below {run.facts['root']}/", f"a subscription to {entry['filter']!r}", at=[packet]
                    )
            evidence.append(packet)
    return passed(evidence)


@judges("I2M-SUB-06", "reconnect", "restart")
def subscribed_again_after_reconnection(view: View, _declaration: Declaration) -> Verdict:
    """What was sent after each reconnection was answered, with the session kept or lost."""
    evidence = []
    for name, begin in (("reconnect", "cut"), ("restart", "broker_back")):
        run = view.run(name)
        began = run.steps(begin) if run else []
        asked = run.sent("after_reconnection") if run else []
        expected = f"an answer to a question asked after `online` had come back (scenario {name})"
        if run is None or not began:
            return failed(expected, "the connector was not online before the disturbance")
        if not asked:
            return failed(
                expected,
                f"no `online` after the connection was lost at {began[0].t:.1f} s",
                at=began,
                hint="connect again, subscribe again, then publish `online`",
            )
        late = [r for r in run.steps("timeout") if r.i > asked[0].i and _is_answer(r.data["what"])]
        if late:
            again = [r for r in run.packets("SUBSCRIBE") if r.i > began[0].i]
            filters = sorted({entry["filter"] for packet in again for entry in packet.data["filters"]})
            return failed(
                expected,
                f"no answer within {late[0].data['seconds']:.1f} s to what was sent on {asked[0].data['suffix']} at"
                f" {asked[0].t:.1f} s; subscribed since the connection was lost: {listed(filters, 'nothing')}",
                at=[*began, *again, *asked, *late],
                hint="subscribe to everything again in the handler that runs after every connection, before `online`;"
                " do not rely on a session that the broker has kept",
            )
        evidence += [*began, *asked]
    return passed(evidence)


def _is_answer(what: str) -> bool:
    """Whether what was waited for answers one of the questions after a reconnection."""
    return "after_reconnection" in what or what == "meta/info"
