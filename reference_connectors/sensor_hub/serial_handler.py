"""The service that reads the sensors of the instrument at the serial port, on request."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from instrument import Instrument, InstrumentError
from service import Answer, ApiError, Request, health, now, read_settings, serve

UNITS = {"temperature": "°C", "humidity": "%"}

_log = logging.getLogger("serial-handler")


class SerialHandler:
    """Reads sensors, and remembers what became of the last reading of each.

    Args:
        sensors: `sensor_id`, `type` and `address` of each.
        instrument: What they are attached to.
    """

    def __init__(self, *, sensors: list[Mapping[str, str]], instrument: Instrument) -> None:
        self._sensors = {sensor["sensor_id"]: sensor for sensor in sensors}
        self._instrument = instrument
        self._lock = threading.Lock()
        self._readings: dict[str, dict[str, Any]] = {}
        self._errors: dict[str, dict[str, Any]] = {}

    def health(self, _request: Request) -> Answer:
        """Tell how many sensors there are, and how many cannot be read."""
        with self._lock:
            return health("serial-handler", sensors=len(self._sensors), errors=len(self._errors))

    def sensors(self, _request: Request) -> Answer:
        """List the sensors."""
        found = [{"sensor_id": name, "type": sensor["type"]} for name, sensor in self._sensors.items()]
        return {"sensors": found, "count": len(found)}

    def fresh(self, request: Request) -> Answer:
        """Read a sensor."""
        sensor = self._sensor(request.name)
        try:
            value = self._instrument.read(sensor["address"])
        except InstrumentError as error:
            self._note_error(request.name, error)
            raise ApiError(503, error.code, str(error)) from error
        reading = {
            "sensor_id": request.name,
            "type": sensor["type"],
            "value": value,
            "unit": UNITS[sensor["type"]],
            "timestamp": now(),
            "quality": "good",
        }
        with self._lock:
            self._readings[request.name] = reading
            self._errors.pop(request.name, None)
        return reading

    def cached(self, request: Request) -> Answer:
        """Return the last good reading of a sensor, however old, without a look at the instrument."""
        self._sensor(request.name)
        with self._lock:
            if request.name not in self._readings:
                raise ApiError(404, "NO_READING", f"{request.name} has not been read yet")
            return self._readings[request.name]

    def errors(self, _request: Request) -> Answer:
        """List the sensors that could not be read when they were last asked."""
        with self._lock:
            return {"errors": list(self._errors.values()), "count": len(self._errors)}

    def _sensor(self, name: str) -> Mapping[str, str]:
        if name not in self._sensors:
            raise ApiError(404, "SENSOR_NOT_FOUND", f"no sensor {name} is configured")
        return self._sensors[name]

    def _note_error(self, name: str, error: InstrumentError) -> None:
        told = {"sensor_id": name, "error": error.code, "message": str(error), "timestamp": now()}
        with self._lock:
            if name not in self._errors:
                _log.warning("%s: %s: %s", name, error.code, error)
            self._errors[name] = told


def main() -> None:
    """Serve until SIGTERM."""
    settings = read_settings()
    sensors = settings.pop("sensors")
    handler = SerialHandler(sensors=sensors, instrument=Instrument(**settings))
    serve(
        {
            "GET /health": handler.health,
            "GET /sensors": handler.sensors,
            "GET /sensor/{name}": handler.fresh,
            "GET /sensor/{name}/cached": handler.cached,
            "GET /errors": handler.errors,
        }
    )


if __name__ == "__main__":
    main()
