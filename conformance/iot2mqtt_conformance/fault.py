"""What ends a run without a verdict: services that fail, and errors of the suite itself. Neither is the connector's."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.preparing import PrepareError
from iot2mqtt_conformance.services.base import ServiceError


class CutShortError(Exception):
    """The services failed while scenarios were running; nothing that was seen may be judged."""


class SuiteError(Exception):
    """The suite has failed in a way that is no connector's doing; the message says where, with the traceback."""


class FaultError(Exception):
    """Nothing is judged; the message is all that there is to say of it."""


@contextmanager
def told(where: str) -> Iterator[None]:
    """Make one sentence of whatever goes wrong without being the connector's doing.

    Args:
        where: What the suite is at, such as `in the judge of I2M-CMD-01`.

    Raises:
        FaultError: Something did.
    """
    try:
        yield
    except FaultError:
        raise
    except (PrepareError, ServiceError, LaunchError, CutShortError, SuiteError) as error:
        raise FaultError(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the suite's own
        error.add_note(where)
        raise FaultError(own_fault(error)) from None


def own_fault(error: Exception) -> str:
    """Return what is said of an error of the suite itself, wherever in a group of errors it is."""
    where = "; ".join(_notes(error))
    error = first(error)
    text = "".join(traceback.format_exception(error)).rstrip()
    return (
        f"the suite itself has an error, which is not the connector's, so nothing is judged ({where}:"
        f" {type(error).__name__}: {error}); please report it with this traceback:\n{text}"
    )


def _notes(error: BaseException) -> list[str]:
    """Return what was noted of an error, and of the groups in which it came."""
    inner = _notes(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else []
    return [*getattr(error, "__notes__", []), *inner]


def first(error: Exception) -> Exception:
    """Return the first error of a group, or the error itself."""
    return first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
