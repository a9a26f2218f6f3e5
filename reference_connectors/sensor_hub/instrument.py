"""Speaks to the instrument at the serial port: one line out, one line back, each answer with a checksum.

    READ temp_living_room       temp_living_room 22.51*1F
    LIST                        LIST temp_living_room:temperature humidity_living_room:humidity*63
    READ somebody_else          ERR unknown*2A

The checksum is the exclusive or of all characters before the asterisk, in hexadecimal. Half a line, a bit that has
flipped on the way, and the late answer to an earlier question are all noticed by it or by the name.
"""

import errno
import math
import os
import termios
import threading
import time
from contextlib import suppress
from functools import reduce

import serial

LONGEST_LINE = 1000
BUSY = (errno.EAGAIN, errno.EBUSY)
"""What the system says of a port that somebody else has locked."""
LOOK_AGAIN = 0.05
"""Seconds until a port that somebody else uses is tried again."""


class InstrumentError(Exception):
    """The sensor could not be read.

    Args:
        code: READ_TIMEOUT, READ_ERROR or PORT_UNAVAILABLE.
        message: What has happened.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def checksum(text: bytes) -> bytes:
    """Return the checksum of a line."""
    return b"%02X" % reduce(lambda one, other: one ^ other, text, 0)


class Instrument:
    """One serial port, which is opened when it is needed, and again after it has failed.

    Args:
        port: The device file, such as /dev/ttyUSB0.
        baudrate: Bits a second.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, *, port: str, baudrate: int, timeout: float) -> None:
        self._port, self._baudrate, self._timeout = port, baudrate, timeout
        self._lock = threading.Lock()
        self._line: serial.Serial | None = None

    def read(self, address: str) -> float:
        """Return the value of a sensor.

        Raises:
            InstrumentError: There is none.
        """
        name, _, text = self._ask(f"READ {address}").partition(" ")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if name != address or not math.isfinite(value):
            raise InstrumentError("READ_ERROR", f"the instrument answered {name!r} {text!r} when asked for {address}")
        return value

    def sensors(self) -> dict[str, str]:
        """Return the types of all sensors by address.

        Raises:
            InstrumentError: The instrument does not say.
        """
        word, *pairs = self._ask("LIST").split()
        if word != "LIST" or not all(":" in pair for pair in pairs):
            raise InstrumentError("READ_ERROR", "what answers is no such instrument")
        return dict(pair.split(":", 1) for pair in pairs)

    def _ask(self, question: str) -> str:
        """Ask, one question at a time; a port that has failed is opened anew at the next one."""
        with self._lock:
            try:
                line = self._line = self._line or self._open()
                # What is still there is the answer to a question that nobody waits for any more.
                line.reset_input_buffer()
                line.write(f"{question}\n".encode())
                answer = line.read_until(b"\n", LONGEST_LINE)
            except (OSError, termios.error) as error:  # pyserial's own errors are OSErrors
                self._close()
                raise InstrumentError("PORT_UNAVAILABLE", f"{self._port} cannot be used: {_reason(error)}") from error
        return _checked(answer)

    def _open(self) -> serial.Serial:
        """Open the port for us alone: of two who ask on one line, either could get the answer that is for the other."""
        end = time.monotonic() + self._timeout
        while True:
            line = serial.Serial(
                None, self._baudrate, timeout=self._timeout, write_timeout=self._timeout, exclusive=True
            )
            line.port = self._port
            try:
                line.open()
            except OSError as error:
                if error.errno not in BUSY or time.monotonic() > end:
                    raise
                time.sleep(LOOK_AGAIN)
            else:
                return line

    def _close(self) -> None:
        if self._line is not None:
            with suppress(OSError, termios.error):
                self._line.close()
            self._line = None


def _reason(error: Exception) -> str:
    """Return what is wrong with a port, in few words."""
    number = error.errno if isinstance(error, OSError) else error.args[0]
    if number in BUSY:
        return "another program uses it"
    return os.strerror(number) if isinstance(number, int) else str(error)


def _checked(answer: bytes) -> str:
    """Return the text of an answer without its checksum.

    Raises:
        InstrumentError: It is none.
    """
    if not answer.endswith(b"\n"):
        said = f"only said {answer[:40]!r}" if answer else "did not respond"
        raise InstrumentError("READ_TIMEOUT", f"Sensor {said}")
    text, _, told = answer.strip().rpartition(b"*")
    if told != checksum(text) or not text.isascii():
        raise InstrumentError("READ_ERROR", f"the answer was damaged on the line: {answer[:40]!r}")
    if text.startswith(b"ERR "):
        raise InstrumentError("READ_ERROR", f"the instrument says: {text[4:].decode()}")
    return text.decode()
