"""Launches that are played side by side."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*launches: Coroutine[Any, Any, None]) -> None:
    """Play launches side by side; where one cannot be played, all have ended before that is told.

    `asyncio.gather` would leave the others behind, with their processes, when a broker has died.
    """
    async with asyncio.TaskGroup() as group:
        for launch in launches:
            group.create_task(launch)
