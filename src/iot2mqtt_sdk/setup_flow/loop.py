"""The steps of a flow that are repeated for each device of one instance."""

from typing import Final

from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import Flow, InstancePayload, InstanceStep, MultiDevice, Step
from iot2mqtt_sdk.setup_flow.asking import Asker, Move
from iot2mqtt_sdk.setup_flow.draft import collect_devices, repeated
from iot2mqtt_sdk.setup_flow.errors import SetupError
from iot2mqtt_sdk.setup_flow.state import Filled, State

_NOWHERE: Final = range(0)


class Loop:
    """The devices of one walk through a flow; a flow without a loop has one pass through all its steps.

    Args:
        flow: The flow.
        declared: The setup's multi_device.
        state: What the steps have filled.
        asker: Who says whether another device follows.
    """

    def __init__(self, flow: Flow, declared: MultiDevice | None, state: State, asker: Asker) -> None:
        self._flow = flow
        self._declared = declared
        self._state = state
        self._asker = asker
        self._span = _span(flow, declared)
        self._passes: list[Filled] = []

    def after(self, position: int) -> tuple[Move, int]:
        """Return where to go after a step that is done; at the end of a pass that depends on what the user wants."""
        if self._declared is None or not self._span or position != self._span[-1]:
            return Move.NEXT, position + 1
        self._passes.append(self._state.taken_from(self._steps()))
        fault = self._fault()
        if fault is not None:
            self._passes.pop()
            move = self._asker.after_failure(fault, may_continue=False)
            return move, self._span[0]
        if not self._asker.another(self._declared, len(self._passes)):
            return Move.NEXT, position + 1
        for step in self._steps():
            self._state.forget(step)
        return Move.NEXT, self._span[0]

    def back(self, position: int, target: int) -> int:
        """Return a step to go back to, after dropping the devices that are going to be asked for again."""
        if self._span and target < self._span[0]:
            self._passes.clear()
        elif self._span and target <= self._span[-1] < position:
            self._passes.pop()
        return target

    def devices(self, payload: InstancePayload) -> list[dict[str, JsonValue]]:
        """Return the devices of all passes.

        Raises:
            SetupError: One of them is no device.
        """
        if not self._span:
            return collect_devices(payload, self._state.context(), {})
        return [
            device
            for overlay in self._passes
            for device in collect_devices(payload, self._state.context(overlay), self._fields(overlay))
        ]

    def _steps(self) -> list[Step]:
        return [self._flow.steps[position] for position in self._span]

    def _fields(self, overlay: Filled) -> dict[str, JsonValue]:
        """Return the fields of the loop's forms as one object."""
        forms = overlay.get("form", {}).values()
        return {name: value for form in forms if isinstance(form, dict) for name, value in form.items()}

    def _fault(self) -> str | None:
        """Say what is wrong with the newest device while it can still be mended, None where nothing is."""
        payloads = [step.instance for step in self._flow.steps if isinstance(step, InstanceStep)]
        try:
            shared = [repeated(self.devices(payload)) for payload in payloads]
        except SetupError as error:
            return str(error)
        names = [name for name in shared if name is not None]
        return f"there is a device {names[0]!r} already; each device needs an id of its own" if names else None


def _span(flow: Flow, declared: MultiDevice | None) -> range:
    """Return the positions of the repeated steps; the step that writes the instance is never repeated."""
    ids = [step.id for step in flow.steps]
    if declared is None or not declared.enabled or not {declared.loop_from_step, declared.loop_to_step} <= set(ids):
        return _NOWHERE
    writes = (number for number, step in enumerate(flow.steps) if isinstance(step, InstanceStep))
    end = min(ids.index(declared.loop_to_step) + 1, next(writes, len(ids)))
    return range(ids.index(declared.loop_from_step), end)
