"""I2M-ERR: errors of devices."""

import math
import time
from typing import Any

from connector import Connector
from devices import Device, RefusedError

from broken.registry import breaks

NOTHING_TO_JUDGE = ("I2M-ERR-01", "I2M-ERR-05")
"""Neither form nor number of errors can be judged where there are none."""
STILL_OFFLINE = ("I2M-META-04", "I2M-LIFE-10")
"""A device that is not reached again stays offline in devices_list, also after a process has died and come back."""
MANY = 5
"""Failures after which somebody may lose patience."""


class _OtherReport(Connector):
    """Changes what an error message says."""

    def tell_error(self, device: Device, facts: dict[str, Any]) -> None:
        """Publish the changed message."""
        self.change(facts)
        super().tell_error(device, facts)

    def change(self, facts: dict[str, Any]) -> None:
        """Change it."""
        raise NotImplementedError


@breaks("I2M-ERR-01")
class NoSeverity(_OtherReport):
    """An error does not say how severe it is."""

    def change(self, facts: dict[str, Any]) -> None:
        """Leave that out."""
        del facts["severity"]


@breaks("I2M-ERR-01.word")
class OtherSeverity(_OtherReport):
    """The severity is a word that the contract does not know."""

    def change(self, facts: dict[str, Any]) -> None:
        """Use that of a logging library."""
        facts["severity"] = "fatal"


@breaks("I2M-ERR-01.code")
class NumberForCode(_OtherReport):
    """error_code is a number."""

    def change(self, facts: dict[str, Any]) -> None:
        """Use that of the operating system."""
        facts["error_code"] = 111


@breaks("I2M-ERR-01.attempt", company=("I2M-ERR-05",))
class AttemptAsText(_OtherReport):
    """retry_info tells the attempt as a text, which is no number that could grow."""

    def change(self, facts: dict[str, Any]) -> None:
        """Turn it into a text."""
        if "retry_info" in facts:
            facts["retry_info"]["attempt"] = str(facts["retry_info"]["attempt"])


class _OtherFlags(Connector):
    """Publishes errors with other flags."""

    flags: dict[str, Any]

    def tell_error(self, device: Device, facts: dict[str, Any]) -> None:
        """Publish with those."""
        message = {"timestamp": self.timestamp(), **facts}
        self.publish(f"devices/{device.device_id}/error", message, **self.flags)


@breaks("I2M-ERR-01.retained")
class ErrorsRetained(_OtherFlags):
    """Errors are retained, so that they outlive the fault."""

    flags = {"retain": True}  # noqa: RUF012 - read only


@breaks("I2M-ERR-01.qos")
class ErrorsAtQos0(_OtherFlags):
    """Errors have QoS 0."""

    flags = {"qos": 0}  # noqa: RUF012 - read only


# Without the number of the attempt there is no telling whether it is repeated.
@breaks("I2M-ERR-01.bare", company=("I2M-ERR-05",))
class BareText(Connector):
    """An error is a JSON string."""

    def tell_error(self, device: Device, facts: dict[str, Any]) -> None:
        """Publish the message alone."""
        self.publish(f"devices/{device.device_id}/error", facts["message"])


@breaks("I2M-ERR-02", company=NOTHING_TO_JUDGE)
class FailsSilently(Connector):
    """A device that fails is shown as offline, but no error tells why."""

    def publish_failure(self, device: Device, fault: RefusedError, wait: float) -> None:
        """Tell nothing."""


@breaks("I2M-ERR-02.patient")
class FifthTime(Connector):
    """The first failures are kept quiet."""

    quiet = 4

    def publish_failure(self, device: Device, fault: RefusedError, wait: float) -> None:
        """Tell the fifth."""
        if device.failures > self.quiet:
            super().publish_failure(device, fault, wait)

    def backoff(self, device: Device) -> int:
        """Try again at once until then."""
        return 1 if device.failures <= self.quiet else 2 ** (device.failures - self.quiet)


@breaks("I2M-ERR-03")
class GivesUp(Connector):
    """After five failures it ends, however many devices are well."""

    def lose(self, device: Device, fault: RefusedError) -> None:
        """Count, and end."""
        super().lose(device, fault)
        if device.failures >= MANY:
            self.end(1)


@breaks("I2M-ERR-03.counter")
class StopsPolling(Connector):
    """After five failures of any device nothing is polled any more."""

    failed = 0

    def lose(self, device: Device, fault: RefusedError) -> None:
        """Count them all."""
        super().lose(device, fault)
        self.failed += 1

    def polled(self) -> list[Device]:
        """Return nothing after that."""
        return super().polled() if self.failed < MANY else []


@breaks("I2M-ERR-03.round", company=("I2M-ERR-05",))
class EndsTheRound(Connector):
    """A round of polls ends with the first device that fails, in every round anew."""

    def poll(self) -> None:
        """Leave out the devices behind it."""
        self.next_poll = time.monotonic() + self.instance.update_interval
        for device in self.polled() if self.online else []:
            self.begin(device)
            if not device.online:
                return

    def backoff(self, _device: Device) -> int:
        """Try again in the next round."""
        return 1


# Of a process that has died it takes the same leave, and does not come back from that either.
@breaks("I2M-ERR-03.offline", company=("I2M-LIFE-10",))
class OneForAll(Connector):
    """The connector calls itself offline when a device does not answer."""

    def publish_lost(self, device: Device) -> None:
        """Say so on its own topic."""
        super().publish_lost(device)
        self.say_offline()


@breaks("I2M-ERR-03.reconnects")
class StartsAnew(Connector):
    """It drops its connection to the broker and makes a new one when a device has failed five times."""

    def lose(self, device: Device, fault: RefusedError) -> None:
        """Begin anew."""
        super().lose(device, fault)
        if device.failures == MANY:
            self.client.reconnect()


@breaks("I2M-ERR-04", company=STILL_OFFLINE)
class NeverAgain(Connector):
    """A device that has failed is not tried again."""

    def lose(self, device: Device, fault: RefusedError) -> None:
        """Strike it off."""
        super().lose(device, fault)
        device.retry_at = math.inf

    def publish_failure(self, device: Device, fault: RefusedError, wait: float) -> None:
        """Announce nothing."""
        del wait
        facts = {"error_code": fault.code, "message": str(fault), "severity": "error"}
        self.tell_error(device, {**facts, "retry_info": {"attempt": device.failures}})


@breaks("I2M-ERR-04.late", company=STILL_OFFLINE)
class LaterThanAnnounced(Connector):
    """It tries again much later than it has announced."""

    def lose(self, device: Device, fault: RefusedError) -> None:
        """Wait for a minute."""
        super().lose(device, fault)
        device.retry_at += 60


@breaks("I2M-ERR-04.latched", company=STILL_OFFLINE)
class StaysLost(Connector):
    """It tries again, but what was offline once is shown as offline for ever."""

    def take(self, device: Device) -> None:
        """Let nothing good be found."""
        if not device.online:
            device.failing = True
        super().take(device)


@breaks("I2M-ERR-05")
class EveryTime(Connector):
    """It does not back off."""

    def backoff(self, _device: Device) -> int:
        """Wait for one interval."""
        return 1


@breaks("I2M-ERR-05.twice")
class ToldTwice(Connector):
    """Each failed attempt is reported twice."""

    def publish_failure(self, device: Device, fault: RefusedError, wait: float) -> None:
        """Report it again."""
        super().publish_failure(device, fault, wait)
        super().publish_failure(device, fault, wait)


@breaks("I2M-ERR-05.retries")
class ThreeAttempts(Connector):
    """A poll makes three attempts in a row, and reports each of them."""

    def take(self, device: Device) -> None:
        """Try three times."""
        for _ in range(3):
            super().take(device)
            if device.online:
                return


@breaks("I2M-ERR-05.uncounted")
class Uncounted(_OtherReport):
    """There is no retry_info."""

    def change(self, facts: dict[str, Any]) -> None:
        """Leave it out."""
        facts.pop("retry_info", None)


@breaks("I2M-ERR-05.first")
class AlwaysTheFirst(_OtherReport):
    """Every failed attempt is called the first."""

    def change(self, facts: dict[str, Any]) -> None:
        """Forget the others."""
        if "retry_info" in facts:
            facts["retry_info"]["attempt"] = 1
