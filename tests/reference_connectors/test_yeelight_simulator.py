"""The simulated bulbs of the `yeelight` connector are taken for real ones by the package `yeelight`."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from yeelight import Bulb, BulbException, BulbType  # type: ignore[import-untyped]
from yeelight.aio import AsyncBulb  # type: ignore[import-untyped]

from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.ports import free_port
from tests.conformance.suite_runs import REFERENCES

YEELIGHT = REFERENCES / "yeelight"
PATIENCE = 20.0
LONGEST_DATAGRAM = 65535


@contextmanager
def simulated(*options: str, port: int | None = None) -> Iterator[int]:
    """Run the simulated bulbs and yield the port on which they are searched for."""
    port = port or free_port()
    command = [sys.executable, "-m", "simulator", "serve", "--port", str(port), *options]
    with subprocess.Popen(command, cwd=YEELIGHT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "searched for" in process.stdout.readline()
            yield port
        finally:
            process.terminate()


def exchange(port: int, question: bytes) -> bytes:
    """Send the simulator a datagram and return the first answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", port))
        connection.send(question)
        return connection.recv(LONGEST_DATAGRAM)


def tell(port: int, line: str) -> Any:
    """Have the simulator do something, and return what it says of it."""
    word, _, rest = exchange(port, line.encode()).decode().partition(" ")
    assert word == "ok", rest
    return json.loads(rest)


@contextmanager
def bulb(port: int, name: str = "light1") -> Iterator[Any]:
    """Yield the package's idea of a bulb, and close the connection, as the package itself never does."""
    light = Bulb(*tell(port, f"where {name}"))
    try:
        yield light
    finally:
        light._socket.close()


def test_the_package_switches_dims_and_colours_a_bulb() -> None:
    with simulated() as port, bulb(port) as light:
        for call in (
            light.turn_off,
            light.turn_on,
            lambda: light.set_brightness(33),
            lambda: light.set_rgb(255, 128, 0),
        ):
            assert call() == "ok"
        found = light.get_properties()
        assert [found[name] for name in ("power", "bright", "rgb", "color_mode")] == ["on", "33", str(0xFF8000), "1"]
        assert light.set_color_temp(3000) == light.set_hsv(120, 50) == light.toggle() == "ok"
        found = light.get_properties()
        assert [found[name] for name in ("power", "ct", "hue", "sat", "color_mode")] == [
            "off",
            "3000",
            "120",
            "50",
            "3",
        ]
        assert light.bulb_type is BulbType.Color


def test_the_package_learns_what_a_white_bulb_cannot_do() -> None:
    with simulated() as port, bulb(port, "white1") as light:
        light.get_properties()
        assert light.bulb_type is BulbType.WhiteTemp
        with pytest.raises(BulbException, match="method not supported"):
            light.set_rgb(1, 2, 3)


def test_a_bulb_that_is_off_refuses_all_but_being_switched_on() -> None:
    with simulated() as port, bulb(port) as light:
        light.turn_off()
        with pytest.raises(BulbException, match="general error"):
            light.set_brightness(10)
        assert light.turn_on() == "ok"


@pytest.mark.parametrize("duration", [29, "long"])
def test_a_transition_that_no_bulb_takes_is_refused(duration: Any) -> None:
    with simulated() as port, bulb(port) as light, pytest.raises(BulbException, match="invalid params"):
        light.turn_off(duration=duration)


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"id": 1, "method": "toggle"}', b'{"id": "1", "method": "a", "params": []}']
)
def test_what_is_no_request_is_answered_by_an_error(line: bytes) -> None:
    with simulated() as port, socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(line + b"\r\n")
        with connection.makefile() as answers:
            assert json.loads(answers.readline())["error"] == {"code": -1, "message": "invalid command"}


def test_all_connections_are_told_of_a_change_and_only_of_what_differs() -> None:
    async def play(port: int) -> None:
        light, other = (AsyncBulb("127.0.0.1", port=port) for _ in range(2))
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        await light.async_listen(told.put_nowait)
        await other.async_listen(lambda _news: None)
        assert await told.get() == {"connected": True}
        assert await other.async_turn_on() == "ok"  # It is on already: no news.
        assert await other.async_set_color_temp(3500) == "ok"
        assert await asyncio.wait_for(told.get(), PATIENCE) == {"ct": "3500", "connected": True}
        await light.async_stop_listening()
        await other.async_stop_listening()

    with simulated() as port:
        asyncio.run(play(port))


def test_a_bulb_takes_sixty_commands_a_minute() -> None:
    with simulated() as port, bulb(port) as light:
        for _ in range(60):
            light.toggle()
        with pytest.raises(BulbException, match="client quota exceeded"):
            light.toggle()
        with bulb(port) as other:
            assert other.toggle() == "ok"


def test_a_bulb_takes_four_connections() -> None:
    with simulated() as port:
        taken = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(5)]
        for connection in taken[:4]:
            connection.sendall(b'{"id": 1, "method": "get_prop", "params": ["power"]}\r\n')
            assert json.loads(connection.recv(1000)) == {"id": 1, "result": ["on"]}
        assert taken[4].recv(1000) == b""
        for connection in taken:
            connection.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the package leaves the socket of its search open
def test_the_package_finds_a_bulb() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 1982))
        except OSError:
            pytest.skip("UDP port 1982, to which alone the package sends, is taken")
    with simulated(port=1982):
        found = Bulb("127.0.0.1").get_capabilities()
    assert found["id"].startswith("0x000000000000000")
    assert {"get_prop", "set_power"} <= set(found["support"].split())
    assert found["model"] in {"color", "ct2"}


@pytest.mark.parametrize(
    "question",
    [
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nST: upnp:rootdevice\r\n',
        b"M-SEARCH * HTTP/1.1\r\nST: wifi_bulb\r\n",
        b'NOTIFY * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nST: wifi_bulb\r\n',
        b"\xff\xfe",
        b"",
    ],
)
def test_what_is_no_search_for_bulbs_gets_no_answer(question: bytes) -> None:
    with simulated() as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", port))
        connection.send(question)
        connection.send(b"where light1")  # Answers come in order: this one is the first.
        assert connection.recv(LONGEST_DATAGRAM).startswith(b"ok")


@pytest.mark.parametrize(
    "line", ["toggle light9", "toggle", "slow light1 soon", "fault light1 fire", "where light1 now"]
)
def test_a_command_that_makes_no_sense_is_answered_so(line: str) -> None:
    with simulated() as port:
        assert exchange(port, line.encode()).startswith(b"error ")
        assert tell(port, "where light1") == ["127.0.0.1", port]


def test_the_declared_stimuli_act_on_the_bulbs() -> None:
    declared = load(YEELIGHT).stimuli

    def strike(name: str, port: int) -> int:
        command = [sys.executable, *(word.replace("{port}", str(port)) for word in declared[name][1:])]
        return subprocess.run(command, cwd=YEELIGHT, capture_output=True, check=False).returncode

    def power(port: int) -> str:
        with bulb(port) as light:
            found: str = light.get_properties()["power"]
        return found

    with simulated() as port:
        assert strike("event", port) == 0
        assert power(port) == "off"
        assert strike("device_fails", port) == 0
        assert tell(port, "where light1") == ["127.0.0.1", None]
        assert strike("device_recovers", port) == 0
        assert power(port) == "off"
        assert strike("device_slow", port) == 0
    assert strike("device_fails", port) == 1
