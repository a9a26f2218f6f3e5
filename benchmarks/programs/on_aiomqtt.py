"""The same connector directly on aiomqtt: one task a device, commands in a task of their own.

It honours far fewer clauses than BaseConnector does.
"""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt

NAME = os.environ["INSTANCE_NAME"]
ROOT = f"IoT2mqtt/v1/instances/{NAME}"
CONFIG = json.loads((Path(os.environ["IOT2MQTT_PATH"]) / "instances" / f"{NAME}.json").read_text(encoding="utf-8"))
POWER: dict[str, bool] = {}


def stamp() -> str:
    """Return the time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def publish_state(client: aiomqtt.Client, device_id: str) -> None:
    """Publish a lamp's state and its one property."""
    power = POWER.get(device_id, False)
    body = {"timestamp": stamp(), "device_id": device_id, "state": {"power": power}}
    await client.publish(f"{ROOT}/devices/{device_id}/state", json.dumps(body), qos=1, retain=True)
    await client.publish(f"{ROOT}/devices/{device_id}/state/power", json.dumps(power), qos=1, retain=True)


async def poll(client: aiomqtt.Client, device: dict[str, Any], delay: float) -> None:
    """Poll one lamp for ever."""
    loop = asyncio.get_running_loop()
    due = loop.time() + delay
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due + CONFIG["update_interval"], loop.time())
        await asyncio.sleep(device.get("hangs", 0))
        await publish_state(client, device["device_id"])


async def obey(client: aiomqtt.Client) -> None:
    """Obey."""
    async for message in client.messages:
        device_id = str(message.topic).split("/")[-2]
        command = json.loads(bytes(message.payload))
        POWER[device_id] = command["values"]["power"]
        answer = {"cmd_id": command["id"], "timestamp": stamp(), "status": "success", "result": command["values"]}
        await client.publish(f"{ROOT}/devices/{device_id}/cmd/response", json.dumps(answer), qos=1)
        await publish_state(client, device_id)


async def main() -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    will = aiomqtt.Will(f"{ROOT}/status", "offline", qos=1, retain=True)
    host, port = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
    async with aiomqtt.Client(host, port, identifier=f"iot2mqtt_{NAME}", will=will) as client:
        await client.subscribe([(f"{ROOT}/devices/+/cmd", 1), (f"{ROOT}/devices/+/get", 1)])
        await client.publish(f"{ROOT}/status", "online", qos=1, retain=True)
        devices = CONFIG["devices"]
        gap = CONFIG["update_interval"] / len(devices)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(obey(client))]
            tasks += [group.create_task(poll(client, device, n * gap)) for n, device in enumerate(devices)]
            await stop.wait()
            for task in tasks:
                task.cancel()
        await client.publish(f"{ROOT}/status", "offline", qos=1, retain=True)


asyncio.run(main())
