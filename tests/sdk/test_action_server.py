"""`iot2mqtt action-server`: what it runs and what it refuses, over real HTTP."""

import json
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sdk.action_service import IOT2MQTT, JSON, SECONDS, ask, fill, run, serving

from iot2mqtt_sdk.action_server import BODY_LIMIT, ActionServer, ActionServerOptions
from iot2mqtt_sdk.errors import ConfigurationError

TOKEN = "open-sesame-4711"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("actions"))


@pytest.fixture(scope="module")
def port(shared: Path) -> Iterator[int]:
    """Port of a server without a token."""
    with serving(shared) as server:
        yield server.port


def test_health_answers_without_a_token_and_tells_what_runs(port: int) -> None:
    response = ask(port, "GET", "/health")

    assert (response.status, response.body["status"], response.body["running"]) == (200, "healthy", 0)
    assert ask(port, "HEAD", "/health").body is None


def test_an_action_runs_and_its_answer_comes_back_masked(port: int) -> None:
    response = run(port, "echo", host="h", password="hunter2")

    assert response.status == 200
    assert response.body == {"ok": True, "result": {"tool": "echo", "input": {"host": "h", "password": "***"}}}


def test_a_failure_of_the_tool_is_an_answer_too(port: int) -> None:
    response = run(port, "fail", password="hunter2")

    assert response.status == 200
    assert response.code == "tool_failed"
    assert "hunter2" not in json.dumps(response.body)


@pytest.mark.parametrize(
    ("connector", "tool", "status", "code"),
    [
        ("lamp", "nothing", 404, "unknown_tool"),
        ("nothing", "echo", 404, "unknown_connector"),
        ("linked", "echo", 404, "unknown_connector"),
        ("..", "echo", 404, "not_found"),
        (".", "echo", 404, "not_found"),
        ("%2e%2e", "echo", 404, "not_found"),
        ("../outside", "echo", 404, "not_found"),
        ("..%2foutside", "echo", 404, "not_found"),
        ("lamp%00", "echo", 404, "not_found"),
        ("lamp", "away", 500, "executor_error"),
        ("broken", "echo", 500, "executor_error"),
    ],
)
def test_what_cannot_be_run_is_refused(port: int, connector: str, tool: str, status: int, code: str) -> None:
    response = run(port, tool, connector)

    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/actions/lamp/execute", 405, "method_not_allowed"),
        ("OPTIONS", "/actions/lamp/execute", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("GET", "/", 404, "not_found"),
        ("BREW", "/health", 501, "not_implemented"),
        ("GET", "/" + "x" * 70_000, 414, "request_uri_too_long"),
    ],
)
def test_other_methods_and_paths_are_refused_as_json(port: int, method: str, path: str, status: int, code: str) -> None:
    response = ask(port, method, path)

    assert (response.status, response.code) == (status, code)
    assert ("Allow" in response.headers) == (status == 405)


GOOD = '{"tool": "echo", "input": {}}'


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (GOOD, {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (GOOD, {}, 415, "unsupported_media_type"),
        (GOOD, {**JSON, "Content-Length": "-1"}, 400, "invalid_length"),
        (GOOD, {**JSON, "Transfer-Encoding": "chunked"}, 411, "length_required"),
        ("{", JSON, 400, "invalid_json"),
        ('{"tool": "echo", "input": {"n": NaN}}', JSON, 400, "invalid_json"),
        (b"\xff", JSON, 400, "invalid_json"),
        ("[" * 100_000, JSON, 400, "invalid_json"),
        ("[]", JSON, 400, "invalid_envelope"),
        ('{"tool": "echo"}', JSON, 400, "invalid_envelope"),
        ('{"tool": "echo", "input": "marker-secret"}', JSON, 400, "invalid_envelope"),
        ("x" * (BODY_LIMIT + 1), JSON, 413, "body_too_large"),
    ],
)
def test_a_wrong_request_is_refused_with_its_fault(
    port: int, body: str | bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = ask(port, "POST", "/actions/lamp/execute", body, headers)

    assert (response.status, response.code) == (status, code)
    assert "marker-secret" not in json.dumps(response.body)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://web.example"}, "forbidden_origin"),
        ({"Origin": "null"}, "forbidden_origin"),
        ({"Host": "rebound.example:8001"}, "forbidden_host"),
        ({"Host": ""}, "forbidden_host"),
    ],
)
def test_a_web_page_cannot_run_actions_where_there_is_no_token(port: int, headers: dict[str, str], code: str) -> None:
    response = ask(port, "POST", "/actions/lamp/execute", GOOD, {**JSON, **headers})

    assert (response.status, response.code) == (403, code)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8001", "127.0.0.1:1", "[::1]:8001"])
def test_names_of_this_machine_are_served_without_a_token(port: int, host: str) -> None:
    assert ask(port, "POST", "/actions/lamp/execute", GOOD, {**JSON, "Host": host}).status == 200


def test_eight_requests_at_once_each_get_their_own_answer(shared: Path) -> None:
    with serving(shared, "--concurrency", "8") as server, ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda number: run(server.port, "echo", n=number), range(24)))

    assert [response.body["result"]["input"]["n"] for response in responses] == list(range(24))


@pytest.fixture(scope="module")
def guarded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a server with a token."""
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    with serving(shared, ACTION_TOKEN_FILE=str(file)) as server:
        yield server.port


@pytest.mark.parametrize("given", ["", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"])
def test_without_the_right_token_nothing_is_told(guarded: int, given: str) -> None:
    for connector in ("lamp", "nothing"):
        path = f"/actions/{connector}/execute"
        response = ask(guarded, "POST", path, GOOD, {**JSON, "Authorization": given})

        assert (response.status, response.code) == (401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_with_the_token_a_request_may_come_from_anywhere(guarded: int) -> None:
    headers = {**JSON, "Authorization": f"bearer {TOKEN}", "Host": "test-runner:8001"}

    assert ask(guarded, "POST", "/actions/lamp/execute", GOOD, headers).status == 200


def test_neither_the_token_nor_a_secret_is_ever_logged_or_handed_to_a_script(shared: Path) -> None:
    with serving(shared, ACTION_TOKEN=TOKEN, MQTT_PASSWORD="broker-secret") as server:
        run(server.port, "echo", token=TOKEN, password="hunter2-marker", api_key="undeclared-marker")
        run(server.port, "fail", token=TOKEN, password="hunter2-marker")
        ask(server.port, "GET", f"/health?token={TOKEN}&key=query-marker")
        ask(server.port, "POST", f"/{TOKEN}", GOOD, JSON)
        log = server.stop()

    assert "got" in log
    assert "lamp/fail: tool_failed" in log
    assert "PATH=" in log
    secrets = (TOKEN, "hunter2", "undeclared-marker", "query-marker", "broker-secret")
    assert [secret for secret in secrets if secret in log] == []


def test_others_are_not_served_without_a_token(shared: Path) -> None:
    result = subprocess.run(
        [IOT2MQTT, "action-server", "--host", "0.0.0.0", "--port", "0", "--connectors", str(shared)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.startswith("Error: others can reach 0.0.0.0, so the server needs a token: set ACTION_TOKEN")
    assert result.stderr.count("\n") == 1


def test_an_empty_token_file_is_no_token(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    command = [IOT2MQTT, "action-server", "--token-file", str(tmp_path / "token"), "--connectors", str(shared)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    assert result.returncode == 1
    assert "is empty; write the token into it" in result.stderr


def test_a_port_that_is_taken_is_named(shared: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {taken}: Address already"):
            ActionServer(ActionServerOptions(connectors=shared, port=taken)).open()
