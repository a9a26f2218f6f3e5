"""Action scripts run as real processes, as the test runner starts them."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_sdk.actions import ActionError, _parse, action
from iot2mqtt_sdk.masking import Mask

HEADER = "from iot2mqtt_sdk.actions import ActionError, action\n"
VALIDATE = "@action\ndef validate(host: str, port: int = 55443):\n    return {'host': host, 'port': port}\n"


class Scripts:
    """Writes action scripts into a folder and runs them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, body: str) -> Path:
        self._count += 1
        script = self._folder / f"script_{self._count}.py"
        script.write_text(HEADER + body)
        return script

    def start(self, body: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        # What is printed before the decorator can be kept off stdout only while Python buffers it.
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        command = [sys.executable, str(self.write(body))]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=buffered)

    def start_and_wait_for(self, ready: bytes, body: str) -> subprocess.Popen[bytes]:
        """Return a process that has read an empty input and written a line to stderr."""
        process = self.start(body)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(envelope())
        process.stdin.close()
        process.stdin = None
        assert process.stderr.readline() == ready
        return process

    def run(self, body: str, stdin: bytes) -> tuple[dict[str, Any], str]:
        """Return the one JSON object on stdout of a script that must exit with 0, and its stderr."""
        process = self.start(body)
        stdout, stderr = process.communicate(stdin, timeout=20)
        assert process.returncode == 0, stderr.decode()
        return parse(stdout), stderr.decode()


def parse(stdout: bytes) -> dict[str, Any]:
    assert stdout.count(b"\n") == 1, stdout
    answer: dict[str, Any] = json.loads(stdout, parse_constant=pytest.fail)
    return answer


def envelope(**inputs: object) -> bytes:
    return json.dumps({"tool": "validate", "input": inputs}).encode()


def error_of(answer: dict[str, Any]) -> tuple[str, str, bool]:
    assert answer["ok"] is False
    error = answer["error"]
    return error["code"], error["message"], error["retriable"]


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


def test_a_call_answers_with_what_the_function_returns_and_uses_its_defaults(scripts: Scripts) -> None:
    answer, stderr = scripts.run(VALIDATE, envelope(host="10.0.0.1"))

    assert answer == {"ok": True, "result": {"host": "10.0.0.1", "port": 55443}}
    assert stderr == ""


def test_an_async_function_is_awaited(scripts: Scripts) -> None:
    body = "import asyncio\n@action\nasync def probe(n: int):\n    await asyncio.sleep(0)\n    return n + 1\n"

    answer, _ = scripts.run(body, envelope(n=1))

    assert answer == {"ok": True, "result": 2}


@pytest.mark.parametrize(
    ("stdin", "code", "named"),
    [
        (b"", "empty_input", "stdin is empty"),
        (b'{"tool": "validate", "input": {', "invalid_json", "line 1"),
        (b'{"tool": "validate", "input": {"port": NaN}}', "invalid_json", "NaN"),
        (b"\xff", "invalid_json", "utf-8"),
        (b"[]", "invalid_envelope", "object"),
        (b'{"input": {"host": "h"}}', "invalid_envelope", "tool"),
        (b'{"tool": "validate", "input": []}', "invalid_envelope", "input"),
        (b'{"tool": "validate", "input": {}}', "invalid_input", "host"),
        (b'{"tool": "validate", "input": {"host": "h", "port": "x"}}', "invalid_input", "port"),
        (b'{"tool": "validate", "input": {"host": "h", "port": "80"}}', "invalid_input", "port"),
        (b'{"tool": "validate", "input": {"host": "h", "port": true}}', "invalid_input", "port"),
        (b'{"tool": "validate", "input": {"host": null}}', "invalid_input", "host"),
        (b'{"tool": "validate", "input": {"host": "h", "prot": 80}}', "invalid_input", "prot"),
    ],
)
def test_wrong_stdin_is_answered_with_a_code_and_what_is_wrong(
    scripts: Scripts, stdin: bytes, code: str, named: str
) -> None:
    answer, stderr = scripts.run(VALIDATE, stdin)

    assert error_of(answer)[0] == code
    assert named in error_of(answer)[1]
    assert "Traceback" not in stderr


@given(st.binary() | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_any_stdin_is_parsed_or_refused_with_an_action_error(stdin: bytes) -> None:
    with pytest.raises(ActionError) as refusal:
        _parse(stdin)

    assert refusal.value.code in {"empty_input", "invalid_json", "invalid_envelope"}


@pytest.mark.parametrize("bomb", [b"[" * 100_000, b"9" * 5_000, b'{"a":' * 100_000], ids=["lists", "digits", "objects"])
def test_json_made_to_exhaust_the_parser_is_refused(bomb: bytes) -> None:
    with pytest.raises(ActionError, match="stdin"):
        _parse(bomb)


def test_inputs_may_be_of_types_that_json_writes_as_text(scripts: Scripts) -> None:
    body = (
        "from datetime import date\nfrom enum import StrEnum\nfrom ipaddress import IPv4Address\n"
        "class Mode(StrEnum):\n    FAST = 'fast'\n"
        "@action\ndef f(day: date, mode: Mode, ip: IPv4Address, json: dict[str, float], **more: int):\n"
        "    return [day.year, mode is Mode.FAST, ip.is_private, json['a'], more]\n"
    )

    answer, _ = scripts.run(body, envelope(day="2024-02-29", mode="fast", ip="10.0.0.1", json={"a": 1}, extra=7))

    assert answer["result"] == [2024, True, True, 1.0, {"extra": 7}]


def test_what_is_printed_by_anything_goes_to_stderr(scripts: Scripts) -> None:
    body = (
        "import os, subprocess\nprint('imported')\n@action\ndef noisy():\n    print('python')\n"
        "    os.write(1, b'descriptor')\n    subprocess.run(['echo', 'child'], check=True)\n    return 1\n"
    )

    answer, stderr = scripts.run(body, envelope())

    assert answer == {"ok": True, "result": 1}
    assert all(word in stderr for word in ("imported", "python", "descriptor", "child"))


def test_an_action_error_carries_its_code_message_and_retriable(scripts: Scripts) -> None:
    body = "@action\ndef f():\n    raise ActionError('wrong_password', 'the bulb says no', retriable=True)\n"

    answer, stderr = scripts.run(body, envelope())

    assert error_of(answer) == ("wrong_password", "the bulb says no", True)
    assert stderr == ""


@pytest.mark.parametrize(
    ("raised", "message", "retriable"),
    [
        ("KeyError('ip')", "f failed with KeyError: 'ip'", False),
        ("RuntimeError()", "f failed with RuntimeError", False),
        ("ConnectionRefusedError(111, 'refused')", "f failed with ConnectionRefusedError: [Errno 111] refused", True),
        ("TimeoutError('late')", "f failed with TimeoutError: late", True),
        ("FileNotFoundError('x.cfg')", "f failed with FileNotFoundError: x.cfg", False),
    ],
)
def test_any_other_exception_is_a_failed_tool_with_its_traceback_on_stderr_only(
    scripts: Scripts, raised: str, message: str, *, retriable: bool
) -> None:
    answer, stderr = scripts.run(f"@action\ndef f():\n    raise {raised}\n", envelope())

    assert error_of(answer) == ("tool_failed", message, retriable)
    assert "Traceback" in stderr


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("import sys; sys.exit(3)", "exited with 3"),
        ("return object()", "not JSON"),
        ("a = []; a.append(a); return a", "not JSON"),
        ("return b'\\xff'", "not JSON"),
        ("raise ActionError('Bad Code', 'x')", "lower_snake_case"),
        ("raise ActionError('silent', '')", "needs a message"),
    ],
)
def test_an_author_s_mistake_is_a_failed_tool_that_says_which(scripts: Scripts, statement: str, named: str) -> None:
    answer, _ = scripts.run(f"@action\ndef f():\n    {statement}\n", envelope())

    assert error_of(answer)[0] == "tool_failed"
    assert named in error_of(answer)[1]


def test_a_helper_below_the_action_is_reported_instead_of_missed(scripts: Scripts) -> None:
    answer, _ = scripts.run("@action\ndef f():\n    return helper()\n\ndef helper():\n    return 1\n", envelope())

    assert error_of(answer)[0] == "tool_failed"
    assert "put f at the end of the script" in error_of(answer)[1]
    assert "helper" in error_of(answer)[1]


def test_numbers_that_json_lacks_become_null_and_dates_become_iso_8601(scripts: Scripts) -> None:
    body = (
        "import datetime, math\n@action\ndef f():\n"
        "    return [math.nan, -math.inf, datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)]\n"
    )

    answer, _ = scripts.run(body, envelope())

    assert answer["result"] == [None, None, "2024-01-02T00:00:00Z"]


SECRET = 'pä"ss\\w%rd'
LEAKY = """
import json, logging, os, subprocess, sys, urllib.parse
logging.basicConfig(level="INFO")
@action(secrets=("password", "pin"))
def leak(password: str, pin: int, fail: bool):
    logging.info("trying %s", password)
    print(json.dumps(password), repr(password), urllib.parse.quote(password), pin)
    sys.stderr.write(password[:3]); sys.stderr.flush(); sys.stderr.write(password[3:] + " done\\n")
    subprocess.run(["printf", "%s", password], check=True)
    if fail:
        raise RuntimeError(f"cannot log in with {password} and {pin}")
    return {"password": password, "list": [pin, f"rtsp://u:{urllib.parse.quote(password)}@h"], password: 1}
"""


@pytest.mark.parametrize("fail", [False, True])
def test_secrets_appear_in_no_spelling_on_stdout_or_stderr(scripts: Scripts, *, fail: bool) -> None:
    answer, stderr = scripts.run(LEAKY, envelope(password=SECRET, pin=739154, fail=fail))

    spellings = [SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "p%C3%A4%22ss", "739154"]
    written = stderr + json.dumps(answer, ensure_ascii=False) + json.dumps(answer)
    assert [spelling for spelling in spellings if spelling in written] == []
    assert "trying ***" in stderr
    assert "*** done" in stderr


def test_a_secret_that_fails_validation_is_not_echoed(scripts: Scripts) -> None:
    answer, stderr = scripts.run(LEAKY, envelope(password=["marker-secret"], pin="marker-secret", fail=False))

    assert error_of(answer)[0] == "invalid_input"
    assert "marker-secret" not in json.dumps(answer) + stderr


def test_a_short_secret_masks_values_but_leaves_the_answer_valid(scripts: Scripts) -> None:
    body = "@action(secrets=('password',))\ndef f(password: str):\n    return {'ok': True, 'said': 'took it'}\n"

    answer, _ = scripts.run(body, envelope(password="o"))

    assert answer == {"ok": True, "result": {"***k": True, "said": "t******k it"}}


@given(st.lists(st.text('abc"\\é', min_size=1, max_size=4), min_size=1, max_size=3), st.binary(), st.data())
def test_a_masked_stream_holds_no_secret_wherever_it_was_cut(
    secrets: list[str], noise: bytes, data: st.DataObject
) -> None:
    secret = data.draw(st.sampled_from(secrets)).encode()
    text = noise + secret + noise
    cut = data.draw(st.integers(0, len(text)))

    masked = through(Mask(secrets, shortest=1), text[:cut], text[cut:])

    assert secret not in masked
    assert b"***" in masked


def through(mask: Mask, *pieces: bytes) -> bytes:
    """Return what a mask makes of a stream that arrives in pieces."""
    (source, feed), (drain, target) = os.pipe(), os.pipe()
    copier = threading.Thread(target=mask.stream, args=(source, target))
    with os.fdopen(source, "rb"), os.fdopen(drain, "rb") as result:
        copier.start()
        with os.fdopen(feed, "wb", buffering=0) as pipe:
            for piece in pieces:
                pipe.write(piece)
                while select.select([source], [], [], 0)[0]:
                    pass
        copier.join(10)
        os.close(target)
        return result.read()


HOLDS_ON = """
def f():
    while True:
        try:
            print('ready', flush=True)
            time.sleep(60)
        except BaseException:
            pass
"""
STUCK_IN_C = """
def f():
    import ctypes
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    print('ready', flush=True)
    lock(mutex)
    lock(mutex)
"""
CLEANS_UP = """
def f():
    try:
        print('ready', flush=True)
        time.sleep(60)
    finally:
        print('tidy')
"""
STOP = "import time\n@action"
SOON = 10.0
"""Seconds: of the 60 that a script would sleep otherwise."""


@pytest.mark.parametrize(
    "body",
    [
        "\ndef f():\n    print('ready', flush=True)\n    time.sleep(60)\n",
        "\nasync def f():\n    import asyncio\n    print('ready', flush=True)\n    await asyncio.sleep(60)\n",
        HOLDS_ON,
        STUCK_IN_C,
    ],
    ids=["sleeping", "async", "holds_on", "stuck_in_c"],
)
def test_sigterm_ends_a_script_soon_and_with_an_answer(scripts: Scripts, body: str) -> None:
    process = scripts.start_and_wait_for(b"ready\n", STOP + body)

    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=SOON)

    assert process.returncode == 143
    assert error_of(parse(stdout))[0] == "terminated"


def test_sigterm_runs_the_script_s_cleanup(scripts: Scripts) -> None:
    process = scripts.start_and_wait_for(b"ready\n", STOP + CLEANS_UP)

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=SOON)

    assert stderr == b"tidy\n"


def test_runs_beside_each_other_and_again_give_the_same_answer(scripts: Scripts) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: scripts.run(VALIDATE, envelope(host="h"))[0], range(3)))

    assert answers == [{"ok": True, "result": {"host": "h", "port": 55443}}] * 3


def test_imported_the_function_is_left_as_it_was_written() -> None:
    def double(value: int) -> int:
        return value * 2

    assert action(double) is double
    assert action(secrets=("value",))(double) is double
    assert double(4) == 8


def test_a_secret_that_is_no_parameter_is_refused_where_it_is_declared() -> None:
    def login(password: str) -> str:
        return password

    with pytest.raises(TypeError, match="secret 'passwd' is none of its parameters"):
        action(secrets=("passwd",))(login)


def test_parameters_that_cannot_be_named_are_refused() -> None:
    def add(*numbers: int) -> int:
        return sum(numbers)

    with pytest.raises(TypeError, match="'numbers' cannot be given by name"):
        action(add)
