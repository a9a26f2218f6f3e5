"""The runner of action scripts, with real scripts in Python and shell."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_sdk.action_runner import resolve_tool, run_action


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
    assert time.monotonic() - started < 5
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


def test_a_python_action_gets_the_time_to_clean_up(tmp_path: Path) -> None:
    body = (
        "import pathlib, time\nfrom iot2mqtt_sdk.actions import action\n"
        "@action\ndef f():\n    try:\n        time.sleep(60)\n"
        "    finally:\n        pathlib.Path('tidy').touch()\n"
    )

    assert error_of(run(script(tmp_path, "f.py", body), timeout=3))[0] == "timeout"
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
