"""Stores a row as a sink does that has just started."""

import json
import sys

from tests.pipeline.sinks import TOPIC, measurement

from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.record import rows

given = json.loads(sys.argv[1])
store = TimescaleStore(parameters=given["database"])
store.upkeep()
store.write(rows(measurement(timestamp=given["moment"])), {(TOPIC, 0): (0, 1)})
store.close()
