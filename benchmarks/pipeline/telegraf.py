"""Telegraf, configured to do what the bridge and the sink do."""

import shutil
from pathlib import Path

from benchmarks.pipeline.plant import Line

_AGENT = """\
[agent]
  interval = "1s"
  flush_interval = "200ms"
  metric_batch_size = 5000
  metric_buffer_limit = 100000
  omit_hostname = true
"""
_BRIDGE = """\
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{broker}"]
  topics = ["cmnd/#"]
  qos = 1
  client_id = "{session}"
  persistent_session = true
  max_undelivered_messages = 5000
  data_format = "value"
  data_type = "string"
[[outputs.kafka]]
  brokers = ["{kafka}"]
  topic = "{topic}"
  required_acks = -1
  idempotent_writes = true
  routing_tag = "topic"
  data_format = "json"
"""
_SINK = """\
[[inputs.kafka_consumer]]
  brokers = ["{kafka}"]
  kafka_version = "3.6.0"
  topics = ["{topic}"]
  offset = "oldest"
  consumer_group = "{session}"
  max_undelivered_messages = 20000
  data_format = "json"
  json_string_fields = ["unit", "value*"]
  tag_keys = ["device_id", "connector_mode", "connector", "component_type", "component_id"]
  json_time_key = "timestamp"
  json_time_format = "unix"
[[processors.converter]]
  [processors.converter.fields]
    string = ["value"]
[[outputs.postgresql]]
  connection = "host={host} port={port} user={user} password={password} dbname={dbname}"
  create_templates = ["CREATE TABLE {{{{.table}}}} ({{{{.columns}}}})"]
"""


def bridge(line: Line) -> str:
    """Return the configuration that carries the messages of a session to Kafka."""
    plant = line.plant
    return _AGENT + _BRIDGE.format(broker=plant.broker, session=line.session(), kafka=plant.kafka, topic=line.raw)


def sink(line: Line) -> str:
    """Return the configuration that stores measurements in a table called kafka_consumer.

    A column has one type: numbers, booleans and texts all become texts. The part of a map has a column of its own.
    """
    plant = line.plant
    return _AGENT + _SINK.format(kafka=plant.kafka, topic=line.decoded, session=line.session(), **plant.database)


def command(configuration: str, file: Path) -> list[str] | None:
    """Return the command that runs Telegraf with a configuration; None where it is not on PATH."""
    program = shutil.which("telegraf")
    if program is None:
        return None
    file.write_text(configuration, encoding="utf-8")
    return [program, "--config", str(file), "--quiet"]
