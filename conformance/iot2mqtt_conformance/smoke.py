"""Why a connector could not be judged at all: one diagnosis instead of a hundred failures."""

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.report.redact import masked_words
from iot2mqtt_conformance.view import Run, View

LINES = 20


def diagnose(view: View, declaration: Declaration) -> str | None:
    """Return what kept the connector from coming online, or None where it did."""
    error = next((record for record in view.transcript if record.kind == "launch.error"), None)
    if error is not None:
        return str(error.data["message"])
    boot = view.run("boot")
    if boot is None:
        return "the connector was not launched"
    if boot.onlines and not boot.steps("timeout", what="meta/info"):
        return None
    return f"{_cause(boot, declaration)}\n{_output(boot)}"


def _cause(boot: Run, declaration: Declaration) -> str:
    ended = boot.first("proc.exit")
    smoke = boot.steps("smoke")
    connects = boot.packets("CONNECT")
    if ended is not None and (not smoke or ended.i < smoke[0].i):
        command = masked_words(declaration.command) or declaration.image or f"the image built from {declaration.build}"
        return f"the connector ended with exit code {ended.data['code']} before it was online: {command}"
    limit = f"within {declaration.start_deadline:.0f} s (start_deadline)"
    if not connects:
        called = (
            "it opened a connection and sent no CONNECT"
            if boot.first("conn.open")
            else "it never called MQTT_HOST:MQTT_PORT"
        )
        return f"the connector did not connect to the broker {limit}: {called}"
    if boot.onlines:
        return f"the connector came online, but did not answer meta/request/info {limit}"
    said = ", ".join(sorted({publication.topic for publication in boot.publications})) or "nothing"
    status = f"{boot.facts['root']}/status"
    return f"the connector connected, but did not publish `online` on {status} {limit}; it published on {said}"


def _output(boot: Run) -> str:
    lines = [f"  {r.data['stream']}: {r.data['line']}" for r in boot.records if r.kind == "out"]
    if not lines:
        return "It printed nothing."
    return "\n".join(["Its last lines:", *lines[-LINES:]])
