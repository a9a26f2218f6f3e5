"""What a stimulus did to a device in a launch, for the judges of what the connector makes of it."""

from dataclasses import dataclass

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import EVENT_DRIVEN
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed
from iot2mqtt_conformance.view import NOT_JSON, Publication, Run, View

SLACK = 0.5
"""Seconds that a machine with other things to do may add to any time."""
ROUND_TRIPS = 10
"""Measured round trips that it may add besides."""


def lag(view: View) -> float:
    """Return the seconds that this machine, with this connector, was seen to be behind: next to none where it idles."""
    boot = view.run("boot")
    measured = boot.steps("round_trip") if boot else []
    round_trip = float(measured[0].data["seconds"] if measured else 0.0)
    return ROUND_TRIPS * round_trip + view.longest_stall


def slack(view: View) -> float:
    """Return the seconds by which any time may be exceeded on this machine, with this connector."""
    return SLACK + lag(view)


def interval_of(run: Run, declaration: Declaration) -> float:
    """Return the update_interval of a launch in seconds, or what stands for it where the connector does not poll."""
    return float(run.facts["interval"]) if declaration.reporting == "polling" else EVENT_DRIVEN


@dataclass(frozen=True, slots=True)
class Strike:
    """A stimulus that took effect.

    Attributes:
        run: The launch.
        device: The device that it acted on.
        begin: When its command was started.
        end: When its command had ended, so that it had taken effect.
    """

    run: Run
    device: str
    begin: Record
    end: Record

    @property
    def others(self) -> list[str]:
        """The enabled devices that nothing happened to."""
        return [device for device in self.run.enabled if device != self.device]

    def after(self, suffix: str, *, before: int | None = None) -> list[Publication]:
        """Return what was published on a topic of the device once the stimulus had begun, up to a record."""
        last = self.run.records[-1].i + 1 if before is None else before
        return [p for p in self.run.published(f"devices/{self.device}/{suffix}") if self.begin.i < p.record.i < last]


def strike(view: View, scenario: str, stimulus: str) -> Strike | Verdict:
    """Return what a stimulus did, or the failure where it did nothing."""
    run = view.run(scenario)
    begin = run.steps("stimulus", stimulus=stimulus) if run else []
    if run is None or not begin:
        return failed(
            f"a connector that is online with a state of every device, before the stimulus {stimulus}",
            "it did not get so far",
            at=run.steps("timeout") if run else [],
        )
    ends = run.steps("stimulus_end", stimulus=stimulus)
    if not ends or ends[0].data["code"] != 0:
        seen = f"code {ends[0].data['code']}: {ends[0].data['said']}" if ends else "it did not end"
        return failed(
            f"the declared stimulus {stimulus} to end with code 0",
            seen,
            at=[*begin, *ends],
            hint=f"mend the command under [stimuli] {stimulus} in conformance.toml",
        )
    return Strike(run, begin[0].data["device"], begin[0], ends[0])


def says_offline(publication: Publication) -> bool:
    """Whether a state says online:false, or an availability message offline."""
    if publication.is_state():
        return publication.shown("online") is False
    value = publication.text if publication.value is NOT_JSON else publication.value
    return publication.levels[-1:] == ["availability"] and value == "offline"
