"""How fast a backlog of measurements becomes rows."""

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.pipeline import telegraf
from benchmarks.pipeline.others import libpq, psql, quix
from benchmarks.pipeline.plant import Plant, Rate, frozen, rate, until_joined, write
from benchmarks.pipeline.simulated import decoded_records, messages

GROUP = "iot2mqtt-sink"
_STORED = "SELECT coalesce(sum(next_offset), 0)::bigint FROM iot_sink_offsets WHERE topic = %s"
_FILL = (
    "INSERT INTO iot_measurements (timestamp, device_id, connector_mode, connector, component_type, component_id,"
    " value, unit, raw_data) SELECT now() - interval '20 days' + make_interval(secs => n / 20.0),"
    " 'f2-filler' || n %% 200, 'sensor-mode', 'J4', 'sensor', '1', n %% 400 / 10.0, 'celsius', '{\"data\": \"0x12A\"}'"
    " FROM generate_series(%s::bigint, %s::bigint) AS n"
)
_PORTION = 1_000_000


def ours(plant: Plant, count: int, workers: int = 1) -> Rate:
    """Measure our sink, or several of its group, in rows."""
    line = plant.line()
    records = decoded_records(messages(count))
    before = _rows(plant)
    with ExitStack() as stack:
        running = [stack.enter_context(line.stage("sink", number)) for number in range(workers)]
        until_joined(plant.kafka, GROUP, workers)
        with frozen(running):
            write(line, line.decoded, records)
        found = rate(lambda: int(plant.query(_STORED, line.decoded)[0][0]), len(records), running)
    return Rate(found.per_second * (_rows(plant) - before) / len(records), found.megabytes)


def copy(plant: Plant) -> Rate:
    r"""Measure psql's \copy of the rows that are in the table at first, into the same table, empty."""
    file = plant.folder / "rows.csv"
    if not file.exists():
        _psql(plant, f"\\copy (TABLE iot_measurements) TO '{file}' CSV")
    empty(plant)
    begun = time.monotonic()
    _psql(plant, f"\\copy iot_measurements FROM '{file}' CSV")
    seconds = time.monotonic() - begun
    return Rate(_rows(plant) / seconds)


def on_quix(plant: Plant, count: int) -> Rate | None:
    """Measure Quix Streams with its sink for PostgreSQL, in rows."""
    command = quix("quix_sink.py")
    if command is None:
        return None
    line = plant.line()
    records = decoded_records(messages(count))
    write(line, line.decoded, records)
    plant.query('DROP TABLE IF EXISTS "quix_measurements"')
    with line.running(*command, PYTHONPATH=str(Path.cwd())) as process:
        return rate(lambda: _counted(plant, "quix_measurements"), len(records), [process])


def on_telegraf(plant: Plant, count: int) -> Rate | None:
    """Measure Telegraf's kafka_consumer and its output to PostgreSQL, in rows."""
    line = plant.line()
    command = telegraf.command(telegraf.sink(line), plant.folder / f"{line.name}.conf")
    if command is None:
        return None
    records = decoded_records(messages(count))
    write(line, line.decoded, records)
    plant.query('DROP TABLE IF EXISTS "kafka_consumer"')
    with line.running(*command) as process:
        return rate(lambda: _counted(plant, "kafka_consumer"), len(records), [process])


def fill(plant: Plant, rows: int) -> None:
    """Fill the table up to so many rows, of the last three weeks."""
    have = _rows(plant)
    for begin in range(have, rows, _PORTION):
        plant.query(_FILL, begin, min(begin + _PORTION, rows) - 1)


def empty(plant: Plant) -> None:
    """Empty the table."""
    plant.query("TRUNCATE iot_measurements")


def _rows(plant: Plant) -> int:
    return int(plant.query("SELECT count(*) FROM iot_measurements")[0][0])


def _counted(plant: Plant, name: str) -> int:
    """Return the rows of another's table, which that other creates."""
    found = plant.query("SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = %s", name)
    return int(plant.query(f'SELECT count(*) FROM "{name}"')[0][0]) if found else 0  # noqa: S608 - a name of ours


def _psql(plant: Plant, command: str) -> None:
    subprocess.run([psql(), "-q", "-c", command], env=libpq(dict(plant.database)), check=True)
