"""I2M-ACT: action scripts."""

import fcntl
import json
import logging
import signal
import sys
import traceback
import uuid
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any, NoReturn

from validation import FaultError, Validation

from broken.registry import breaks_action

LONG = 60.0


@breaks_action("I2M-ACT-01")
class Chatty(Validation):
    """It tells on stdout what it has found."""

    def result(self) -> dict[str, Any]:
        """Say it."""
        print("The bridge has lights.")
        return super().result()


@breaks_action("I2M-ACT-01.progress")
class Progress(Validation):
    """It writes an object for its progress before the one for its result."""

    def result(self) -> dict[str, Any]:
        """Write both."""
        print(json.dumps({"progress": 100}))
        return super().result()


@breaks_action("I2M-ACT-01.nan")
class NotANumber(Validation):
    """Its result holds NaN."""

    def result(self) -> dict[str, Any]:
        """Tell of a signal that was not measured."""
        return {**super().result(), "signal": float("nan")}


@breaks_action("I2M-ACT-01.refuses")
class RefusesTheGood(Validation):
    """A good call is answered by a failure."""

    def result(self) -> NoReturn:
        """Find nothing."""
        raise FaultError("no_lights", "the bridge has no lights")


@breaks_action("I2M-ACT-02")
class CodeInWords(Validation):
    """The code is not lower_snake_case."""

    def failure(self, error: dict[str, Any]) -> dict[str, Any]:
        """Write it as a constant."""
        return super().failure({**error, "code": str(error["code"]).upper()})


# What a setup flow is to do with the result, it cannot.
@breaks_action("I2M-ACT-02.bare", company=("I2M-FILE-02",))
class ResultBeside(Validation):
    """The result stands beside `ok`."""

    def success(self, result: dict[str, Any]) -> dict[str, Any]:
        """Leave `result` out."""
        return {"ok": True, **result}


@breaks_action("I2M-ACT-02.retriable")
class NotSaidWhetherRetriable(Validation):
    """Where an error is not retriable, that is left out."""

    def failure(self, error: dict[str, Any]) -> dict[str, Any]:
        """Leave it out."""
        return super().failure({key: value for key, value in error.items() if value is not False})


@breaks_action("I2M-ACT-03")
class FailsByCode(Validation):
    """A failure that is told exits with 1."""

    def code(self, answer: dict[str, Any]) -> int:
        """Tell it again."""
        return 0 if answer["ok"] else 1


# What is not checked is not refused, in whatever way it is wrong.
@breaks_action("I2M-ACT-03.takes", company=("I2M-ACT-04",))
class TakesAll(Validation):
    """An empty password is taken."""

    def text(self, found: dict[str, Any], name: str) -> str:
        """Take whatever comes."""
        return str(found[name]) if name in found else super().text(found, name)


@breaks_action("I2M-ACT-04")
class NoJsonIsNoInput(Validation):
    """What is no JSON is taken for no inputs."""

    def document(self, raw: bytes) -> Any:
        """Go on with nothing."""
        try:
            return super().document(raw)
        except FaultError:
            return {"tool": "validate", "input": {}}


@breaks_action("I2M-ACT-04.envelope")
class NoEnvelopeIsNoInput(Validation):
    """A wrong envelope is taken for no inputs."""

    def input(self, raw: bytes) -> dict[str, Any]:
        """Go on with nothing."""
        document = self.document(raw)
        found = document.get("input") if isinstance(document, dict) else None
        return found if isinstance(found, dict) else {}


@breaks_action("I2M-ACT-04.traceback")
class Traceback(Validation):
    """What is no JSON ends in a traceback on stdout."""

    def document(self, raw: bytes) -> Any:
        """Parse, and let it break."""
        try:
            return json.loads(raw)
        except ValueError:
            traceback.print_exc(file=sys.stdout)
            sys.exit(1)


@breaks_action("I2M-ACT-04.vague")
class Vague(Validation):
    """An input of the wrong type is not named."""

    def complaint(self, _name: str, _value: Any) -> str:
        """Name nothing."""
        return "the input is not valid"


@breaks_action("I2M-ACT-04.lenient")
class Lenient(Validation):
    """An input of the wrong type is taken for text."""

    def text(self, found: dict[str, Any], name: str) -> str:
        """Make text of objects; what has no text at all is the memory."""
        value = found.get(name)
        return "memory" if isinstance(value, dict) else super().text(found, name)


@breaks_action("I2M-ACT-05")
class Final(Validation):
    """An unreachable bridge is no reason to try again."""

    def unreachable(self, host: str, error: OSError) -> Exception:
        """Give up."""
        return FaultError("unreachable", f"no bridge answers at {host}: {error}")


@breaks_action("I2M-ACT-05.patient", company=("I2M-ACT-01",))
class Patient(Validation):
    """It waits for a silent bridge without end, and is killed before it has answered."""

    def wait(self) -> float | None:
        """Wait as long as it takes."""
        return None


@breaks_action("I2M-ACT-05.breaks", company=("I2M-ACT-01",))
class Breaks(Validation):
    """An unreachable bridge ends in a traceback on stderr, and nothing is answered."""

    def unreachable(self, _host: str, error: OSError) -> Exception:
        """Pass the error on."""
        return error


@breaks_action("I2M-ACT-06")
class Deaf(Validation):
    """SIGTERM is ignored."""

    def run(self) -> int:
        """Ignore it from the beginning."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().run()


@breaks_action("I2M-ACT-06.calling")
class DeafWhileCalling(Validation):
    """SIGTERM is ignored while the bridge is asked."""

    def ask(self, host: str, port: int, password: str) -> None:
        """Ignore it meanwhile."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().ask(host, port, password)

    def wait(self) -> float | None:
        """Wait longer than the signal may be ignored."""
        return 4.0


@breaks_action("I2M-ACT-06.tidies")
class TidiesUp(Validation):
    """After SIGTERM it tidies up for a minute."""

    def run(self) -> int:
        """Tidy up at the signal."""
        signal.signal(signal.SIGTERM, self.tidy)
        return super().run()

    @staticmethod
    def tidy(_number: int, _frame: FrameType | None) -> None:
        """Take time."""
        Event().wait(LONG)


@breaks_action("I2M-ACT-07")
class QuotesTheWrong(Validation):
    """An input of the wrong type is quoted, the password too."""

    def complaint(self, name: str, value: Any) -> str:
        """Quote it."""
        return f"{name} must be a text that is not empty, and is {value!r}"


@breaks_action("I2M-ACT-07.stderr")
class LogsItsInput(Validation):
    """It logs its inputs."""

    def validated(self, found: dict[str, Any]) -> dict[str, Any]:
        """Log, then look."""
        logging.getLogger("validate").warning("called with %s", found)
        return super().validated(found)


@breaks_action("I2M-ACT-07.result")
class ReturnsItsInput(Validation):
    """Its result repeats the inputs."""

    def validated(self, found: dict[str, Any]) -> dict[str, Any]:
        """Look, and repeat."""
        return {**super().validated(found), "connection": found}


@breaks_action("I2M-ACT-07.malformed")
class QuotesWhatIsNoJson(Validation):
    """What is no JSON is quoted where it goes wrong, as some parsers do."""

    def document(self, raw: bytes) -> Any:
        """Quote a little of it."""
        try:
            return super().document(raw)
        except FaultError as fault:
            cause = fault.__context__
            if not isinstance(cause, json.JSONDecodeError):
                raise
            near = cause.doc[max(cause.pos - 10, 0) : cause.pos + 10]
            raise FaultError("invalid_json", f"stdin is no JSON near {near!r}") from None


@breaks_action("I2M-ACT-08")
class NewEachTime(Validation):
    """Each run finds devices with other addresses."""

    def result(self) -> dict[str, Any]:
        """Make addresses up."""
        return {"devices": [{"address": uuid.uuid4().hex, "model": "light in memory"}]}


@breaks_action("I2M-ACT-08.alone")
class AloneOnly(Validation):
    """While it runs, another run finds the bridge busy."""

    def run(self) -> int:
        """Take the lock for the time of the run."""
        with Path(__file__).open() as self.lock:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.busy = False
            except BlockingIOError:
                self.busy = True
            return super().run()

    def result(self) -> dict[str, Any]:
        """Answer, if nobody else is there."""
        if self.busy:
            raise FaultError("busy", "the bridge is busy", retriable=True)
        return super().result()
