"""The life of an instance: what it is told, its connection to the broker, signals, and the end.

The network thread only subscribes, says `online`, and puts what arrives into the inbox. The main thread does all the
rest, one thing after another, so nothing here needs a lock.
"""

import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Timer
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from settings import Environment, Instance, SettingsError, Tls, env_file, folder, read_instance, secret_lines

RETRY = 1
"""Seconds between two attempts to connect."""
FAREWELL = 3.0
"""Seconds that the broker may take to acknowledge `offline`, and the network thread to send DISCONNECT."""

OPENS = "open sesame"
"""The word that the lights open to."""
KEPT = ("devices/+/state", "devices/+/state/+")
"""Where states are retained, below the instance."""

LOG = logging.getLogger("hostile")


class Session:
    """One instance's connection to the broker; Connector says what is published and how messages are handled."""

    clean_session = True

    def __init__(self, environment: Environment, instance: Instance) -> None:
        self.environment = environment
        self.instance = instance
        self.root = f"{environment.base}/v1/instances/{environment.instance_name}"
        self.started = time.monotonic()
        self.next_poll = self.started + instance.update_interval
        self.inbox: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.online = False
        self.disconnected = Event()
        self.disconnected.set()
        self.exit_code: int | None = None
        self.said_online: mqtt.MQTTMessageInfo | None = None
        self.looking: int | None = None
        self.looked = False
        self.client = self.new_client()

    # ------------------------------------------------------------------ what it is told
    @classmethod
    def main(cls) -> int:
        """Run until a signal ends it, and return the exit code."""
        try:
            environment = Environment.of(cls.variables())
            instance = cls.configuration(folder() / "instances" / f"{environment.instance_name}.json")
            connector = cls(environment, instance)
        except SettingsError as error:
            print(f"hostile: {error}", file=sys.stderr)
            return 1
        cls.log_from(environment.log_level)
        return connector.run()

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return the environment: the process's own before that of .env (I2M-ENV-08)."""
        return {**env_file(folder() / ".env"), **os.environ, **cls.credentials_in_file()}

    @classmethod
    def credentials_in_file(cls) -> Mapping[str, str]:
        """Return the credentials for the broker that stand in the folder of secrets (I2M-ENV-14)."""
        lines = secret_lines(f"{os.environ.get('INSTANCE_NAME')}_mqtt")
        return {f"MQTT_{key.upper()}": value for key, value in lines.items() if key in ("username", "password")}

    @classmethod
    def configuration(cls, file: Path) -> Instance:
        """Return the instance configuration with its secrets."""
        return read_instance(file, cls.secrets(file))

    @classmethod
    def secrets(cls, file: Path) -> Mapping[str, str]:
        """Return the secrets of an instance file (I2M-ENV-14)."""
        return secret_lines(f"{file.stem}_creds")

    @classmethod
    def log_from(cls, level: str) -> None:
        """Log to stderr from a level on (I2M-ENV-12)."""
        known = logging.getLevelNamesMapping().get(level.upper())
        logging.basicConfig(level=known or logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        if known is None:
            LOG.warning("LOG_LEVEL is %r, which is no level: INFO is used", level)

    # ------------------------------------------------------------------ life
    def run(self) -> int:
        """Work until a signal, then leave in order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        self.connect()
        while self.exit_code is None:
            self.turn()
        self.leave()
        return self.exit_code

    def turn(self) -> None:
        """Do the next thing: the poll when it is due, else what is in the inbox."""
        due = self.next_poll - time.monotonic()
        if due <= 0:
            self.poll()
            return
        try:
            job = self.inbox.get(timeout=due)
        except Empty:
            return
        job()

    def on_signal(self, number: int, _frame: object) -> None:
        """End with code 0 (I2M-LIFE-01, I2M-LIFE-02)."""
        del number
        self.inbox.put(partial(self.end, 0))

    def end(self, code: int) -> None:
        """Let the main loop end."""
        self.exit_code = code

    def leave(self) -> None:
        """Say `offline`, wait for its PUBACK, then DISCONNECT (I2M-STATUS-05)."""
        if not self.disconnected.is_set():
            self.say_offline()
        self.hang_up()

    def say_offline(self) -> None:
        """Publish `offline` and wait until the broker has it."""
        said = self.client.publish(self.topic("status"), "offline", qos=1, retain=True)
        said.wait_for_publish(FAREWELL)

    def hang_up(self) -> None:
        """Send DISCONNECT and wait until it is written."""
        self.client.disconnect()
        self.disconnected.wait(FAREWELL)

    # ------------------------------------------------------------------ connection
    def new_client(self) -> mqtt.Client:
        """Return a client that is not connected yet."""
        client = self.blank_client()
        username, password = self.credentials()
        if username is not None or password is not None:
            client.username_pw_set(username, password)
        will = self.will()
        if will is not None:
            client.will_set(**will)
        if self.environment.tls is not None:
            client.tls_set_context(self.tls_context(self.environment.tls))
        client.reconnect_delay_set(RETRY, RETRY)
        client.on_connect = self.on_connect
        client.on_connect_fail = self.on_connect_fail
        client.on_disconnect = self.on_disconnect
        client.on_subscribe = self.on_subscribe
        client.on_message = self.on_message
        return client

    def blank_client(self) -> mqtt.Client:
        """Return a client that knows nothing yet but its name."""
        return mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id(), clean_session=self.clean_session)

    def tls_context(self, tls: Tls) -> ssl.SSLContext:
        """Return how to speak TLS with the broker (I2M-ENV-16)."""
        return tls.context()

    def client_id(self) -> str:
        """Return the client id (I2M-ENV-04)."""
        return f"{self.environment.prefix}_{self.environment.instance_name}"

    def credentials(self) -> tuple[str | None, str | None]:
        """Return user name and password, None where there is none (I2M-ENV-03)."""
        return self.environment.username, self.environment.password

    def keepalive(self) -> int:
        """Return the keep-alive in seconds (I2M-ENV-05)."""
        return self.environment.keepalive

    def will(self) -> dict[str, Any] | None:
        """Return the last will (I2M-STATUS-01)."""
        return {"topic": self.topic("status"), "payload": "offline", "qos": 1, "retain": True}

    def filters(self) -> list[tuple[str, int]]:
        """Return the subscriptions, each with its QoS (I2M-SUB-01 to I2M-SUB-04)."""
        suffixes = ("devices/+/cmd", "devices/+/get", "groups/+/cmd", "meta/request/+")
        return [(self.topic(suffix), 1) for suffix in suffixes]

    def connect(self) -> None:
        """Call the broker until it answers, now and after every loss (I2M-LIFE-03, I2M-LIFE-05)."""
        self.client.connect_async(self.environment.host, self.environment.port, self.keepalive())
        self.client.loop_start()

    def on_connect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        """Subscribe, after every connection anew (I2M-SUB-06)."""
        if reason.is_failure:
            self.refused_by_broker(reason)
            return
        self.disconnected.clear()
        self.subscribe()

    def refused_by_broker(self, reason: ReasonCode) -> None:
        """Say why the broker does not let it in (I2M-LIFE-04)."""
        LOG.error("the broker refuses the connection: %s; see MQTT_USERNAME and MQTT_PASSWORD", reason)

    def on_connect_fail(self, _client: mqtt.Client, _userdata: object) -> None:
        """Say that nobody answers there."""
        LOG.warning("no broker answers at %s:%d; trying again", self.environment.host, self.environment.port)

    def on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        """Note that there is no connection."""
        LOG.info("the connection has ended: %s", reason)
        self.online = False
        self.forget_online()
        self.disconnected.set()

    def subscribe(self) -> None:
        """Ask for all subscriptions at once."""
        self.ask_for(self.filters())

    def ask_for(self, filters: list[tuple[str, int]]) -> int | None:
        """Send a SUBSCRIBE and return its number."""
        return self.client.subscribe(filters)[1]

    def on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        """Go online once all subscriptions are granted and the lights are open (I2M-STATUS-03, I2M-STATUS-08)."""
        if mid == self.looking:
            return
        if any(reason.is_failure for reason in reasons):
            LOG.error("the broker refuses a subscription: allow all topics below %s/", self.root)
            self.inbox.put(partial(self.end, 1))
            return
        if self.lights_open():
            self.ready()
        else:
            self.fail()

    def lights_open(self) -> bool:
        """Whether the lights are open."""
        return self.instance.word == OPENS

    def fail(self) -> None:
        """End because the lights stay shut (I2M-STATUS-08)."""
        LOG.error("the lights do not open: correct `word` in the `connection` of the instance configuration")
        self.inbox.put(partial(self.end, 1))

    def ready(self) -> None:
        """Say `online`, and publish every state without waiting for the next poll (I2M-STATE-06)."""
        self.look_for_leftovers()
        self.announce()
        self.online = True
        self.inbox.put(self.poll)

    def look_for_leftovers(self) -> None:
        """Ask once for the states that the broker keeps, to clear those of devices that have left (I2M-LIFE-11)."""
        if self.looking is None:
            self.looking = self.ask_for([(self.topic(suffix), 0) for suffix in KEPT])

    def clear_leftover(self, message: mqtt.MQTTMessage) -> None:
        """Clear the topic of a device that has left; our own first state comes after all that is kept."""
        name = message.topic.removeprefix(f"{self.root}/").split("/")[1]
        if not message.retain and not self.looked:
            self.looked = True
            self.client.unsubscribe([self.topic(suffix) for suffix in KEPT])
        elif message.retain and message.payload and name not in self.instance.devices:
            LOG.info("%s is left of a device that has gone, and is cleared", message.topic)
            self.client.publish(message.topic, b"", qos=1, retain=True)

    def announce(self) -> None:
        """Publish `online` (I2M-STATUS-02)."""
        self.say_online(qos=1, retain=True)
        LOG.info("online as %s", self.root)

    def say_online(self, *, qos: int, retain: bool) -> None:
        """Publish `online` and keep in mind whether the broker has it."""
        self.said_online = self.client.publish(self.topic("status"), "online", qos=qos, retain=retain)

    def forget_online(self) -> None:
        """Let paho not repeat an unacknowledged `online`: it would come before the subscriptions (I2M-STATUS-03).

        There is no public way to take a message back.
        """
        if self.said_online is None or self.said_online.is_published():
            return
        with self.client._out_message_mutex:  # noqa: SLF001
            if self.client._out_messages.pop(self.said_online.mid, None) is not None:  # noqa: SLF001
                self.client._inflight_messages -= 1  # noqa: SLF001

    def later(self, seconds: float, job: Callable[[], object]) -> None:
        """Have the main thread do something after a while."""
        timer = Timer(seconds, self.inbox.put, [job])
        timer.daemon = True
        timer.start()

    def on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        """Leave a message to the main thread."""
        self.inbox.put(partial(self.receive, message))

    def topic(self, suffix: str) -> str:
        """Return a topic of this instance (I2M-ENV-01)."""
        return f"{self.root}/{suffix}"

    # ------------------------------------------------------------------ the connector's own
    def poll(self) -> None:
        """Publish the states, and note when to do so next."""
        raise NotImplementedError

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Handle a message."""
        raise NotImplementedError
