"""Turns the instance file into what each process of the hub has to know.

The processes need neither the instance file nor the secrets: what concerns one is written to a file for it alone, in a
folder that only this user can read, and that is gone after the end.
"""

import json
import os
import random
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from iot2mqtt_sdk import ConfigurationError, load_instance

HOST = "127.0.0.1"
PORTS = {"serial_handler": 5001, "http_poller": 5002, "state_aggregator": 5003}
"""Where each service listens, unless `config.ports` says otherwise; 0 there means any port that is free."""
HANDLERS = {"temperature": "serial", "humidity": "serial", "motion": "http"}
"""Which handler reads the sensors of a type."""
WHERE = {"serial": "address", "http": "url"}
"""The key of a device that says to a handler where its sensor is."""
FREE = range(10_000, 20_000)
"""Where free ports are looked for: none that systems give to outgoing connections."""
LEVELS = {"DEBUG": "info", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "critical"}
"""supervisord's own level at each LOG_LEVEL; its `debug` would repeat each line of each process."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the processes are told.

    Attributes:
        environment: Variables of all processes.
        files: Contents of the settings files, by service.
    """

    environment: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]

    def write(self, folder: Path) -> None:
        """Write the settings files into a folder."""
        for name, content in self.files.items():
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def make_plan() -> Plan:
    """Read the environment, the instance file and its secrets.

    Raises:
        ConfigurationError: One of them is missing or wrong; the message names it and the fault.
    """
    instance = load_instance()
    try:
        return _plan(instance.config)
    except ValueError as error:
        raise ConfigurationError(f"the instance configuration {instance.file} is malformed: {error}") from None


def _plan(document: Mapping[str, Any]) -> Plan:
    sensors = [_sensor(device) for device in document.get("devices", []) if device.get("enabled", True)]
    connection, config = document.get("connection", {}), document.get("config", {})
    serial = {
        "port": _text(connection, "connection.serial_port") if _of(sensors, "serial") else "",
        "baudrate": int(_number(connection, "connection.baudrate", 9600)),
        "timeout": _number(connection, "connection.serial_timeout", 0.5),
    }
    poller = {
        "poll_interval": _number(config, "config.poll_interval", 5.0),
        "timeout": _number(connection, "connection.http_timeout", 3.0),
    }
    devices = [
        {"device_id": sensor["sensor_id"], "type": sensor["type"], "handler": HANDLERS[sensor["type"]]}
        for sensor in sensors
    ]
    files = {
        "serial-handler": {**serial, "sensors": _of(sensors, "serial")},
        "http-poller": {**poller, "sensors": _of(sensors, "http")},
        "state-aggregator": {"cache_ttl": _number(config, "config.cache_ttl", 10.0), "devices": devices},
    }
    level = os.environ.get("LOG_LEVEL", "").strip().upper()
    level = level if level in LEVELS else "INFO"  # mqtt-bridge warns of a level that is unknown
    environment = {"HUB_LOG_LEVEL": level, "HUB_SUPERVISORD_LEVEL": LEVELS[level]}
    for service, port in _ports(config.get("ports", {})).items():
        environment[f"{service.upper()}_PORT"] = str(port)
        environment[f"{service.upper()}_URL"] = f"http://{HOST}:{port}"
    return Plan(environment, files)


def _of(sensors: list[dict[str, Any]], handler: str) -> list[dict[str, Any]]:
    return [sensor for sensor in sensors if HANDLERS[sensor["type"]] == handler]


def _sensor(device: Mapping[str, Any]) -> dict[str, Any]:
    name, kind = device["device_id"], device.get("sensor_type")
    if kind not in HANDLERS:
        raise ValueError(f"sensor_type of the device {name} must be one of {', '.join(HANDLERS)}, and is {kind!r}")
    key = WHERE[HANDLERS[kind]]
    where = _text(device, f"{name}.{key}")
    if key == "url" and (urlsplit(where).scheme != "http" or not urlsplit(where).hostname):
        raise ValueError(f"url of the device {name} must be an address such as http://192.168.1.60/motion")
    if key == "address" and (not where.isascii() or not where.isprintable() or " " in where):
        raise ValueError(f"address of the device {name} must be one word of ASCII characters")
    return {"sensor_id": name, "type": kind, key: where}


def _text(section: Mapping[str, Any], place: str) -> str:
    value = section.get(place.rpartition(".")[2])
    if not isinstance(value, str) or not value:
        raise ValueError(f"{place} is missing, or no text")
    return value


def _number(section: Mapping[str, Any], place: str, default: float) -> float:
    """Return a number above 0: from the file, from the variable of that name in capitals, or the default."""
    key = place.rpartition(".")[2]
    try:
        value = float(section.get(key) or os.environ.get(key.upper()) or default)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < 1e6:  # noqa: PLR2004 - eleven days, or more baud than there are
        raise ValueError(f"{place} (or the variable {key.upper()}) must be a number above 0")
    return value


def _ports(given: Any) -> dict[str, int]:
    if not isinstance(given, dict) or given.keys() - PORTS.keys():
        raise ValueError(f"config.ports must be an object that holds nothing but {', '.join(PORTS)}")
    ports = {**PORTS, **given}
    for service, port in ports.items():
        if type(port) is not int or port not in range(65536):
            raise ValueError(f"config.ports.{service} must be a number from 0 to 65535, and is {port!r}")
    return {service: port or _free_port() for service, port in ports.items()}


def _free_port() -> int:
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the past do not count
            probe.bind((HOST, random.choice(FREE)))
            return int(probe.getsockname()[1])
