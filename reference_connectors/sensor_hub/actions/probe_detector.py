"""Is there a motion detector at this address? Asked by the setup flow before it writes an instance."""

import http.client
import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from iot2mqtt_sdk.actions import ActionError, action

LONGEST_ANSWER = 65536


def battery_of(body: bytes, url: str) -> float:
    """Return the charge of a detector's battery in percent.

    Raises:
        ActionError: The answer is none of a detector.
    """
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("motion"), bool) or "battery" not in told:
        raise ActionError("not_a_detector", f"what answers at {url} is no motion detector")
    return float(told["battery"])


@action
def probe_detector(
    url: Annotated[str, Field(pattern=r"^http://[^/\s]+(/\S*)?$")],
    timeout: Annotated[float, Field(gt=0, le=20)] = 3.0,
) -> dict[str, Any]:
    """Return the detector's address, and the charge of its battery in percent."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        status, body = response.status, response.read(LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        message = f"no detector answers at {url} ({error}); is it switched on, and the address right?"
        raise ActionError("unreachable", message, retriable=True) from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise ActionError("not_a_detector", f"what is at {url} answers with status {status}")
    return {"url": url, "battery_level": battery_of(body, url)}
