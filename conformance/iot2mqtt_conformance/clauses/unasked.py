"""What a device tells by itself, and what only because the suite has asked for it."""

from iot2mqtt_conformance.verdict import Verdict, failed
from iot2mqtt_conformance.view import Run, View


def only_asked(view: View, boot: Run) -> Verdict | None:
    """Return the failure of a device that told its state only once it was commanded, None where each told it by itself.

    At the first start one device is commanded the moment the connector is online; at another one nobody asks anything.
    """
    other = view.run("restart")
    if other is None or not other.onlines:
        return None
    down = other.steps("broker_down")
    for sent in boot.sent("first"):
        device = sent.data["device"]
        unasked = any(p.record.i < sent.i for p in boot.states(device))
        if not unasked and not any(not down or p.record.i < down[0].i for p in other.states(device)):
            return failed(
                f"after start-up a message on devices/{device}/state, without any command for it",
                "none but the one that a command brought",
                at=[sent, *(p.record for p in boot.states(device)[:1]), other.onlines[0].record],
                hint="read every enabled device right after `online`, and publish its state without waiting for it to"
                " change",
            )
    return None


def asked(run: Run, device: str) -> int:
    """Return the index of what made a device tell its state after the reconnection, or of the end of the launch."""
    return next((r.i for r in run.sent("after_reconnection") if r.data["device"] == device), run.records[-1].i + 1)
