"""Controllers that do not exist: door by door, badge by badge, for demonstrations and for load."""

from iot2mqtt_pipeline.simulator.fleet import Fleet, Planned
from iot2mqtt_pipeline.simulator.installation import MESSAGES_PER_ROUND, parameter_rows
from iot2mqtt_pipeline.simulator.pacing import Tally, play

__all__ = ["MESSAGES_PER_ROUND", "Fleet", "Planned", "Tally", "parameter_rows", "play"]
