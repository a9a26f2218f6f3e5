"""Secrets in files: what the broker is presented, what the configuration refers to, and what it leaves out."""

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from iot2mqtt_conformance.names import STRANGER_USER
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.environment import ask
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

MARKER = "CONFORMANCE_MARKER"
"""A secret that the configuration refers to in a place of the suite's own."""
PREFIX = "CONFORMANCE_"
"""What the keys begin with that the configuration refers to."""


async def play(stage: Stage) -> None:
    """Launch with the connection's texts referred to, and with them left out."""
    if "secrets" in stage.declaration.features:
        await together(_launch(stage, referred=True), _launch(stage, referred=False))


async def _launch(stage: Stage, *, referred: bool) -> None:
    texts = connection_texts(stage.declaration.instance)
    marker, password = f"marker-{token_hex(8)}", f"secret-{token_hex(8)}"
    username = f"user-{token_hex(4)}"
    lines = {f"{PREFIX}{key}": text for key, text in texts.items()} | {MARKER: marker} if referred else texts
    setting = Setting(
        username=username,
        password=password,
        env={"MQTT_USERNAME": STRANGER_USER, "MQTT_PASSWORD": f"wrong-{token_hex(8)}"},
        secrets={"_creds": _lines(lines), "_mqtt": _lines({"username": username, "password": password})},
        log_level="DEBUG",
        configure=lambda config: _configured(config, texts, referred=referred),
    )
    async with Rig(stage, f"credentials.{'referred' if referred else 'merged'}", setting=setting) as rig:
        rig.note("given", secrets=[marker, password] if referred else [password], moved=sorted(texts))
        if not await rig.online():
            return
        await rig.states()
        await ask(rig, "credentials")
        rig.note("credentials_end")


def connection_texts(instance: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the connection that can stand in a file of secrets: they hold no placeholder of the suite."""
    connection = instance.get("connection")
    pairs = connection.items() if isinstance(connection, Mapping) else ()
    return {key: text for key, text in pairs if isinstance(text, str) and text and not set(text) & set("{}\n")}


def _lines(pairs: Mapping[str, str]) -> str:
    return "".join(f"{key}={text}\n" for key, text in pairs.items())


def _configured(config: dict[str, Any], texts: Mapping[str, str], *, referred: bool) -> dict[str, Any]:
    """Return the configuration with the connection's texts referred to, or without them."""
    rest = {key: value for key, value in config.get("connection", {}).items() if key not in texts}
    if not referred:
        return {**config, "connection": rest} if texts else config
    references = {key: f"${{secret:{PREFIX}{key}}}" for key in texts}
    changed = {**config, "conformance_marker": f"${{secret:{MARKER}}}"}
    return {**changed, "connection": {**rest, **references}} if texts else changed
