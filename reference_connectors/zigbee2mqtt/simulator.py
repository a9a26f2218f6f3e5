"""A stand-in for Zigbee2MQTT with two lamps, a sensor and a remote, at a real MQTT broker.

    python simulator.py serve --port 7272 --broker 1883
    python simulator.py press --port 7272 remote

It speaks the topics and payloads of Zigbee2MQTT's documentation: bridge/state, bridge/devices, bridge/event,
bridge/logging, bridge/request/device/rename and …/remove, and state, availability, set and get of each device. At the
port it takes one line of what no connector says, but what happens to a Zigbee network:

    fail lamp1, recover lamp1    the device cannot be reached, and can be again
    slow lamp1 4                 every answer of the device takes 4 s
    press remote                 somebody presses its button
    spoil lamp1 half             it publishes what is no state: half, text, list, deep or huge; bridge/devices likewise
    join                         a device joins the network that nobody has configured
    die, live                    Zigbee2MQTT stops, and starts again

With `--faults 0.1` one of ten states is published spoiled, each in another way, and again as it should be.
"""

import argparse
import itertools
import json
import random
import socket
import socketserver
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

HOST = "127.0.0.1"
SPOILED = {
    "half": b'{"state": "ON", "bri',
    "text": b"\xff\xfe no JSON",
    "list": b"[1, 2",
    "deep": b"[" * 60_000,
    "huge": b'{"state": "' + b"O" * 9_000_000 + b'N"}',
}


def binary(name: str, on: Any, off: Any, access: int) -> dict[str, Any]:
    """Return what describes a switch."""
    return {"type": "binary", "name": name, "property": name, "value_on": on, "value_off": off, "access": access}


def numeric(name: str, access: int, **more: Any) -> dict[str, Any]:
    """Return what describes a number."""
    return {"type": "numeric", "name": name, "property": name, "access": access, **more}


def enum(name: str, values: list[str], access: int) -> dict[str, Any]:
    """Return what describes a choice."""
    return {"type": "enum", "name": name, "property": name, "values": values, "access": access}


def colour(name: str, *parts: str) -> dict[str, Any]:
    """Return what describes a colour."""
    return {"type": "composite", "name": name, "property": "color", "features": [numeric(part, 7) for part in parts]}


LAMP = [
    {
        "type": "light",
        "features": [
            binary("state", "ON", "OFF", 7),
            numeric("brightness", 7, value_min=0, value_max=254),
            colour("color_xy", "x", "y"),
            colour("color_hs", "hue", "saturation"),
        ],
    },
    enum("power_on_behavior", ["off", "on", "previous"], 7),
    enum("effect", ["blink", "breathe"], 2),
    numeric("linkquality", 1, value_min=0, value_max=255, unit="lqi"),
]
SENSOR = [
    numeric("temperature", 1, unit="°C"),
    numeric("humidity", 1, unit="%"),
    {"type": "binary", "property": "battery_low", "value_on": True, "value_off": False, "access": 1},
]
REMOTE = [enum("action", ["single", "double", "hold"], 1), numeric("battery", 1, unit="%")]
DARK = {"state": "OFF", "brightness": 100, "color": {"x": 0.4, "y": 0.4}, "power_on_behavior": "previous"}


@dataclass
class Device:
    """A Zigbee device, and what is wrong with it."""

    ieee: str
    name: str
    model: str
    exposes: list[dict[str, Any]]
    state: dict[str, Any]
    retain: bool = False
    failing: bool = False
    delay: float = 0.0

    def listed(self) -> dict[str, Any]:
        """Return its entry in bridge/devices."""
        return {
            "ieee_address": self.ieee,
            "type": "Router",
            "supported": True,
            "disabled": False,
            "friendly_name": self.name,
            "definition": {"vendor": "Simulated", "model": self.model, "exposes": self.exposes, "options": []},
            "interview_completed": True,
        }


def home() -> list[Device]:
    """Return the devices of a home; sensor and remote sleep, so that what they say is retained."""
    return [
        Device("0x00158d0000000001", "lamp1", "lamp", LAMP, {**DARK, "linkquality": 90}),
        Device("0x00158d0000000002", "lamp2", "lamp", LAMP, {**DARK, "linkquality": 60}),
        Device("0x00158d0000000003", "attic/sensor", "sensor", SENSOR, {"temperature": 21.5, "humidity": 44.7}, True),
        Device("0x00158d0000000004", "hall/remote", "remote", REMOTE, {"battery": 97}, True),
    ]


@dataclass
class Stand:
    """The stand-in.

    Attributes:
        base: The base topic.
        broker: The port of the broker.
        legacy: Whether availability is said by a bare word, as before version 2.
        faults: Which part of the states is spoiled.
    """

    base: str
    broker: int
    legacy: bool = False
    faults: float = 0.0
    devices: list[Device] = field(default_factory=home)
    ways: "itertools.cycle[bytes]" = field(default_factory=lambda: itertools.cycle(SPOILED.values()))
    online: threading.Event = field(default_factory=threading.Event)

    # ------------------------------------------------------------------ life
    def live(self) -> None:
        """Connect and say everything, as Zigbee2MQTT does when it starts."""
        self.online.clear()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.will_set(f"{self.base}/bridge/state", self.word(online=False), qos=1, retain=True)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(f"{self.base}/#", 0)
        self.client.on_subscribe = lambda *_: self.say_everything()
        self.client.on_message = lambda _client, _data, message: self.take(message)
        self.client.connect_async(HOST, self.broker)
        self.client.loop_start()
        self.online.wait(10)

    def die(self) -> None:
        """Stop, as Zigbee2MQTT does when it is told to."""
        self.say("bridge/state", self.word(online=False), retain=True).wait_for_publish(5)
        self.client.disconnect()
        self.client.loop_stop()

    def word(self, *, online: bool) -> str:
        """Return an availability."""
        word = "online" if online else "offline"
        return word if self.legacy else json.dumps({"state": word})

    def say(self, topic: str, payload: str | bytes, *, retain: bool = False) -> paho.MQTTMessageInfo:
        """Publish."""
        return self.client.publish(f"{self.base}/{topic}", payload, qos=1 if retain else 0, retain=retain)

    def say_everything(self) -> None:
        """Publish what the broker is to keep."""
        self.say_devices()
        for device in self.devices:
            self.say_availability(device)
            if device.retain:
                self.tell(device)
        self.say("bridge/state", self.word(online=True), retain=True)
        self.online.set()

    def say_devices(self) -> None:
        """Publish the list of all devices."""
        coordinator = {"ieee_address": "0x00124b0000000000", "type": "Coordinator", "friendly_name": "Coordinator"}
        self.say("bridge/devices", json.dumps([coordinator, *(d.listed() for d in self.devices)]), retain=True)

    def say_availability(self, device: Device) -> None:
        """Publish whether a device can be reached."""
        self.say(f"{device.name}/availability", self.word(online=not device.failing), retain=True)

    def tell(self, device: Device, **more: Any) -> None:
        """Publish a device's state."""
        if random.random() < self.faults:
            self.say(device.name, next(self.ways))
        self.say(device.name, json.dumps({**device.state, **more}), retain=device.retain and not more)

    # ------------------------------------------------------------------ what it is told by MQTT
    def take(self, message: paho.MQTTMessage) -> None:
        """Take a message of somebody else."""
        name, _, verb = message.topic.removeprefix(f"{self.base}/").rpartition("/")
        try:
            if name == "bridge/request/device":
                self.request(verb, json.loads(message.payload))
            elif verb in ("set", "get"):
                device = next(device for device in self.devices if device.name == name)
                threading.Timer(device.delay, self.serve, (device, verb, json.loads(message.payload))).start()
        except (ValueError, StopIteration):
            self.log(f"Invalid message on '{message.topic}'")

    def serve(self, device: Device, verb: str, values: Mapping[str, Any]) -> None:
        """Do what a device is asked to do; what it cannot be asked for is passed over."""
        if device.failing:
            self.log(f"Publish '{verb}' '{next(iter(values), '')}' to '{device.name}' failed: 'Error: no answer'")
            return
        if verb == "set":
            device.state.update({name: value for name, value in values.items() if name in device.state})
        self.tell(device)

    def request(self, verb: str, body: Mapping[str, Any]) -> None:
        """Rename or remove a device, and respond."""
        name = body.get("from") if verb == "rename" else body.get("id")
        device = next((device for device in self.devices if name in (device.ieee, device.name)), None)
        if device is None:
            failure = {"data": dict(body), "status": "error", "error": f"Device '{name}' does not exist"}
            self.say(f"bridge/response/device/{verb}", json.dumps(failure))
            return
        if verb == "rename":
            device.name = body["to"]
        else:
            self.devices.remove(device)
            self.event("device_leave", device)
        self.say(f"bridge/response/device/{verb}", json.dumps({"data": dict(body), "status": "ok"}))
        self.say_devices()

    def log(self, text: str) -> None:
        """Publish an error that Zigbee2MQTT logs."""
        self.say("bridge/logging", json.dumps({"level": "error", "message": text, "namespace": "z2m"}))

    def event(self, kind: str, device: Device) -> None:
        """Publish an event of the network."""
        data = {"friendly_name": device.name, "ieee_address": device.ieee}
        self.say("bridge/event", json.dumps({"type": kind, "data": data}))

    # ------------------------------------------------------------------ what happens to it
    def meddle(self, line: str) -> str:
        """Let something happen; return what is answered."""
        verb, name, argument = [*line.split(), "", "", ""][:3]
        if verb in ("die", "live"):
            getattr(self, verb)()
        elif verb == "join":
            self.devices.append(Device("0x00158d0000000009", "0x00158d0000000009", "newcomer", SENSOR, {}))
            self.event("device_joined", self.devices[-1])
            self.say_devices()
        elif verb == "spoil" and name == "bridge/devices" and argument in SPOILED:
            self.say(name, SPOILED[argument])
        else:
            named = (d for d in self.devices if name in (d.name, d.name.split("/")[-1]))
            device = next(named, None)
            if device is None or not self.strike(device, verb, argument):
                return f"error the stand-in does not understand: {line}"
        return "ok"

    def strike(self, device: Device, verb: str, argument: str) -> bool:
        """Let something happen to a device; whether that is known."""
        if verb in ("fail", "recover"):
            device.failing, device.delay = verb == "fail", 0.0
            self.say_availability(device)
        elif verb == "slow":
            device.delay = float(argument or 4)
        elif verb == "press":
            self.tell(device, action="single")
        elif verb == "spoil" and argument in SPOILED:
            self.say(device.name, SPOILED[argument])
        else:
            return False
        return True


def serve(stand: Stand, port: int) -> None:
    """Live, and let things happen that are asked for at a port."""
    stand.live()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode()
            if line.strip():
                self.wfile.write(f"{stand.meddle(line.strip())}\n".encode())

    socketserver.TCPServer.allow_reuse_address = True
    with socketserver.TCPServer((HOST, port), Handler) as server:
        print(f"the stand-in for Zigbee2MQTT is at {HOST}:{stand.broker}, below {stand.base}", flush=True)
        server.serve_forever()


def tell(port: int, line: str) -> int:
    """Send a running stand-in one line and print its answer; the exit code is 0 where it said ok."""
    try:
        with socket.create_connection((HOST, port), 10) as connection, connection.makefile("rw") as stream:
            stream.write(f"{line}\n")
            stream.flush()
            answer = stream.readline().strip()
    except OSError as error:
        print(f"no stand-in answers on {HOST}:{port} ({error}): start one with `serve`", file=sys.stderr)
        return 1
    print(answer)
    return 0 if answer == "ok" else 1


def main() -> int:
    """Serve, or tell a running stand-in something."""
    verbs = ["serve", "fail", "recover", "slow", "press", "spoil", "join", "die", "live"]
    parser = argparse.ArgumentParser(description="A stand-in for Zigbee2MQTT.")
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--broker", type=int, default=1883, help="the port of the broker")
    parser.add_argument("--base", default="zigbee2mqtt", help="the base topic")
    parser.add_argument("--legacy", action="store_true", help="availability is a bare word, as before version 2")
    parser.add_argument("--faults", type=float, default=0.0, help="the part of the states that is spoiled")
    parser.add_argument("words", nargs="*", metavar="DEVICE", help="the device, and what else the verb takes")
    given = parser.parse_intermixed_args()
    if given.verb != "serve":
        return tell(given.port, " ".join([given.verb, *given.words]))
    try:
        serve(Stand(given.base, given.broker, given.legacy, given.faults), given.port)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"the stand-in cannot listen on {HOST}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
