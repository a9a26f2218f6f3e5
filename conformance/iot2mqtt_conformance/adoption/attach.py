"""A connector that runs already: it is watched and asked through its own broker, and neither started nor stopped."""

import asyncio
import base64
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiomqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from iot2mqtt_conformance.adoption.target import Target
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.names import EVENT_DRIVEN, GROUP_ALL, GROUP_ONE
from iot2mqtt_conformance.observer import Observer, retained
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.view import View, strict_json

DEFAULT_BASE = "IoT2mqtt"
DEFAULT_INTERVAL = 10.0
"""update_interval in seconds where the instance file has none."""
LONGEST_INTERVAL = 15.0
"""Seconds of update_interval up to which the regularity of polling is judged: that takes six of them."""
RARE_INTERVAL = 60.0
"""Seconds of update_interval from which on a state of a poll is hardly mistaken for the answer to a question."""
NOTICED = 5.0
"""Seconds that are waited for a connector that was there, and is gone."""
NEVER = 2
"""Retain handling of MQTT 5: nothing that the broker keeps is sent upon a subscription."""

BOOT = ("ENV-09", "META-01", "META-02", "STATE-01", "STATUS-02")
SAID = ("PUB-02", "PUB-03", "PUB-04", "PUB-05", "STATE-02", "STATE-04", "STATE-05")
COMMANDED = ("CMD-01", "CMD-02", "CMD-03", "CMD-04", "CMD-05", "CMD-06", "CMD-07", "CMD-09", "CMD-17")
ASKED = ("GET-01", "GET-02", "GET-03", "GET-04")
POLLED = ("STATE-03", "META-05")
GROUPED = ("GROUP-01", "GROUP-02", "GROUP-03")
FILES = ("FILE-01", "FILE-03")
ROUGH = ("CMD-08", "CMD-10", "CMD-11", "CMD-12")
OUTSIDE = frozenset(f"I2M-{name}" for name in (*BOOT, *SAID, *COMMANDED, *ASKED, *POLLED, *GROUPED, *FILES, *ROUGH))
"""Clauses that can be judged by what everybody on the broker sees, or by the connector's files."""
WELCOME = {"I2M-CMD-02": {"bursts"}}
"""Scenarios that say more on a clause which can be judged without them."""
GENTLE = ("boot", "commands", "files", "refusals", "staleness")


class Attached:
    """A connector that runs already.

    Args:
        target: Its broker.
        declaration: What is declared of it.
        rough: Whether it may be sent fifty commands at once, and payloads that nobody should send.
    """

    def __init__(self, target: Target, declaration: Declaration, *, rough: bool = False) -> None:
        self.instance = declaration.attach.get("instance") or str(declaration.instance.get("instance_id", ""))
        self.base = declaration.attach.get("base_topic", DEFAULT_BASE)
        self._target = target
        self._declaration = declaration
        self._rough = rough
        usual = DEFAULT_INTERVAL if declaration.reporting == "polling" else None
        interval = declaration.instance.get("update_interval", usual)
        self._interval = EVENT_DRIVEN if interval is None else float(interval)
        # There is but one connector, whatever scenarios want to be played at the same time.
        self._turn = asyncio.Lock()

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The scenarios that can be played from outside."""
        polls = self._declaration.reporting == "polling"
        polling = ("polling",) if self._interval <= LONGEST_INTERVAL else ()
        rarely = not polls or self._interval >= RARE_INTERVAL
        rough = ("fuzz", *(("bursts",) if rarely else ())) if self._rough else ()
        get = ("get",) if rarely else ()
        groups = ("groups",) if {GROUP_ALL, GROUP_ONE} <= set(self._declaration.groups) else ()
        return (*GENTLE, *polling, *get, *groups, *rough)

    def setting(self, asked: Setting) -> Setting:
        """Return a setting as it is with a connector that was configured by somebody else."""
        return replace(
            Setting(), tz=asked.tz, interval=self._interval, username=None, password=None, qos=None, keepalive=0
        )

    async def enter(self, rig: Rig, stack: AsyncExitStack) -> Observer:
        """Listen to the connector from now on, once nobody else does, and ask it for all states.

        Raises:
            LaunchError: It is not online.
        """
        await stack.enter_async_context(self._turn)
        listener = aiomqtt.Client(
            self._target.host, self._target.port, identifier=f"suite-{uuid4().hex[:12]}", **self._target.options
        )
        await stack.enter_async_context(listener)
        reader = asyncio.create_task(_read(listener, rig))
        stack.push_async_callback(_cancel, reader)
        options = SubscribeOptions(qos=2, retainAsPublished=True, retainHandling=NEVER)
        await listener.subscribe(f"{rig.root}/#", options=options)
        await self._online(rig, needed=rig.run == "boot")
        observer = Observer((self._target.host, self._target.port), _nobody, options=self._target.options)
        await stack.enter_async_context(observer)
        if rig.stage.recorder.transcript.of(rig.run)[-1].data.get("payload") == "offline":
            return observer
        for device in rig.stage.declaration.enabled:
            await observer.publish(rig.topic(f"devices/{device}/get"), b"")
        await rig.states()
        return observer

    async def kept(self, topic: str) -> str | None:
        """Return what the broker keeps for a topic, as a new subscriber sees it."""
        return await retained((self._target.host, self._target.port), topic, options=self._target.options)

    async def _online(self, rig: Rig, *, needed: bool) -> None:
        """Write down that the connector is online, as the broker says; later on it may have been brought down."""
        topic = rig.topic("status")
        async with aiomqtt.Client(self._target.host, self._target.port, **self._target.options) as client:
            await client.subscribe(topic, options=SubscribeOptions(qos=2, retainAsPublished=True))
            message = None
            with suppress(TimeoutError):
                async with asyncio.timeout(rig.stage.deadline(2)):
                    message = await anext(aiter(client.messages))
        if message is not None and (bytes(message.payload) == b"online" or not needed):
            _write(rig, message)
        elif needed:
            said = "nothing" if message is None else repr(bytes(message.payload)[:40])
            raise LaunchError(
                f"no connector is online at {topic}, where the broker keeps {said}: start it, or name its instance and"
                " base topic as `instance` and `base_topic` under [attach] in conformance.toml"
            )


def _nobody(topic: str, payload: bytes, *, retained: bool) -> None:
    """Take what nothing was subscribed for."""
    del topic, payload, retained


async def _read(client: aiomqtt.Client, rig: Rig) -> None:
    with suppress(aiomqtt.MqttError):
        async for message in client.messages:
            if not _is_request(str(message.topic).removeprefix(f"{rig.root}/").split("/")):
                _write(rig, message)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _is_request(levels: list[str]) -> bool:
    """Whether a topic below the instance is one that the connector does not publish on, but listens to."""
    asks = levels[0] in ("devices", "groups") and levels[2:] in (["cmd"], ["get"])
    return asks or levels[:2] == ["meta", "request"]


def _write(rig: Rig, message: aiomqtt.Message) -> None:
    """Write a message down as if it had been seen on the connector's own wire: the broker passes it on as it was."""
    payload = bytes(message.payload)
    facts = {"conn": 0, "dir": "c2b", "type": "PUBLISH", "topic": str(message.topic), "dup": False}
    try:
        content = {"payload": payload.decode("utf-8")}
    except UnicodeDecodeError:
        content = {"payload_b64": base64.b64encode(payload).decode()}
    rig.stage.recorder.add(rig.run, "packet", **facts, qos=message.qos, retain=bool(message.retain), **content)


async def restore(stage: Stage) -> None:
    """Give the declared properties the values back that they had before anything was commanded."""
    view = View(stage.recorder.transcript)
    first = view.run("boot")
    if first is None or stage.declaration.commanded is None:
        return
    async with Rig(stage, "restore") as rig:
        for device in stage.declaration.devices:
            states = first.states(device.id)
            state = strict_json(states[0].text or "") if states else None
            before: Mapping[str, Any] = state.get("state", {}) if isinstance(state, dict) else {}
            for name in device.writable.keys() & before.keys():
                await rig.command(device.id, {name: before[name]}, probe="restore")


def why_not(clause: str, missing: set[str]) -> str | None:
    """Return why a clause is not judged of a connector that runs already, or None where it is.

    Args:
        clause: The clause.
        missing: Scenarios that belong to it, and were not played.
    """
    if clause not in OUTSIDE:
        return "cannot be judged when attached: it takes the connector's own connection, or a launch of its own"
    # What is said must have its form in all scenarios that there are.
    lacking = missing - {"get"} if clause.removeprefix("I2M-") in SAID else missing - WELCOME.get(clause, set())
    rare = f"an update_interval of {RARE_INTERVAL:.0f} s or more, so that the state of a poll is no answer"
    reasons = {
        "fuzz": "cannot be judged when attached without --iot2mqtt-rough: it takes strange payloads",
        "bursts": f"cannot be judged when attached without --iot2mqtt-rough: it takes bursts of commands, and {rare}",
        "groups": f"cannot be judged when attached: it takes the groups {GROUP_ALL} (all devices that can be commanded"
        f" alike) and {GROUP_ONE} (the first of them) in the running instance",
        "get": f"cannot be judged when attached: it takes {rare}",
        "polling": f"cannot be judged when attached: it takes an update_interval of {LONGEST_INTERVAL:.0f} s or less",
    }
    return next((reason for scenario, reason in reasons.items() if scenario in lacking), None)
