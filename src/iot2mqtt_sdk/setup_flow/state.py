"""What the steps of a running flow have filled: the namespaces that templates and conditions read."""

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import FormStep, OAuthStep, SelectStep, Step, ToolStep

Filled = dict[str, dict[str, JsonValue]]
"""Values by namespace and key."""


def place_of(step: Step) -> tuple[str, str] | None:
    """Return the namespace and key that a step fills, None where it fills nothing."""
    if isinstance(step, FormStep):
        return "form", step.id
    if isinstance(step, ToolStep):
        return "tools", step.output_key or step.tool
    if isinstance(step, SelectStep):
        return "selection", step.output_key or step.id
    if isinstance(step, OAuthStep):
        return "oauth", step.oauth.provider
    return None


class State:
    """The values of one walk through a flow.

    Args:
        integration: The connector's name and display name.
        shared: What the host application provides.
    """

    def __init__(self, *, integration: Mapping[str, JsonValue], shared: Mapping[str, JsonValue]) -> None:
        self._filled: Filled = {"form": {}, "tools": {}, "selection": {}, "oauth": {}}
        self._given: dict[str, JsonValue] = {"integration": dict(integration), "shared": dict(shared)}

    def context(self, overlay: Filled | None = None) -> dict[str, JsonValue]:
        """Return all namespaces, with some values replaced by those of an overlay."""
        over = overlay or {}
        return {**self._given, **{space: {**keys, **over.get(space, {})} for space, keys in self._filled.items()}}

    def form(self, step: FormStep) -> dict[str, JsonValue]:
        """Return what a form was filled with before, nothing where it is new."""
        filled = self._filled["form"].get(step.id)
        return dict(filled) if isinstance(filled, dict) else {}

    def put(self, step: Step, value: JsonValue) -> None:
        """Keep what a step yielded."""
        place = place_of(step)
        if place is not None:
            self._filled[place[0]][place[1]] = value

    def forget(self, step: Step) -> None:
        """Drop what a step yielded, because it no longer applies."""
        place = place_of(step)
        if place is not None:
            self._filled[place[0]].pop(place[1], None)

    def taken_from(self, steps: Iterable[Step]) -> Filled:
        """Return what some steps have filled, as an overlay."""
        found: Filled = {}
        for space, key in filter(None, map(place_of, steps)):
            if key in self._filled[space]:
                found.setdefault(space, {})[key] = self._filled[space][key]
        return found
