"""Short launches under other environments, as far as `online`."""

import asyncio

from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

SLOW = 0.2
"""Seconds that a packet takes on a slow line: an `online` that does not wait for the SUBACK overtakes it there."""


async def play(stage: Stage) -> None:
    """Launch with a user name alone, without credentials, behind a slow line, and beside a decoy address in .env."""
    await together(
        _until_online(stage, "variants.user_alone", Setting(username="conformance", password=None)),
        _until_online(stage, "variants.no_password", Setting(username="conformance", password="")),
        _until_online(stage, "variants.anonymous", Setting(username=None, password=None)),
        _until_online(stage, "variants.empty", Setting(username="", password="")),
        _until_online(stage, "variants.slow", Setting(), latency=SLOW),
        _decoy(stage),
    )


async def _until_online(stage: Stage, run: str, setting: Setting, *, latency: float = 0.0) -> None:
    rig = Rig(stage, run, setting=setting)
    rig.proxy.delay(latency)
    async with rig:
        await rig.online()


async def _decoy(stage: Stage) -> None:
    """A listener whose address stands in .env only: the process environment wins, so nobody may call there."""
    run = "variants.decoy"

    def called(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stage.recorder.add(run, "decoy.called")
        writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0, start_serving=False)
    async with server:
        await server.start_serving()
        port = server.sockets[0].getsockname()[1]
        async with Rig(stage, run, setting=Setting(env_file=f"MQTT_HOST=127.0.0.1\nMQTT_PORT={port}\n")) as rig:
            if await rig.online():
                await rig.states()
            rig.note("decoy", port=port)
