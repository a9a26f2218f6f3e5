"""The runner of action scripts, with real scripts in Python and shell."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_sdk import action_runner
from iot2mqtt_sdk.action_runner import Stop, UnknownToolError, load_tool, resolve_tool, run_action, run_tool
from iot2mqtt_sdk.errors import ConfigurationError


def script(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    path.chmod(0o755)
    return path


def run(path: Path, **changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"tool": "t", "input": {}, "timeout": 20, "environment": {}, "secrets": ()}
    return run_action(path, **(usual | {"output_limit": 100_000} | changes))


def error_of(answer: dict[str, Any]) -> tuple[str, str, bool]:
    assert answer["ok"] is False
    error = answer["error"]
    return error["code"], error["message"], error["retriable"]


def test_a_python_action_is_run_with_its_inputs_and_variables_in_the_connector_s_folder(tmp_path: Path) -> None:
    body = (
        "import os\nfrom iot2mqtt_sdk.actions import action\n"
        "@action\ndef f(n: int):\n    return [n, os.environ['REGION'], os.getcwd()]\n"
    )
    path = script(tmp_path, "actions/f.py", body)

    answer = run(path, input={"n": 3}, environment={"REGION": "eu"}, folder=tmp_path)

    assert answer == {"ok": True, "result": [3, "eu", str(tmp_path)]}


def test_a_script_in_another_language_runs_by_its_shebang_and_gets_the_envelope(tmp_path: Path) -> None:
    path = script(tmp_path, "echo.sh", '#!/bin/sh\nprintf \'{"ok": true, "result": %s}\' "$(cat)"\n')

    assert run(path, tool="echo", input={"a": "é"})["result"] == {"tool": "echo", "input": {"a": "é"}}


AWK = '#!/usr/bin/awk -f\n{ printf "{\\"ok\\": true, \\"result\\": %d}", length($0) }\n'
PERL = '#!/usr/bin/env perl\nlocal $/; printf "{\\"ok\\": true, \\"result\\": %d}", length <STDIN>;\n'
NODE = (
    "#!/usr/bin/env node\nconst text = require('fs').readFileSync(0);\n"
    "console.log(JSON.stringify({ok: true, result: text.length}));\n"
)


@pytest.mark.parametrize(("program", "body"), [("awk", AWK), ("perl", PERL), ("node", NODE)])
def test_any_language_with_a_shebang_will_do(tmp_path: Path, program: str, body: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")

    answer = run(script(tmp_path, "size", body), input={"a": 1})

    assert answer == {"ok": True, "result": len(json.dumps({"tool": "t", "input": {"a": 1}}))}


def test_a_python_script_needs_neither_shebang_nor_permission_to_execute(tmp_path: Path) -> None:
    path = script(tmp_path, "f.py", 'import sys\nprint(\'{"ok": true, "result": "%s"}\' % sys.executable)\n')
    path.chmod(0o644)

    assert run(path)["result"] == sys.executable


def test_a_script_gets_the_process_s_variables_but_not_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACTION_TOKEN", "MQTT_PASSWORD", "PYTHONUNBUFFERED", "REGION"):
        monkeypatch.setenv(name, f"outer-{name}")
    path = script(tmp_path, "s.sh", '#!/bin/sh\nenv | sort >seen\necho \'{"ok": true, "result": 1}\'\n')

    run(path, environment={"API_TOKEN": "inner-token", "EMPTY": ""})

    seen = (tmp_path / "seen").read_text().splitlines()
    assert "REGION=outer-REGION" in seen
    assert {"API_TOKEN=inner-token", "EMPTY="} <= set(seen)
    assert [line for line in seen if line.startswith(("ACTION_TOKEN", "MQTT_PASSWORD", "PYTHONUNBUFFERED"))] == []


def test_a_script_that_does_not_read_its_input_is_fine(tmp_path: Path) -> None:
    path = script(tmp_path, "deaf.sh", '#!/bin/sh\nexec <&-\necho \'{"ok": true, "result": 1}\'\n')

    assert run(path, input={"long": "x" * 1_000_000}) == {"ok": True, "result": 1}


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("", "wrote nothing"),
        ("hello", "one JSON object and nothing else"),
        ('{"ok": true, "result": 1} {"ok": true, "result": 2}', "one JSON object and nothing else"),
        ('{"ok": true, "result": NaN}', "NaN"),
        ("[1]", '"ok": true'),
        ('{"ok": true}', "result"),
        ('{"ok": false, "error": {"code": "Bad Code", "message": "m", "retriable": false}}', "code"),
    ],
)
def test_output_that_is_no_answer_is_invalid(tmp_path: Path, output: str, complaint: str) -> None:
    (tmp_path / "output").write_text(output)

    code, message, retriable = error_of(run(script(tmp_path, "s.sh", "#!/bin/sh\ncat output\n")))

    assert (code, retriable) == ("invalid_output", False)
    assert complaint in message


def test_endless_output_is_cut_and_the_script_killed(tmp_path: Path) -> None:
    code, message, _ = error_of(run(script(tmp_path, "yes.sh", "#!/bin/sh\nexec yes\n"), output_limit=1000))

    assert code == "invalid_output"
    assert "more than 1000 bytes" in message


def test_another_exit_code_is_a_failed_tool_with_its_last_words(tmp_path: Path) -> None:
    path = script(tmp_path, "s.sh", "#!/bin/sh\necho first >&2\necho 'no such bulb' >&2\nexit 3\n")

    assert error_of(run(path)) == ("tool_failed", "s.sh exited with code 3: no such bulb", False)


def test_a_crash_is_a_failed_tool_that_names_the_signal(tmp_path: Path) -> None:
    code, message, _ = error_of(run(script(tmp_path, "s.sh", "#!/bin/sh\nkill -SEGV $$\n")))

    assert code == "tool_failed"
    assert "SIGSEGV" in message


@pytest.mark.parametrize("trap", ["", "trap '' TERM\n"], ids=["obeys_sigterm", "ignores_sigterm"])
def test_a_timeout_ends_the_script_and_the_processes_it_started(tmp_path: Path, trap: str) -> None:
    path = script(tmp_path, "s.sh", f"#!/bin/sh\n{trap}sleep 300 & echo $! > child\nwait\nwait\n")

    started = time.monotonic()
    code, _, retriable = error_of(run(path, timeout=0.5))

    assert (code, retriable) == ("timeout", True)
    assert time.monotonic() - started < 20  # of the 300 s that it sleeps
    assert not alive(int((tmp_path / "child").read_text()))


def test_a_process_left_behind_does_not_outlive_its_answer(tmp_path: Path) -> None:
    body = '#!/bin/sh\nsleep 300 &\necho $! > child\necho \'{"ok": true, "result": 1}\'\n'

    assert run(script(tmp_path, "s.sh", body)) == {"ok": True, "result": 1}
    assert not alive(int((tmp_path / "child").read_text()))


def alive(pid: int) -> bool:
    """Tell whether a process runs; a killed one may wait for its parent as a zombie."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state in "ZX":
            return False
        os.sched_yield()
    return True


def test_endless_complaints_do_no_harm_and_the_last_words_remain(tmp_path: Path) -> None:
    path = script(tmp_path, "s.sh", "#!/bin/sh\nyes complaint | head -c 5000000 >&2\necho the end >&2\nexit 1\n")

    assert error_of(run(path)) == ("tool_failed", "s.sh exited with code 1: the end", False)


def test_an_unnamed_signal_is_told_by_its_number(tmp_path: Path) -> None:
    path = script(tmp_path, "s.sh", f"#!/bin/sh\nkill -{signal.SIGRTMIN + 3} $$\n")

    assert f"was ended by signal {signal.SIGRTMIN + 3}" in error_of(run(path))[1]


WAITS = "#!/bin/sh\nsleep 300 &\necho $! > child\necho ready >&2\nwait\n"


def test_a_stop_ends_the_runs_of_all_threads_and_those_that_come_later(tmp_path: Path) -> None:
    stop = Stop()
    ready = threading.Semaphore(0)
    paths = [script(tmp_path, f"{name}/s.sh", WAITS) for name in ("first", "second", "late")]

    def wait_until_stopped(path: Path) -> dict[str, Any]:
        return run(path, timeout=60, stop=stop, on_stderr=lambda piece: ready.release() if piece else None)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(wait_until_stopped, path) for path in paths[:2]]
        assert ready.acquire(timeout=20)
        assert ready.acquire(timeout=20)
        stop.ask()
        answers = [each.result(20) for each in running]

    assert [error_of(answer)[0] for answer in answers] == ["terminated", "terminated"]
    assert not any(alive(int((path.parent / "child").read_text())) for path in paths[:2])
    assert error_of(wait_until_stopped(paths[2]))[0] == "terminated"


def test_a_python_action_gets_the_time_to_clean_up(tmp_path: Path) -> None:
    body = (
        "import pathlib, sys, time\nfrom iot2mqtt_sdk.actions import action\n"
        "@action\ndef f():\n    try:\n        print('at work', file=sys.stderr, flush=True)\n        time.sleep(60)\n"
        "    finally:\n        pathlib.Path('tidy').touch()\n"
    )
    stop = Stop()

    answer = run(script(tmp_path, "f.py", body), timeout=60, stop=stop, on_stderr=lambda _piece: stop.ask())

    assert error_of(answer)[0] == "terminated"
    assert (tmp_path / "tidy").exists()


@pytest.mark.parametrize(
    "written",
    [
        '{"ok": true, "result": {"url": "rtsp://u:hunter2@h", "seen": ["hunter2", 4711]}}',
        '{"ok": false, "error": {"code": "denied", "message": "hunter2 and 4711 were refused", "retriable": false}}',
        "hunter2 4711",
    ],
)
def test_secrets_are_masked_in_results_errors_and_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: str
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "output").write_text(written)
    path = script(tmp_path, "s.sh", "#!/bin/sh\ncat output\necho with hunter2 and 4711 >&2\n")

    answer = run(path, input={"password": "hunter2", "pin": 4711}, secrets=("password", "pin"))

    shown = json.dumps(answer) + caplog.text
    assert "hunter2" not in shown
    assert "4711" not in shown
    assert "with *** and ***" in caplog.text


def test_inputs_that_are_secret_by_name_are_kept_out_of_the_log_but_not_of_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = '#!/bin/sh\necho trying hunter2 >&2\necho with $API_KEY >&2\necho \'{"ok": true, "result": "hunter2"}\'\n'

    answer = run(script(tmp_path, "s.sh", body), input={"password": "hunter2"}, environment={"API_KEY": "k-12345"})

    assert answer["result"] == "hunter2"
    assert "trying ***\nwith ***" in caplog.text


def test_a_secret_at_the_edge_of_what_is_kept_of_stderr_leaves_no_part(tmp_path: Path) -> None:
    heard: list[bytes] = []
    body = "#!/bin/sh\nprintf 'hunter2%.0s' $(seq 30000) >&2\nexit 1\n"

    message = error_of(
        run(script(tmp_path, "s.sh", body), input={"p": "hunter2"}, secrets=("p",), on_stderr=heard.append)
    )[1]

    assert set(message.partition(": ")[2]) == {"*"}
    assert b"".join(heard) == b"***" * 30000


def test_a_secret_in_a_failing_script_s_last_words_is_masked(tmp_path: Path) -> None:
    path = script(tmp_path, "s.sh", "#!/bin/sh\necho hunter2 is wrong >&2\nexit 1\n")

    assert "*** is wrong" in error_of(run(path, input={"password": "hunter2"}, secrets=("password",)))[1]


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_what_cannot_be_started_is_an_executor_error(tmp_path: Path, mode: int) -> None:
    path = script(tmp_path, "data.bin", "\0no program")
    path.chmod(mode)

    code, message, _ = error_of(run(path))

    assert code == "executor_error"
    assert "data.bin cannot be started" in message


def test_a_missing_script_is_an_executor_error(tmp_path: Path) -> None:
    assert error_of(run(tmp_path / "gone.sh"))[0] == "executor_error"


def test_an_entry_inside_the_folder_is_resolved(tmp_path: Path) -> None:
    path = script(tmp_path, "actions/f.py", "")

    assert resolve_tool(tmp_path, "actions/f.py") == path.resolve()
    assert resolve_tool(tmp_path, "actions/../actions/f.py") == path.resolve()


@pytest.mark.parametrize(
    "entry", ["../outside.py", "actions/../../outside.py", "{outside}", "link.py", "linked/outside.py"]
)
def test_an_entry_that_leaves_the_folder_is_refused(tmp_path: Path, entry: str) -> None:
    outside = script(tmp_path, "outside.py", "")
    folder = tmp_path / "connector"
    folder.mkdir()
    (folder / "link.py").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path)

    with pytest.raises(ValueError, match="leads out of the connector's folder"):
        resolve_tool(folder, entry.format(outside=outside))


@pytest.mark.parametrize("entry", ["gone.py", "", "actions"])
def test_an_entry_that_is_no_file_is_refused(tmp_path: Path, entry: str) -> None:
    (tmp_path / "actions").mkdir()

    with pytest.raises(ValueError, match="does not exist"):
        resolve_tool(tmp_path, entry)


SETUP: dict[str, Any] = {
    "tools": {
        "look": {"entry": "actions/look.sh", "timeout": 7, "secrets": ["pin"], "environment": {"REGION": "eu"}},
        "away": {"entry": "../look.sh"},
        "gone": {"entry": "actions/gone.sh"},
        "odd": {"entry": "actions/look.sh", "timeout": "soon"},
    },
    "flows": "what is wrong here is no tool's business",
}
LOOK = '#!/bin/sh\nprintf \'{"ok": true, "result": ["%s", "%s", %s]}\' $REGION "$(pwd -P)" "$(cat)"\n'


@pytest.fixture
def connector(tmp_path: Path) -> Path:
    folder = tmp_path / "lamp"
    script(folder, "actions/look.sh", LOOK)
    script(tmp_path, "look.sh", LOOK)
    (folder / "setup.json").write_text(json.dumps(SETUP))
    return folder


def test_a_tool_runs_as_setup_json_declares_it(connector: Path) -> None:
    answer = run_tool(connector, "look", {"pin": 1234, "n": 1})

    assert answer["result"] == ["eu", str(connector.resolve()), {"tool": "look", "input": {"pin": "***", "n": 1}}]
    assert load_tool(connector, "look")[0].timeout == 7


@pytest.mark.parametrize(
    ("tool", "fault"),
    [
        ("none", "declares no tool 'none'; it declares: away, gone, look, odd"),
        ("away", "tools.away: entry '../look.sh' leads out of the connector's folder"),
        ("gone", "tools.gone: entry 'actions/gone.sh' does not exist"),
        ("odd", "tools.odd: timeout"),
    ],
)
def test_a_tool_that_cannot_be_run_is_refused_with_its_fault(connector: Path, tool: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        run_tool(connector, tool, {})

    assert fault in str(refusal.value)
    assert isinstance(refusal.value, UnknownToolError) == (tool == "none")


@pytest.mark.parametrize("text", [None, "{", "[]", '{"tools": []}'])
def test_a_setup_json_without_tools_is_refused_by_its_path(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "setup.json").write_text(text)

    with pytest.raises(ConfigurationError, match=r"setup\.json (cannot be read|is malformed)"):
        load_tool(tmp_path, "look")


def test_a_signal_that_comes_while_a_script_is_started_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = action_runner._start, []

    def interrupted(*arguments: Any) -> subprocess.Popen[bytes]:
        begun.append(start(*arguments))
        os.kill(os.getpid(), signal.SIGINT)
        return begun[-1]

    monkeypatch.setattr(action_runner, "_start", interrupted)
    sleeping = script(tmp_path, "sleep.sh", "#!/bin/sh\nexec sleep 60\n")
    # It strikes the waiting thread in another place each time.
    for _ in range(10):
        with pytest.raises(KeyboardInterrupt):
            run(sleeping, timeout=60)
        assert begun.pop().poll() is not None
