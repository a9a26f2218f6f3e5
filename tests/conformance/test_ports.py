"""Ports that are given out are nobody else's."""

import subprocess
import sys
from contextlib import ExitStack

TAKING = """
from iot2mqtt_conformance.ports import free_port
print(*(free_port() for _ in range(250)), flush=True)
input()
"""


def test_suites_that_run_at_the_same_time_never_choose_the_same_port() -> None:
    command = [sys.executable, "-c", TAKING]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(3)
        ]
        taken = [port for process in processes if process.stdout for port in process.stdout.readline().split()]
        for process in processes:
            process.communicate("\n", timeout=30)
    assert len(taken) == 750
    assert len(set(taken)) == 750


def test_a_suite_leaves_most_ports_to_others_however_many_it_asks_for() -> None:
    code = "from iot2mqtt_conformance.ports import free_port\nprint(*(free_port() for _ in range(2000)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    taken = [int(port) for port in done.stdout.split()]
    assert len({port // 100 for port in taken}) <= 8
    # Whoever was given one has had the time to use it before it is given again.
    assert len(set(taken[:700])) == 700
