"""I2M-CMD-10 to 13: many commands at once, commands that arrive again, and commands that were kept."""

import random
from dataclasses import replace
from typing import Any

import paho.mqtt.client as mqtt
from connector import Connector
from orders import Order

from broken.registry import breaks

SOON = 0.05
"""Seconds in which a heap of commands gathers."""
FEW = 12


class _Heap(Connector):
    """Gathers device commands for a moment, and carries them out in another order."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heap: list[Order] = []

    def start(self, order: Order) -> None:
        """Put it on the heap."""
        if not self.heap:
            self.later(SOON, self.work_off)
        self.heap.append(order)

    def work_off(self) -> None:
        """Carry out what has gathered."""
        heap, self.heap = self.heap, []
        for order in self.sort(heap):
            super().start(order)

    def sort(self, heap: list[Order]) -> list[Order]:
        """Return the commands in the order in which they are carried out."""
        raise NotImplementedError


@breaks("I2M-CMD-10")
class LastFirst(_Heap):
    """Of several waiting commands the last one comes first."""

    def sort(self, heap: list[Order]) -> list[Order]:
        """Return them the other way round."""
        return heap[::-1]


@breaks("I2M-CMD-10.threads")
class OneThreadEach(_Heap):
    """Each command has a thread of its own, so that they overtake each other."""

    def sort(self, heap: list[Order]) -> list[Order]:
        """Return them as chance has it."""
        return random.sample(heap, len(heap))


# Refusals change places as well.
@breaks("I2M-CMD-10.values", company=("I2M-CMD-05", "I2M-GROUP-02", "I2M-GROUP-04"))
class SortedByValue(_Heap):
    """Waiting commands are answered in order, and take effect by value."""

    def sort(self, heap: list[Order]) -> list[Order]:
        """Return answers in order, each with the effect of another command, and true the last of them."""
        by_value = sorted(heap, key=lambda order: str(order.values))
        return [replace(order, carry_out=other.carry_out) for order, other in zip(heap, by_value, strict=True)]


# Of thousands of commands too few are answered to judge the memory by.
@breaks("I2M-CMD-11", company=("I2M-LIFE-07",))
class ShortQueue(_Heap):
    """Of many waiting commands some are dropped."""

    def sort(self, heap: list[Order]) -> list[Order]:
        """Return as many as fit."""
        return heap[:FEW]


# Refusals are dropped as well, and too few of thousands are answered to judge the memory by.
@breaks("I2M-CMD-11.one", company=("I2M-CMD-05", "I2M-CMD-09", "I2M-LIFE-07"))
class OneOfAHeap(_Heap):
    """Of several waiting commands only the last one is carried out and answered."""

    def sort(self, heap: list[Order]) -> list[Order]:
        """Return one for each device."""
        return list({order.target: order for order in heap}.values())


@breaks("I2M-CMD-12")
class NothingRemembered(Connector):
    """Every delivery of a command is executed."""

    def is_repeated(self, target: str, command_id: str) -> bool:
        """Say no."""
        del target, command_id
        return False


@breaks("I2M-CMD-12.last")
class OnlyTheLast(Connector):
    """Only the id of the last command is remembered."""

    def is_repeated(self, target: str, command_id: str) -> bool:
        """Forget all others."""
        self.seen = {key: when for key, when in self.seen.items() if key == (target, command_id)}
        return super().is_repeated(target, command_id)


@breaks("I2M-CMD-12.dup")
class TrustsTheFlag(Connector):
    """A command counts as repeated only where MQTT's dup flag says so."""

    dup = False

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Look at the flag."""
        self.dup = message.dup
        super().receive(message)

    def is_repeated(self, target: str, command_id: str) -> bool:
        """Believe it."""
        return self.dup and super().is_repeated(target, command_id)


@breaks("I2M-CMD-13")
class ObeysTheKept(Connector):
    """A retained command is executed."""

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Take it for a new one."""
        message.retain = message.retain and not message.topic.endswith("/cmd")
        super().receive(message)


@breaks("I2M-CMD-13.silent")
class ObeysTheKeptSilently(Connector):
    """A retained command is executed, and not answered."""

    kept = False

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Take it for a new one."""
        self.kept = message.retain and message.topic.endswith("/cmd")
        message.retain = message.retain and not self.kept
        super().receive(message)

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Answer others."""
        if not self.kept:
            super().respond(target, response)


@breaks("I2M-CMD-13.groups")
class GroupsObeyTheKept(Connector):
    """A retained command for a group is executed."""

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Take it for a new one."""
        if "/groups/" in message.topic:
            message.retain = False
        super().receive(message)


@breaks("I2M-CMD-13.fresh")
class OnlyTheOldAreKept(Connector):
    """A retained command is left out only where its timestamp is too old; it may have none."""

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Leave that to the check of its age."""
        if message.topic.endswith("/cmd"):
            message.retain = message.retain and b"timestamp" in message.payload
        super().receive(message)
