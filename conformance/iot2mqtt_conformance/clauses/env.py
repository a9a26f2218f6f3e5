"""I2M-ENV: environment and configuration."""

from iot2mqtt_conformance.clauses import saying
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import PREFIX
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Run, View, covers, matches


@judges("I2M-ENV-01", "boot", "get")
def topics_use_the_environment(view: View, declaration: Declaration) -> Verdict:
    """Every published topic and subscribed filter begins with the instance's own root."""
    evidence = []
    for run in view.runs():
        root = f"{run.facts['root']}/"
        extra = [*declaration.extra_topics, f"{run.facts['base']}/v1/global/events"]
        for publication in run.publications:
            if not publication.topic.startswith(root) and not any(matches(f, publication.topic) for f in extra):
                return failed(
                    f"topics below {root} only",
                    f"a message on {publication.topic}",
                    at=[publication.record],
                    hint="build every topic from MQTT_BASE_TOPIC and INSTANCE_NAME; a fixed root is in use here",
                )
            evidence.append(publication.record)
        for packet in run.packets("SUBSCRIBE"):
            for entry in packet.data["filters"]:
                if not entry["filter"].startswith(root) and not any(covers(f, entry["filter"]) for f in extra):
                    return failed(f"filters below {root} only", f"a subscription to {entry['filter']}", at=[packet])
            evidence.append(packet)
    return passed(evidence)


@judges("I2M-ENV-02", "boot", "variants")
def connects_to_the_given_address_only(view: View, _declaration: Declaration) -> Verdict:
    """The CONNECT arrives at the proxy, and nobody calls the address that stands in .env only."""
    for run in view.runs():
        called = run.first("decoy.called")
        if called is not None:
            return failed(
                f"connections to MQTT_HOST:MQTT_PORT of the process environment (port {run.facts['port']}) only",
                "a connection to another address, which stands in the .env file only",
                at=[called],
                hint="the process environment wins over .env",
            )
    decoy = view.run("variants.decoy")
    if decoy is None or not decoy.onlines:
        return failed("`online` through MQTT_HOST:MQTT_PORT beside a .env with another address", "no `online`")
    return passed(packet for run in view.runs() for packet in run.packets("CONNECT"))


@judges("I2M-ENV-03", "boot", "variants")
def presents_the_credentials(view: View, _declaration: Declaration) -> Verdict:
    """User name and password of CONNECT are those of the environment, and absent where that has none."""
    evidence = []
    # A connector that calls the decoy instead has no CONNECT to look at there, and that is I2M-ENV-02's affair.
    for run in [*view.runs("boot"), *(r for r in view.runs("variants") if r.name != "variants.decoy")]:
        connects = run.packets("CONNECT")
        wanted = (run.facts["username"] or None, run.facts["password"] or None)
        if not connects:
            return failed(f"a CONNECT with user name {wanted[0]!r}", "no CONNECT", at=run.records[:1])
        for packet in connects:
            seen = (packet.data.get("username"), packet.data.get("password"))
            if seen != wanted:
                return failed(
                    f"a CONNECT with {_credentials(*wanted)}",
                    f"{_credentials(*seen)}{', another one' if _credentials(*seen) == _credentials(*wanted) else ''}",
                    at=[packet],
                    hint="present each of MQTT_USERNAME and MQTT_PASSWORD exactly when it is not empty",
                )
            evidence.append(packet)
    return passed(evidence)


def _credentials(username: str | None, password: str | None) -> str:
    """Say what is presented, without the password."""
    name = "no user name" if username is None else f"user name {username!r}"
    return f"{name} and {'no password' if password is None else 'a password'}"


@judges("I2M-ENV-04", "boot", "get")
def client_id_tells_instances_apart(view: View, _declaration: Declaration) -> Verdict:
    """The client id begins with the prefix and contains the instance id."""
    evidence = []
    for run in view.runs():
        for packet in run.packets("CONNECT"):
            client_id = packet.data["client_id"]
            if not client_id.startswith(PREFIX) or run.facts["instance"] not in client_id:
                return failed(
                    f"a client id that begins with {PREFIX} and contains {run.facts['instance']}",
                    f"client id {client_id!r}",
                    at=[packet],
                    hint="join MQTT_CLIENT_PREFIX and INSTANCE_NAME",
                )
            evidence.append(packet)
    return passed(evidence)


@judges("I2M-ENV-05", "boot")
def keepalive_is_the_environments(view: View, _declaration: Declaration) -> Verdict:
    """The keep-alive of CONNECT is MQTT_KEEPALIVE."""
    evidence = []
    for run in view.runs():
        for packet in run.packets("CONNECT"):
            if packet.data["keepalive"] != run.facts["keepalive"]:
                return failed(
                    f"keep-alive {run.facts['keepalive']}, as MQTT_KEEPALIVE says",
                    f"keep-alive {packet.data['keepalive']}",
                    at=[packet],
                )
            evidence.append(packet)
    return passed(evidence)


_FLAGS = ("boot", "environment.qos0", "environment.qos2", "environment.unset")
"""Launches with other values of MQTT_QOS and MQTT_RETAIN; the last has neither."""


@judges("I2M-ENV-06", "boot", "environment")
def state_has_the_qos_of_the_environment(view: View, _declaration: Declaration) -> Verdict:
    """Every state is published at MQTT_QOS, and at 1 where that is unset."""
    evidence = []
    for name in _FLAGS:
        run = view.run(name)
        wanted = run.facts["qos"] if run else None
        expected = f"states at QoS {wanted} (launch {name})"
        states = run.states() if run else []
        wrong = next((p for p in states if p.qos != wanted), None)
        if not states:
            return failed(expected, "no state", at=run.records[:1] if run else ())
        if wrong is not None:
            return failed(
                expected, f"QoS {wrong.qos} on {wrong.topic}", at=[wrong.record], hint="publish state at MQTT_QOS"
            )
        evidence += [p.record for p in states]
    return passed(evidence)


@judges("I2M-ENV-07", "boot", "environment")
def state_is_retained_unless_told_otherwise(view: View, _declaration: Declaration) -> Verdict:
    """Every whole state has the retain flag, except where MQTT_RETAIN is false."""
    evidence = []
    for name in _FLAGS:
        run = view.run(name)
        wanted = run.facts["retain"] if run else None
        expected = f"states that are {'' if wanted else 'not '}retained (launch {name})"
        states = run.states() if run else []
        wrong = next((p for p in states if p.retain != wanted), None)
        if not states:
            return failed(expected, "no state", at=run.records[:1] if run else ())
        if wrong is not None:
            seen = f"{'a' if wrong.retain else 'no'} retain flag on {wrong.topic}"
            return failed(expected, seen, at=[wrong.record], hint="MQTT_RETAIN=false takes the flag from every state")
        evidence += [p.record for p in states]
    return passed(evidence)


@judges("I2M-ENV-08", "environment", "variants")
def the_file_fills_in(view: View, _declaration: Declaration) -> Verdict:
    """Address and credentials are read from .env where the environment lacks them, and not where it has them."""
    evidence = []
    for name, case in (
        ("environment.file", "address, credentials and keep-alive in .env only"),
        ("variants.decoy", "another address in .env than in the process environment"),
    ):
        run = view.run(name)
        connects = run.packets("CONNECT") if run else []
        if run is None or not connects:
            hint = "read ${IOT2MQTT_PATH:-/app}/.env, and let the process environment win over it"
            at = run.records[:1] if run else ()
            return failed(f"a CONNECT with {case}", "no CONNECT", at=at, hint=hint)
        for key in ("username", "password", "keepalive") if name == "environment.file" else ():
            if connects[0].data[key] != run.facts[key]:
                shown = "" if key == "password" else f": {connects[0].data[key]!r} instead of {run.facts[key]!r}"
                return failed(f"a CONNECT with the {key} that stands in .env", f"another {key}{shown}", at=connects[:1])
        if not run.onlines:
            return failed(f"`online` with {case}", "a CONNECT, but no `online`", at=connects)
        evidence += [connects[0], run.onlines[0].record]
    return passed(evidence)


@judges("I2M-ENV-09", "boot")
def devices_are_those_of_the_configuration(view: View, _declaration: Declaration) -> Verdict:
    """State and meta topics speak of the configured devices, all of them and no others."""
    evidence = []
    for run in view.runs():
        for publication in run.states():
            if publication.levels[1] not in run.configured:
                return failed(
                    f"devices of the instance file only: {', '.join(run.configured)}",
                    f"a state of {publication.levels[1]}",
                    at=[publication.record],
                )
            evidence.append(publication.record)
    boot = view.run("boot")
    lists = [p for p in boot.published("meta/devices_list") if isinstance(p.value, list)] if boot else []
    if boot is None or not lists:
        return failed("an answer on meta/devices_list", "none")
    listed = {str(entry.get("device_id")) for entry in lists[-1].value if isinstance(entry, dict)}
    missing = set(boot.enabled) - {p.levels[1] for p in boot.states()}
    if not set(boot.enabled) <= listed <= set(boot.configured) or missing:
        return failed(
            f"the enabled devices {', '.join(boot.enabled)} in state topics and in devices_list, and no unknown ones",
            f"devices_list names {sorted(listed)}; without a state: {sorted(missing) or 'none'}",
            at=[lists[-1].record],
            hint="read ${IOT2MQTT_PATH:-/app}/instances/${INSTANCE_NAME}.json",
        )
    return passed([*evidence, lists[-1].record])


@judges("I2M-ENV-10", "config_faults")
def bad_configuration_ends_the_process(view: View, _declaration: Declaration) -> Verdict:
    """A missing or malformed instance file: non-zero exit, a message that names the file, and no `online`."""
    evidence = []
    for run in view.runs("config_faults"):
        fault = run.name.partition(".")[2]
        expected = (
            f"with the instance file {fault.replace('_', ' ')}: a non-zero exit code, and output that names the file"
        )
        ended = run.first("proc.exit")
        if run.onlines:
            return failed(expected, "`online` was published", at=[run.onlines[0].record])
        # What waits for ever ends all the same, when the launch is over and it is killed.
        late = run.steps("timeout", what="the end of the process")
        if ended is None or late:
            return failed(
                expected, "the process went on running", at=late, hint="check the configuration before connecting"
            )
        if ended.data["code"] == 0:
            return failed(expected, "exit code 0", at=[ended])
        file = f"{run.facts['instance']}.json"
        lines = [r for r in run.records if r.kind == "out" and file in r.data["line"]]
        if not lines:
            return failed(
                expected,
                f"no line of output names {file}",
                at=[ended],
                hint="print the path and what is wrong with the file",
            )
        evidence += [ended, lines[-1]]
    return passed(evidence)


@judges("I2M-ENV-15", "boot", "polling", "commands")
def disabled_devices_are_left_alone(view: View, declaration: Declaration) -> Verdict:
    """In no launch is there a state of a disabled device or group, while there are some of the others."""
    for run in view.runs():
        config = run.facts["config"]
        disabled = [("devices", device) for device in run.configured if device not in run.enabled]
        disabled += [("groups", g["group_id"]) for g in config.get("groups", []) if not g.get("enabled", True)]
        for publication in run.publications:
            kind, name = tuple(publication.levels[:2]) if len(publication.levels) > 2 else ("", "")  # noqa: PLR2004
            if publication.levels[2:3] == ["state"] and (kind, name) in disabled and publication.text:
                return failed(
                    f"no state of {name}, which has enabled: false in the instance file",
                    f"{publication.text[:120]} on {publication.topic}",
                    at=[publication.record],
                    hint="skip what is not enabled when polling, and do not answer for it either",
                )
    seen = [*view.runs("boot"), *view.runs("polling")]
    states = [p.record for run in seen for p in run.states() if p.levels[1] in declaration.enabled]
    return passed(states)


@judges("I2M-ENV-11", "boot", "commands", "shutdown")
def files_are_left_alone(view: View, _declaration: Declaration) -> Verdict:
    """Nothing has happened to instances/, shared/ and .env while the connector ran."""
    looks = [r for run in view.runs() for r in run.records if r.kind == "files"]
    wrong = next((r for r in looks if r.data["changed"]), None)
    if wrong is not None:
        return failed(
            "instances/, shared/ and .env as they were, also their times, as on a read-only mount",
            f"changed, made or removed: {', '.join(wrong.data['changed'])}",
            at=[wrong],
            hint="keep what the connector wants to remember elsewhere; a temporary file beside these fails as well",
        )
    return passed(looks)


def _log_level_fault(run: Run | None, value: str) -> Verdict:
    """Return the failure of a connector that does not come online under a level."""
    expected = f"`online` with LOG_LEVEL={value}"
    if run is None:
        return failed(expected, "no launch")
    begin, end = run.records[0], run.first("proc.exit")
    seen = f"no `online`: {saying.ended(end, begin)}" if end else f"no `online` up to {run.records[-1].t:.1f} s"
    return failed(
        expected,
        f"{seen}{saying.last_line(run, run.records[-1])}",
        at=[begin, *run.lines()[-3:], *([end] if end else [])],
        hint="take the name of a level in any case, and go on with INFO and a warning where it is unknown",
    )


@judges("I2M-ENV-12", "environment")
def log_level_is_honoured(view: View, _declaration: Declaration) -> Verdict:
    """Online with debug, WARNING and nonsense; debug prints more than WARNING, and nonsense is told."""
    printed: dict[str, list[Record]] = {}
    for level in ("debug", "warning", "unknown_level"):
        run = view.run(f"environment.{level}")
        value = run.facts["log_level"] if run else level
        if run is None or not run.onlines:
            return _log_level_fault(run, value)
        end = run.steps("environment_end")
        printed[level] = run.lines(before=end[0] if end else None)
    told = [r for r in printed["unknown_level"] if "nonsense" in r.data["line"] or "LOG_LEVEL" in r.data["line"]]
    if len(printed["debug"]) <= len(printed["warning"]):
        return failed(
            "more lines with LOG_LEVEL=debug than with LOG_LEVEL=WARNING",
            f"{len(printed['debug'])} lines and {len(printed['warning'])}, for the same work",
            at=[*printed["debug"][-3:], *printed["warning"][-3:]],
            hint="write the level in capitals before you give it to the logging library",
        )
    if not told:
        return failed(
            "a warning that LOG_LEVEL=nonsense is not known",
            f"{len(printed['unknown_level'])} lines, none of which names LOG_LEVEL or its value",
            at=printed["unknown_level"][:3] or view.runs("environment.unknown_level")[0].records[:1],
            hint="say at the start that the value is unknown, and which level is used instead",
        )
    return passed([*printed["debug"][-1:], *told])
