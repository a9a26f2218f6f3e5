"""The pytest plugin: options and hooks; inert without --iot2mqtt-conformance."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from iot2mqtt_conformance.suite import Suite

FILE_NAME = "conformance.toml"
SUITE: pytest.StashKey[Suite] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("iot2mqtt", "IoT2MQTT connector conformance")
    add = group.addoption
    add("--iot2mqtt-conformance", action="store_true", help="judge connectors by the IoT2MQTT contract")
    add(
        "--iot2mqtt-connector",
        action="append",
        default=[],
        metavar="PATH",
        help="a folder or a conformance.toml; repeatable (default: ./conformance.toml)",
    )
    add(
        "--iot2mqtt-services",
        choices=["auto", "local", "embedded", "docker"],
        default="auto",
        help="`local` (mosquitto on this machine), `embedded` (amqtt from pip), `docker` (mosquitto in a container) or"
        " `auto` (the first that works)",
    )
    add(
        "--iot2mqtt-pipeline",
        choices=["auto", "on", "off"],
        default="auto",
        help="follow states through Kafka into PostgreSQL, which are started for it from the same services: `auto`"
        " where conformance.toml has the feature `pipeline`, `on` whatever it has, `off` never",
    )
    add("--iot2mqtt-clauses", default="*", metavar="GLOB", help="only these clauses, e.g. 'I2M-CMD-*'")
    add("--iot2mqtt-strict", action="store_true", help="a SHOULD that is not honoured fails the run")
    add(
        "--iot2mqtt-report",
        metavar="DIR",
        help="write a page, report.json, a badge and the transcript of each connector into this folder",
    )
    add(
        "--iot2mqtt-transcript",
        metavar="FILE",
        help="judge a recorded transcript again, without starting the connector or a broker",
    )
    add(
        "--iot2mqtt-broker",
        metavar="URL",
        help="judge a connector that runs already on this broker, mqtt://user:password@host:port or mqtts://…, by what"
        " can be seen and asked from outside; it is commanded as declared, and neither started nor stopped",
    )
    add("--iot2mqtt-ca", metavar="FILE", help="certificates that are trusted for mqtts:// (default: the system's)")
    add(
        "--iot2mqtt-rough",
        action="store_true",
        help="with --iot2mqtt-broker: also send bursts of commands, and payloads that nobody should send",
    )
    add("--iot2mqtt-seed", type=int, metavar="N", help="the seed of generated payloads (default: random, and printed)")


def pytest_configure(config: pytest.Config) -> None:
    """Set the suite up, and make pytest collect the declarations."""
    if not config.getoption("--iot2mqtt-conformance"):
        return
    try:
        from iot2mqtt_conformance import suite
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"--iot2mqtt-conformance needs {error.name}: run pip install 'iot2mqtt-sdk[conformance]'"
        ) from None
    named = [
        str(path / FILE_NAME if path.is_dir() else path) for path in map(Path, config.getoption("--iot2mqtt-connector"))
    ]
    chosen = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    if not any(FILE_NAME in argument for argument in chosen):
        named = named or [FILE_NAME]
    config.args = [*chosen, *named]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # What a shell starts in the background ignores it, and so would the connectors, which are judged by it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[SUITE] = suite.Suite(config)
    config.pluginmanager.register(config.stash[SUITE], "iot2mqtt-suite")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a declaration's clauses."""
    suite = parent.config.stash.get(SUITE, None)
    if suite is None or file_path.suffix != ".toml" or not suite.wants(file_path):
        return None
    from iot2mqtt_conformance.items import DeclarationFile

    return DeclarationFile.from_parent(parent, path=file_path)
