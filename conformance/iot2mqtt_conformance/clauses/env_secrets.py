"""I2M-ENV: secrets, and the broker that may hear them."""

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Run, View


@judges("I2M-ENV-13", "boot", "commands", "environment", "credentials")
def secrets_are_kept(view: View, _declaration: Declaration) -> Verdict:
    """No password of a launch, and no secret that it was given, is printed or published."""
    evidence = []
    for run in view.runs():
        given = [text for step in run.steps("given") for text in step.data["secrets"]]
        secrets = {text for text in (run.facts["password"], *given) if text}
        for record in run.records:
            text = _said(record)
            if text is not None and any(secret in text for secret in secrets):
                where = (
                    f"on {record.data['stream']}" if record.kind == "out" else f"in a message on {record.data['topic']}"
                )
                return failed(
                    "neither MQTT_PASSWORD nor a secret of the instance in the output or in any message",
                    f"one of them {where}",
                    at=[record],
                    hint="never print or publish the environment, the configuration or an exception's text unmasked",
                )
        evidence += [r for r in run.packets("CONNECT") if r.data.get("password") in secrets]
    return passed(evidence or [r for run in view.runs() for r in run.lines() + run.packets("PUBLISH")])


def _said(record: Record) -> str | None:
    """Return what the connector says with a record, or None where it says nothing."""
    if record.kind == "out":
        return str(record.data["line"])
    if record.kind != "packet" or record.data["dir"] != "c2b" or record.data["type"] != "PUBLISH":
        return None
    return f"{record.data['topic']} {record.data.get('payload', record.data.get('payload_start', ''))}"


@judges("I2M-ENV-14", "boot", "credentials")
def secrets_are_read_from_files(view: View, declaration: Declaration) -> Verdict:
    """The broker's credentials come from their file, and the devices work with a connection that is kept apart."""
    boot = view.run("boot")
    evidence = []
    for name, how in (("referred", "as ${secret:KEY}"), ("merged", "not at all")):
        run = view.run(f"credentials.{name}")
        given = run.steps("given") if run else []
        connects = run.packets("CONNECT") if run else []
        if run is None or boot is None or not given:
            return failed("a launch with secrets in files", "none")
        moved = ", ".join(f"connection.{key}" for key in given[0].data["moved"])
        case = f" while {moved} stands in ..._creds, and in the instance file {how}" if moved else ""
        if not connects:
            return failed(f"a CONNECT{case}", "no CONNECT", at=[*given, *run.lines()[-3:]])
        wrong = next(
            (p for p in connects if any(p.data[key] != run.facts[key] for key in ("username", "password"))), None
        )
        if wrong is not None:
            return failed(
                "a CONNECT with the user name and password of the file ..._mqtt",
                f"user name {wrong.data['username']!r}, or another password",
                at=[*given, wrong],
                hint="what ${IOT2MQTT_SECRETS_DIR}/${INSTANCE_NAME}_mqtt says wins over the environment",
            )
        fault = _worse(run, boot, declaration) if run.onlines else "no `online`"
        if fault is not None:
            return failed(f"devices that work as usual{case}", fault, at=[*given, *run.lines()[-3:]])
        evidence += [connects[0], *(run.states(device)[0].record for device in declaration.enabled)]
    return passed(evidence)


def _worse(run: Run, usual: Run, declaration: Declaration) -> str | None:
    """Return how the devices of a launch do worse than those of another one, or None."""
    for device in declaration.enabled:
        states = run.states(device)
        if not states:
            return f"no state of {device}"
        if states[-1].shown("online") is False and usual.states(device)[-1].shown("online") is not False:
            return f"{device} is not online"
        if run.published(f"devices/{device}/error") and not usual.published(f"devices/{device}/error"):
            return f"an error message of {device}"
    return None


@judges("I2M-ENV-16", "tls")
def tls_verifies_the_broker(view: View, _declaration: Declaration) -> Verdict:
    """TLS with the right broker, with the client's certificate; with a stranger nothing is said."""
    right, foreign = view.run("tls.right"), view.run("tls.foreign")
    if right is None or foreign is None:
        return failed("launches with MQTT_TLS=true", "none")
    plain = next((r for run in (right, foreign) for r in run.records if r.kind == "tls.plain"), None)
    if plain is not None:
        return failed("TLS, as MQTT_TLS=true asks for", "a connection that did not begin with TLS", at=[plain])
    return _known(right) or _stranger(foreign) or passed(_shown(right) + _shown(foreign))


def _known(right: Run) -> Verdict | None:
    """Return what is wrong with the connection to the broker that the connector can verify."""
    opened = [r for r in right.records if r.kind == "tls.open"]
    tried = [r for r in right.records if r.kind == "tls.failed"]
    if not opened or not right.onlines:
        seen = "TLS, but no `online`" if opened else "a failed handshake" if tried else "no connection"
        hint = "verify the broker against MQTT_CA_CERTS; its certificate is for 127.0.0.1, which MQTT_HOST says too"
        return failed("`online` over TLS, with the broker's CA in MQTT_CA_CERTS", seen, at=[*tried, *opened], hint=hint)
    if not opened[0].data["certificate"]:
        return failed(
            "the client's certificate of MQTT_CERTFILE and MQTT_KEYFILE", "a handshake without one", at=opened[:1]
        )
    return None


def _stranger(foreign: Run) -> Verdict | None:
    """Return what is wrong with how the connector meets a broker that it cannot verify."""
    fooled = [r for r in foreign.records if r.kind == "tls.open"]
    if fooled:
        return failed(
            "no connection to a broker whose certificate is of another CA than that in MQTT_CA_CERTS",
            "a handshake that was brought to its end",
            at=fooled[:1],
            hint="never switch verification off",
        )
    if not _shown(foreign):
        return failed("an attempt that ends with the stranger's certificate", "no attempt", at=foreign.records[:1])
    return None


def _shown(run: Run) -> list[Record]:
    """Return the handshakes, and what was published after them."""
    handshakes = [r for r in run.records if r.kind in ("tls.open", "tls.failed")]
    return [*handshakes[:1], *(p.record for p in run.onlines[:1])]
