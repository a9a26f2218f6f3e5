"""Waiting for a record as long as somebody is there who can bring it about."""

from collections.abc import Callable

from iot2mqtt_conformance.transcript import Record, Recorder

ON_ITS_WAY = 1.0
"""Seconds after the connector's end in which what it has sent may still come."""


class WhileItRuns:
    """Waits no longer than the connector lives, and a little more for what it has sent last.

    Args:
        recorder: Where records come.
        run: The launch.
        ended: Returns the record of the connector's end, or None while it runs.
        extra: Seconds after that end.
    """

    def __init__(self, recorder: Recorder, run: str, ended: Callable[[], Record | None], *, extra: float) -> None:
        self._recorder = recorder
        self._run = run
        self._ended = ended
        self._extra = extra

    async def until(self, predicate: Callable[[Record], bool], *, since: int, seconds: float) -> Record | None:
        """Return the first record that fits, from an index on; None once the time is up or nobody is left."""
        end = self._recorder.now() + seconds
        if self._ended() is None:
            record, fits = await self._fitting_or_end(predicate, since, seconds)
            if record is None or fits:
                return record
            since = record.i + 1
        gone = self._ended()
        if gone is not None:
            end = min(end, gone.t + self._extra)
        left = max(0.0, end - self._recorder.now())
        return await self._recorder.wait(self._run, predicate, since=since, seconds=left)

    async def _fitting_or_end(
        self, predicate: Callable[[Record], bool], since: int, seconds: float
    ) -> tuple[Record | None, bool]:
        """Return the first record that fits or is the end, and whether it fits; a predicate may count its calls."""
        fits = False

        def either(record: Record) -> bool:
            nonlocal fits
            fits = predicate(record)
            return fits or record.kind == "proc.exit"

        return await self._recorder.wait(self._run, either, since=since, seconds=seconds), fits
