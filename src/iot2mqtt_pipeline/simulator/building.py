"""What happens where a simulated controller hangs: people come and go, days get warm and cool."""

import math
from dataclasses import dataclass
from random import Random

_DAY = 86_400
_WORK_BEGINS, _WORK_ENDS = 7, 20
_BUSY, _QUIET = 90.0, 3_600.0
_STRIKE_RELEASED = 5.0
_PRESENT_FOR = 30.0
_SIREN_SOUNDS = 60.0
_DOORS = 2
_BADGES = 40


@dataclass(slots=True)
class Passage:
    """Somebody goes through a door.

    Attributes:
        begins: When the button is pressed or the badge is read, in Unix seconds.
        opens: When the door opens.
        closes: When it is closed again.
        door: Which one, from 0.
        by_button: Whether from inside, by the exit button; otherwise by a badge.
        badge: Its number.
    """

    begins: float
    opens: float
    closes: float
    door: int
    by_button: bool
    badge: str


class Building:
    """Everything that the controller's components can sense, moment after moment.

    Args:
        random: Where chance comes from; the same seed makes the same building.
        start: Unix seconds before which nothing happens.
    """

    def __init__(self, *, random: Random, start: float) -> None:
        self._random = random
        self._badges = [f"{random.getrandbits(40):010X}" for _ in range(_BADGES)]
        self._since = self._now = start
        self._siren_until = 0.0
        self._drift = 0.0
        self._celsius = random.uniform(19.0, 23.0)
        self._pressure = random.uniform(1_005.0, 1_022.0)
        self._passage = self._next(start)
        self.passing: Passage | None = None

    def advance(self, now: float) -> None:
        """Let time pass until a moment; what is sensed from then on is what happened since the moment before."""
        self._since, self._now = self._now, now
        self._drift = 0.9 * self._drift + self._random.gauss(0.0, 0.05)
        if self.passing is not None and self.passing.closes + _PRESENT_FOR <= self._since:
            self.passing = None
        while self._passage.begins <= now:
            self.passing = self._passage
            if _at_night(self.passing.begins) and not self.passing.by_button:
                self._siren_until = self.passing.opens + _SIREN_SOUNDS
            self._passage = self._next(self.passing.closes)

    def _next(self, after: float) -> Passage:
        random = self._random
        begins = after + 1.0 + random.expovariate(1.0 / (_QUIET if _at_night(after) else _BUSY))
        opens = begins + random.uniform(0.5, 2.5)
        closes = opens + random.uniform(2.0, 15.0)
        return Passage(
            begins,
            opens,
            closes,
            random.randrange(_DOORS),
            random.choice((True, False)),
            random.choice(self._badges),
        )

    def door_open(self, door: int) -> bool:
        """Whether a door is open now."""
        passing = self.passing
        return passing is not None and passing.door == door and passing.opens <= self._now < passing.closes

    def button_pressed(self, door: int) -> bool:
        """Whether the exit button of a door was pressed since the moment before."""
        return self._begun(door) and self.passing is not None and self.passing.by_button

    def strike_released(self, door: int) -> bool:
        """Whether the strike of a door is released now, or was since the moment before: it follows button and badge."""
        passing = self.passing
        if passing is None or passing.door != door:
            return False
        return self._begun(door) or self._now < passing.begins + _STRIKE_RELEASED

    def badge_read(self) -> str:
        """Return the badge that was read last: that of who comes in, or else of who is refused."""
        passing = self.passing
        if passing is not None and not passing.by_button and self._begun(passing.door):
            return passing.badge
        return f"{self._random.getrandbits(40):010X}"

    def motion(self) -> bool:
        """Whether somebody is in the room, or was a moment ago."""
        passing = self.passing
        return passing is not None and self._since < passing.closes + _PRESENT_FOR

    def siren(self) -> bool:
        """Whether the siren sounds: for a minute after somebody has come in at night."""
        return self._now < self._siren_until

    def celsius(self) -> float:
        """Return the temperature: warmest at three in the afternoon."""
        return self._celsius + 3.0 * self._warmth() + self._drift

    def humidity(self) -> float:
        """Return the relative humidity in percent: lowest when it is warmest."""
        return 48.0 - 8.0 * self._warmth() - 2.0 * self._drift

    def pressure(self) -> float:
        """Return the air pressure in hectopascals: it takes days to change."""
        return self._pressure + 6.0 * math.sin(math.tau * self._now / (5 * _DAY)) + 0.2 * self._drift

    def _warmth(self) -> float:
        return math.cos(math.tau * (self._now / _DAY - 15 / 24))

    def _begun(self, door: int) -> bool:
        passing = self.passing
        return passing is not None and passing.door == door and passing.begins > self._since


def _at_night(moment: float) -> bool:
    hour = moment % _DAY / 3_600
    return not _WORK_BEGINS <= hour < _WORK_ENDS
