"""The service in the middle: knows which handler serves which device, and keeps readings for a while."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from peer import Peer, PeerError
from service import Answer, ApiError, Request, health, now, read_settings, serve

HANDLERS_READY_WITHIN = 5.0
"""Seconds to wait for the handlers at the start."""
HEALTH_WITHIN = 2.0
"""Seconds that a handler may take to tell how it is."""
ANSWER_WITHIN = 8.0
"""Seconds that a handler may take for a reading: one after the other comes over a serial line."""

_log = logging.getLogger("state-aggregator")


class Cache:
    """Readings and their age.

    Args:
        ttl: Seconds after which a reading is too old.
    """

    def __init__(self, *, ttl: float) -> None:
        self._ttl = ttl
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[float, Answer]] = {}
        self._hits = self._misses = 0

    def find(self, name: str, max_age: float | None) -> tuple[Answer, float] | None:
        """Return a reading and its age, where it is young enough."""
        limit = self._ttl if max_age is None else min(max_age, self._ttl)
        with self._lock:
            read_at, reading = self._entries.get(name, (0.0, {}))
            age = time.monotonic() - read_at
            if reading and age < limit:
                self._hits += 1
                return reading, round(age, 3)
            self._misses += 1
            return None

    def keep(self, name: str, reading: Answer) -> None:
        """Keep a reading in the place of the last one."""
        with self._lock:
            self._entries[name] = (time.monotonic(), reading)

    def drop(self, name: str) -> None:
        """Forget a reading: after a failure nobody should take it for the present."""
        with self._lock:
            self._entries.pop(name, None)

    def clear(self) -> int:
        """Forget all readings, and return how many there were."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            return count

    def stats(self) -> dict[str, Any]:
        """Return how often the cache has helped, and the age of what is in it."""
        with self._lock:
            ages = {name: round(time.monotonic() - read_at, 3) for name, (read_at, _) in self._entries.items()}
            return {"ttl": self._ttl, "hits": self._hits, "misses": self._misses, "entries": len(ages), "ages": ages}


class StateAggregator:
    """Asks the handlers for what is not in the cache.

    Args:
        devices: `device_id`, `type` and `handler` of each.
        handlers: The services by the name that devices use.
        cache: What is known already.
    """

    def __init__(self, *, devices: list[Mapping[str, str]], handlers: Mapping[str, Peer], cache: Cache) -> None:
        self._devices = {device["device_id"]: device for device in devices}
        self._handlers = handlers
        self._cache = cache
        self._locks = {name: threading.Lock() for name in self._devices}
        self._status = dict.fromkeys(self._devices, "unknown")

    def health(self, _request: Request) -> Answer:
        """Tell how the handlers are; `healthy` where all answer, otherwise `degraded`."""
        handlers = {name: self._health_of(peer) for name, peer in self._handlers.items()}
        well = all(handler["status"] == "healthy" for handler in handlers.values())
        return health("state-aggregator", status="healthy" if well else "degraded", handlers=handlers)

    def devices(self, _request: Request) -> Answer:
        """List the devices of all handlers."""
        found = [{**device, "status": self._status[name]} for name, device in self._devices.items()]
        return {"devices": found, "count": len(found)}

    def device(self, request: Request) -> Answer:
        """Return a reading, from the cache where that is young enough."""
        # Of those who ask for the same device at once, one reads it for all.
        with self._lock(request.name):
            found = self._cache.find(request.name, request.max_age)
            if found is not None:
                return {**found[0], "cached": True, "cache_age": found[1]}
            return self._read(request.name)

    def refresh(self, request: Request) -> Answer:
        """Return a new reading."""
        with self._lock(request.name):
            return self._read(request.name)

    def cache_stats(self, _request: Request) -> Answer:
        """Tell how the cache does."""
        return self._cache.stats()

    def clear_cache(self, _request: Request) -> Answer:
        """Forget all readings."""
        return {"cleared": self._cache.clear(), "timestamp": now()}

    def errors(self, _request: Request) -> Answer:
        """List the errors of all handlers, and the handlers that do not answer."""
        found: list[dict[str, Any]] = []
        for name, peer in self._handlers.items():
            try:
                found += [{**error, "handler": name} for error in peer.get("/errors")["errors"]]
            except PeerError as error:
                found.append({"handler": name, "error": error.code, "message": error.message, "timestamp": now()})
        return {"errors": found, "count": len(found)}

    def _lock(self, name: str) -> threading.Lock:
        if name not in self._locks:
            raise ApiError(404, "DEVICE_NOT_FOUND", f"no device {name} is configured")
        return self._locks[name]

    def _read(self, name: str) -> Answer:
        try:
            reading = self._handlers[self._devices[name]["handler"]].get(f"/sensor/{quote(name, safe='')}")
        except PeerError as error:
            self._cache.drop(name)
            self._status[name] = "offline"
            raise ApiError(error.status, error.code, error.message) from error
        self._cache.keep(name, reading)
        self._status[name] = "online"
        return {**reading, "cached": False, "cache_age": 0.0}

    @staticmethod
    def _health_of(peer: Peer) -> dict[str, Any]:
        try:
            told = peer.health(HEALTH_WITHIN)
        except PeerError as error:
            return {"status": "unreachable", "message": error.message, "circuit": peer.circuit.state}
        return {"status": told.get("status"), "started": told.get("started"), "circuit": peer.circuit.state}


def main() -> None:
    """Wait for the handlers, then serve until SIGTERM."""
    settings = read_settings()
    handlers = {
        "serial": Peer(name="serial-handler", url=os.environ["SERIAL_HANDLER_URL"], timeout=ANSWER_WITHIN),
        "http": Peer(name="http-poller", url=os.environ["HTTP_POLLER_URL"], timeout=ANSWER_WITHIN),
    }
    end = time.monotonic() + HANDLERS_READY_WITHIN
    for peer in handlers.values():
        if not peer.wait(end - time.monotonic(), threading.Event()):
            _log.warning("%s was not ready within %g s", peer.name, HANDLERS_READY_WITHIN)
    aggregator = StateAggregator(devices=settings["devices"], handlers=handlers, cache=Cache(ttl=settings["cache_ttl"]))
    serve(
        {
            "GET /health": aggregator.health,
            "GET /devices": aggregator.devices,
            "GET /device/{name}": aggregator.device,
            "POST /device/{name}/force-refresh": aggregator.refresh,
            "GET /cache/stats": aggregator.cache_stats,
            "POST /cache/clear": aggregator.clear_cache,
            "GET /errors": aggregator.errors,
        }
    )


if __name__ == "__main__":
    main()
