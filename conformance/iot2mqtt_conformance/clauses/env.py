"""I2M-ENV: environment and configuration."""

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import KEEPALIVE, PREFIX
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import View, covers, matches


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
            if packet.data["keepalive"] != KEEPALIVE:
                return failed(
                    f"keep-alive {KEEPALIVE}, as MQTT_KEEPALIVE says",
                    f"keep-alive {packet.data['keepalive']}",
                    at=[packet],
                )
            evidence.append(packet)
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
    listed = {entry.get("device_id") for entry in lists[-1].value if isinstance(entry, dict)}
    missing = set(boot.enabled) - {p.levels[1] for p in boot.states()}
    if not set(boot.enabled) <= listed <= set(boot.configured) or missing:
        return failed(
            f"the enabled devices {', '.join(boot.enabled)} in state topics and in devices_list, and no unknown ones",
            f"devices_list names {sorted(map(str, listed))}; without a state: {sorted(missing) or 'none'}",
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
        if ended is None:
            return failed(expected, "the process went on running", hint="check the configuration before connecting")
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
