"""I2M-STATUS: status and last will."""

from iot2mqtt_conformance.clauses import saying
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.sub import required
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Run, View, given_up, listening_connections, matches


@judges("I2M-STATUS-01", "boot", "reconnect")
def connect_carries_the_will(view: View, _declaration: Declaration) -> Verdict:
    """Every CONNECT, but of who never listens beside one who does, has it: topic, `offline`, QoS 1, retained."""
    evidence = []
    for run in view.runs():
        wanted = {"topic": f"{run.facts['root']}/status", "payload": "offline", "qos": 1, "retain": True}
        listening = listening_connections(run.records)
        for packet in run.packets("CONNECT"):
            # One that never listens beside one that does: whoever loses such a connection is not offline.
            if listening and packet.data["conn"] not in listening:
                continue
            will = packet.data.get("will")
            seen = {key: will.get(key) for key in wanted} if will else None
            if seen != wanted:
                return failed(
                    f"a last will {wanted}", f"last will {seen}", at=[packet], hint="set the will before connecting"
                )
            evidence.append(packet)
    return passed(evidence)


@judges("I2M-STATUS-02", "boot")
def online_is_published_retained(view: View, _declaration: Declaration) -> Verdict:
    """`online` goes to the status topic at QoS 1, retained."""
    boot = view.run("boot")
    if boot is None or not boot.onlines:
        return failed("`online` on the status topic", "none")
    wrong = next((p for run in view.runs() for p in run.onlines if p.qos != 1 or not p.retain), None)
    if wrong is not None:
        return failed(
            "`online` at QoS 1, retained",
            f"QoS {wrong.qos}, {'' if wrong.retain else 'not '}retained",
            at=[wrong.record],
        )
    return passed(p.record for run in view.runs() for p in run.onlines)


@judges("I2M-STATUS-03", "boot", "variants")
def online_means_ready(view: View, declaration: Declaration) -> Verdict:
    """Before each `online` the subscriptions are acknowledged, and a command sent at once is answered."""
    evidence = []
    sessions: dict[str, list[str]] = {}
    for run in view.runs():
        early = _early_online(run, declaration, sessions)
        if early is not None:
            record, missing = early
            return failed(
                "`online` after the broker has acknowledged all required subscriptions",
                f"`online` while {missing} is not subscribed",
                at=[record],
                hint="publish `online` from the SUBACK handler, not right after connecting",
            )
        evidence += [p.record for p in run.onlines]
    boot = view.run("boot")
    asked = boot.sent("first") if boot else []
    late = (
        boot.steps("timeout", what="the response to first") + boot.steps("timeout", what="the answer to first")
        if boot
        else []
    )
    if not asked or late:
        return failed("an answer to what was sent the moment `online` arrived", "none", at=[*asked, *late])
    return passed([*evidence, *asked])


def _early_online(run: Run, declaration: Declaration, sessions: dict[str, list[str]]) -> tuple[Record, str] | None:
    """Return the first `online` that comes before a required subscription, and that subscription.

    Args:
        run: The launch.
        declaration: The connector.
        sessions: The filters of each client in its last connection, of this launch or an earlier one.
    """
    clients: dict[int, str] = {}
    asked: dict[tuple[int, int], list[str]] = {}
    held: dict[int, list[str]] = {}
    onlines = {p.record.i for p in run.onlines}
    # What the launch never asks for is told by the I2M-SUB clauses; here only the order counts.
    ever = [entry["filter"] for packet in run.packets("SUBSCRIBE") for entry in packet.data["filters"]]
    topics = [topic for topics in required(run, declaration).values() for topic in topics]
    needed = [topic for topic in topics if any(matches(f, topic) for f in ever)]
    for record in run.records:
        data = record.data
        if record.kind == "conn.close":
            held.pop(data["conn"], None)
        if record.kind != "packet":
            continue
        if data["type"] == "CONNECT":
            clients[data["conn"]] = data["client_id"]
        if data["type"] == "CONNACK":
            client = clients.get(data["conn"], "")
            # What a session was subscribed to is in force at once where the broker has kept that session.
            sessions[client] = sessions.get(client, []) if data["session_present"] else []
            held[data["conn"]] = sessions[client]
        if data["type"] == "SUBSCRIBE":
            asked[data["conn"], data["id"]] = [entry["filter"] for entry in data["filters"]]
        if data["type"] == "SUBACK":
            held.setdefault(data["conn"], []).extend(asked.pop((data["conn"], data["id"]), []))
        if record.i in onlines:
            filters = [topic_filter for mine in held.values() for topic_filter in mine]
            missing = next((t for t in needed if not any(matches(f, t) for f in filters)), None)
            if missing is not None:
                return record, missing
    return None


@judges("I2M-STATUS-04", "reconnect")
def online_again_after_reconnection(view: View, _declaration: Declaration) -> Verdict:
    """After the cut, `online` follows, and the broker keeps it."""
    run = view.run("reconnect")
    cut = run.steps("cut") if run else []
    if run is None or not cut:
        return failed("a connector that is online before the connection is cut", "none")
    after = [p for p in run.onlines if p.record.i > cut[0].i]
    if not after:
        again = [r for r in run.packets("CONNECT") if r.i > cut[0].i]
        return failed(
            "`online` again after the connection was cut",
            "a new CONNECT, but no `online`" if again else "no new CONNECT",
            at=[*cut, *again[:1]],
            hint="publish `online` in the handler that runs after every connection, not once at start",
        )
    kept = run.steps("retained_status")
    if not kept or kept[-1].data["payload"] != "online":
        return failed(
            "the retained status `online`", f"{kept[-1].data['payload']!r}" if kept else "nothing", at=[*cut, *kept]
        )
    return passed([*cut, after[0].record, kept[-1]])


@judges("I2M-STATUS-05", "shutdown")
def says_offline_before_leaving(view: View, _declaration: Declaration) -> Verdict:
    """After the signal: PUBLISH offline, its PUBACK, DISCONNECT; no connection is just dropped."""
    evidence = []
    for run in view.runs("shutdown"):
        signalled = run.first("proc.signal")
        if signalled is None:
            return failed("a connector that is online before it is stopped", f"none in the launch {run.name}")
        name = signalled.data["signal"]
        expected = f"after {name}: `offline` (QoS 1, retained), its PUBACK, then DISCONNECT"
        said = [p for p in run.published("status") if p.record.i > signalled.i and p.text == "offline"]
        good = [p for p in said if p.qos == 1 and p.retain]
        if not good:
            return failed(
                expected,
                "`offline` with other flags" if said else "no `offline`",
                at=[signalled, *(p.record for p in said)],
            )
        last = good[-1].record
        acknowledged = next(
            (
                r
                for r in run.packets("PUBACK", "b2c")
                if r.i > last.i and (r.data["conn"], r.data["id"]) == (last.data["conn"], last.data["id"])
            ),
            None,
        )
        left = next(
            (r for r in run.packets("DISCONNECT") if r.data["conn"] == last.data["conn"] and r.i > last.i), None
        )
        if left is None:
            return failed(expected, "the connection was dropped without DISCONNECT", at=[signalled, last])
        if acknowledged is None or left.i < acknowledged.i:
            return failed(expected, "DISCONNECT before the PUBACK", at=[signalled, last, left])
        dropped = next(
            (r for r in run.records if r.kind == "conn.close" and r.i > signalled.i and not r.data["clean"]), None
        )
        if dropped is not None:
            return failed(expected, "a connection was dropped without DISCONNECT", at=[signalled, dropped])
        evidence += [signalled, last, acknowledged, left]
    return passed(evidence)


@judges("I2M-STATUS-06", "kill")
def killed_is_offline(view: View, _declaration: Declaration) -> Verdict:
    """After SIGKILL the broker keeps `offline`."""
    run = view.run("kill")
    kept = run.steps("retained_status") if run else []
    if run is None or not kept:
        return failed("a connector that is online before it is killed", "none")
    if kept[0].data["payload"] != "offline":
        return failed(
            "the retained status `offline` after SIGKILL",
            f"the retained status {kept[0].data['payload']!r}",
            at=[*run.packets("CONNECT")[:1], *kept],
            hint="the last will must be retained and go to the status topic",
        )
    return passed(kept)


@judges("I2M-STATUS-07", "boot", "shutdown")
def status_is_one_of_two_words(view: View, _declaration: Declaration) -> Verdict:
    """Every payload on the status topic is exactly `online` or `offline`."""
    evidence = []
    for run in view.runs():
        for publication in run.published("status"):
            if publication.text not in ("online", "offline"):
                return failed("exactly `online` or `offline`", f"{publication.text!r}", at=[publication.record])
            evidence.append(publication.record)
    return passed(evidence)


@judges("I2M-STATUS-08", "init_fails")
def a_failed_initialisation_is_offline(view: View, _declaration: Declaration) -> Verdict:
    """The retained status is `offline`, and the process has ended with a code of its own, or says what is wrong."""
    run = view.run("init_fails")
    kept = run.steps("retained_status") if run else []
    expected = (
        "after a failed initialisation: the retained status `offline`, and a non-zero exit code or visible retries"
    )
    if run is None or not kept:
        return failed(expected, "no launch whose initialisation fails")
    ended = run.ended_before(kept[0])
    if kept[0].data["payload"] != "offline":
        at = [*(p.record for p in run.onlines[-1:]), *([ended] if ended else []), *kept]
        hint = "publish `online` after the initialisation; if it does come online here, init_fails is declared wrongly"
        return failed(expected, f"the retained status {kept[0].data['payload']!r}", at=at, hint=hint)
    if ended is not None and ended.data["code"] == 0:
        return failed(expected, "exit code 0", at=[ended], hint="end with another code, so that it is started again")
    if ended is None and not run.lines(before=kept[0]):
        return failed(expected, "a process that goes on and prints nothing", at=kept, hint="log every failed attempt")
    return passed([ended or run.lines(before=kept[0])[-1], *kept])


@judges("I2M-STATUS-09", "half_open")
def a_half_open_connection_is_noticed(view: View, _declaration: Declaration) -> Verdict:
    """The connector gives up a connection on which nothing comes any more, in time, and comes back."""
    run = view.run("half_open")
    silence = run.steps("silence") if run else []
    if run is None or not silence:
        return failed("a connector that is online before its connection goes silent", "none")
    limit = 2 * run.facts["keepalive"]
    expected = f"a connection that was silent for {limit} s (twice the keep-alive) given up, and a new one"
    listening = listening_connections(r for r in run.records if r.i < silence[0].i)
    left = next((r for r in run.records if r.i > silence[0].i and given_up(r, listening)), None)
    ended = run.ended_before(run.records[-1]) if not run.steps("half_open_end") else None
    if left is None or left.t - silence[0].t > silence[0].data["limit"]:
        pings = [r for r in run.packets("PINGREQ") if r.i > silence[0].i]
        told = f"{len(pings)} PINGREQ without an answer meanwhile"
        own = left is not None and left.data["by"] == "client"
        after = (left or run.records[-1]).t - silence[0].t
        did = "given up only" if own else "not given up by the connector until"
        took = f"{did} {after:.1f} s after the silence began; {told}"
        hint = (
            f"use MQTT_KEEPALIVE ({run.facts['keepalive']} s here) in CONNECT, send PINGREQ by it, and close the"
            " connection yourself where no PINGRESP comes within that time"
        )
        return failed(expected, took, at=[*silence, *pings[:2], *([left] if left else [])], hint=hint)
    back = next((p for p in run.onlines if p.record.i > left.i), None)
    if back is None:
        again = [r for r in run.packets("CONNECT") if r.i > left.i]
        seen = f"given up after {left.t - silence[0].t:.1f} s, and then "
        seen += saying.ended(ended, left) if ended else "a CONNECT, but no `online`" if again else "no new CONNECT"
        return failed(
            expected,
            seen,
            at=[*silence, left, *again[:1], *([ended] if ended else [])],
            hint="go on as after every other loss of the connection: connect, subscribe, publish `online`",
        )
    return passed([*silence, left, back.record])
