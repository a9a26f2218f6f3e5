"""What simulated devices publish, and the records that it becomes."""

import time
from collections.abc import Iterable
from itertools import islice

from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.parameters import ParameterTable
from iot2mqtt_pipeline.record import encode_raw, read_raw
from iot2mqtt_pipeline.simulator import Fleet, Planned, parameter_rows

TEMPLATE = "f2-simulated"
DEVICES = 200


def fleet() -> Fleet:
    """Return the simulated devices; a message a millisecond of theirs, so that no two have the same time."""
    return Fleet(devices=DEVICES, interval=DEVICES * 10 / 1000, start=time.time() - 3600)


def messages(count: int) -> list[Planned]:
    """Return messages of the simulated devices."""
    return list(islice(fleet().messages(), count))


def raw_records(given: Iterable[Planned]) -> list[tuple[bytes, bytes]]:
    """Return the keys and values that the bridge makes of messages."""
    return [
        (
            one.device_id.encode(),
            encode_raw(topic=one.topic, device_id=one.device_id, payload=one.payload, arrived=one.due),
        )
        for one in given
    ]


def decoded_records(given: Iterable[Planned]) -> list[tuple[bytes, bytes]]:
    """Return the keys and values that the processor makes of messages."""
    decoder = Decoder(table(), "deadletter")
    return [
        (key, found.encode()) for key, value in raw_records(given) for found in decoder.measurements(read_raw(value))
    ]


def table() -> ParameterTable:
    """Return the parameters of the simulated devices."""
    return ParameterTable(templates=parameter_rows(TEMPLATE), assignments=dict.fromkeys(fleet().device_ids, TEMPLATE))
