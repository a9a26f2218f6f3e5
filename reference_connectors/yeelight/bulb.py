"""One bulb: a connection that is kept, what the bulb says when asked, and what it says by itself.

The package `yeelight` speaks the protocol. It is patient, though: it waits 15 s for an answer and as long before it
connects again. So every connection that has failed in any way is given up here, and the next question opens another.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from yeelight import Bulb as PackageBulb  # type: ignore[import-untyped]
from yeelight import BulbException
from yeelight.aio import KEY_CONNECTED, AsyncBulb  # type: ignore[import-untyped]

_log = logging.getLogger("yeelight.bulb")

MODES = {"1": "rgb", "2": "color_temp", "3": "hsv"}
READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "power": ("power", lambda text: {"on": True, "off": False}[text]),
    "bright": ("brightness", int),
    "ct": ("color_temp", int),
    "rgb": ("rgb", lambda text: f"#{int(text):06x}"),
    "color_mode": ("color_mode", lambda text: MODES[text]),
}
"""By the bulb's property: the device's, and how to read its text. A bulb leaves empty what it does not have."""

Address = tuple[str, int]
Raw = dict[str, str]


class BulbError(Exception):
    """A bulb answers what no bulb should, or refuses."""


class UnreachableError(BulbError):
    """A bulb does not answer; it may later."""


class Bulb:
    """A bulb that is connected to when it is first spoken to. All of it belongs on one event loop.

    Args:
        locate: Says where the bulb is; asked again after a connection could not be made.
        timeout: Seconds that connecting, or an answer, may take.
        on_change: Told what has changed where it was not this program that changed it.
    """

    def __init__(
        self,
        locate: Callable[[], Awaitable[Address]],
        *,
        timeout: float,
        on_change: Callable[[Mapping[str, Any]], None] = lambda _changed: None,
    ) -> None:
        self._locate = locate
        self._timeout = timeout
        self._on_change = on_change
        self._address: Address | None = None
        self._link: Any = None
        self._raw: Raw = {}
        self._pushed: Raw = {}
        self._expected: Raw = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> dict[str, Any]:
        """What is known of the bulb; nothing while there is no connection."""
        return decoded(self._raw)

    async def read(self) -> dict[str, Any]:
        """Ask for all properties.

        Raises:
            BulbError: There is no answer, or none that makes sense.
        """
        self._pushed = {}
        answer = await self._speak("get_prop", lambda link: link.async_send_command("get_prop", list(READERS)))
        values = answer.get("result")
        if not isinstance(values, list) or len(values) != len(READERS):
            raise BulbError(f"{self._name} answered {values!r} when asked for {len(READERS)} properties")
        # What was pushed since the question may be newer than the answer, and never is older for long.
        raw = {**dict(zip(READERS, map(str, values), strict=True)), **self._pushed}
        state = decoded(raw)
        self._raw = raw
        return state

    async def write(self, wanted: Mapping[str, Any], *, effect: str, duration: int) -> None:
        """Make the bulb take values. It takes most of them only while it is on, so they switch it on.

        Args:
            wanted: New values by property.
            effect: `smooth` or `sudden`.
            duration: Milliseconds that a smooth change takes.

        Raises:
            BulbError: The bulb does not answer, or refuses.
        """
        how = {"effect": effect, "duration": duration}
        shown = {name: value for name, value in wanted.items() if name != "power"}
        if wanted.get("power") or (shown and self._raw.get("power") != "on"):
            await self._tell("power", lambda link: link.async_turn_on(**how), power="on")
        if "color_temp" in shown:
            degrees = shown["color_temp"]
            await self._tell(
                "color_temp", lambda link: link.async_set_color_temp(degrees, **how), ct=str(degrees), color_mode="2"
            )
        if "rgb" in shown:
            number = int(shown["rgb"].removeprefix("#"), 16)
            parts = number.to_bytes(3, "big")
            await self._tell("rgb", lambda link: link.async_set_rgb(*parts, **how), rgb=str(number), color_mode="1")
        if "brightness" in shown:
            percent = shown["brightness"]
            await self._tell("brightness", lambda link: link.async_set_brightness(percent, **how), bright=str(percent))
        if wanted.get("power") is False:
            await self._tell("power", lambda link: link.async_turn_off(**how), power="off")

    async def close(self) -> None:
        """Give the connection up."""
        self._lost(self._link)
        await asyncio.gather(*self._closing)

    # ------------------------------------------------------------------ speaking
    async def _tell(self, what: str, talk: Callable[[Any], Awaitable[Any]], **becomes: str) -> None:
        """Have one change made; what it makes of the bulb is no news when the bulb tells it."""
        self._expected = becomes
        try:
            answer = await self._speak(what, talk)
        finally:
            self._expected = {}
        if answer != "ok":
            raise BulbError(f"{self._name} answered {answer!r} to a change of {what}")
        self._raw.update(becomes)

    async def _speak(self, what: str, talk: Callable[[Any], Awaitable[Any]]) -> Any:
        link = await self._connected()
        try:
            async with asyncio.timeout(self._timeout):
                return await talk(link)
        except TimeoutError:
            self._lost(link)
            raise UnreachableError(f"{self._name} gave no answer to {what} within {self._timeout:g} s") from None
        except BulbException as error:
            raise self._explained(what, error) from error
        except (LookupError, TypeError) as error:
            self._lost(link)
            raise BulbError(f"the answer of {self._name} to {what} makes no sense") from error

    async def _connected(self) -> Any:
        if self._link is not None:
            return self._link
        host, port = self._address = self._address or await self._locate()
        link = self._link = AsyncBulb(host, port=port)
        try:
            async with asyncio.timeout(self._timeout):
                await link.async_listen(partial(self._heard, link))
        except (TimeoutError, BulbException) as error:
            self._lost(link)
            self._address = None
            reason = error.__cause__ or f"no connection within {self._timeout:g} s"
            raise UnreachableError(f"no bulb answers at {host}:{port}: {reason}") from error
        return link

    def _explained(self, what: str, error: BulbException) -> BulbError:
        refusal = error.args[0] if error.args else None
        if isinstance(refusal, dict):
            return BulbError(f"{self._name} refused {what}: {refusal.get('message')} (code {refusal.get('code')})")
        return UnreachableError(f"{self._name} hung up before it had answered {what}")

    @property
    def _name(self) -> str:
        return "the bulb" if self._address is None else "the bulb at {}:{}".format(*self._address)

    # ------------------------------------------------------------------ hearing
    def _heard(self, link: Any, news: dict[str, Any]) -> None:
        """Take what the package tells of: properties, and whether there is a connection."""
        if link is not self._link:
            return
        if not news.get(KEY_CONNECTED, True):
            self._lost(link)
            return
        raw = {name: str(value) for name, value in news.items() if name in READERS}
        changed = {name: text for name, text in raw.items() if {**self._raw, **self._expected}.get(name) != text}
        try:
            told = decoded(changed)
        except BulbError as error:
            _log.warning("a notification is left out: %s", error)
            return
        self._pushed.update(raw)
        if self._raw:
            self._raw.update(raw)
            if told:
                self._on_change(told)

    def _lost(self, link: Any) -> None:
        """Give a connection up, and with it what was known: the bulb may change while nobody listens."""
        if link is None or link is not self._link:
            return
        self._link = None
        self._raw = {}
        task = asyncio.ensure_future(link.async_stop_listening())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def decoded(raw: Mapping[str, str]) -> dict[str, Any]:
    """Return a device's properties from the texts of a bulb.

    Raises:
        BulbError: One of the texts cannot be read.
    """
    found = {}
    for name, text in raw.items():
        known, read = READERS[name]
        try:
            found.update({known: read(text)} if text else {})
        except (ValueError, LookupError):
            raise BulbError(f"the bulb says that its {name} is {text!r}") from None
    return found


def white_range(model: str | None) -> tuple[int, int]:
    """Return the least and the greatest colour temperature of a model in kelvin; wide where it is unknown."""
    limits = PackageBulb("", model=model).get_model_specs()["color_temp"]
    return limits["min"], limits["max"]
