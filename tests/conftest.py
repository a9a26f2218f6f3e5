"""What every test begins with, and what no test may leave out where CI counts on it."""

import os
import signal
from collections.abc import Generator

import pytest

# What a shell starts in the background ignores SIGINT, and so would all programs that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from hypothesis import settings
except ModuleNotFoundError:
    pass  # Where the suite judges a connector from here, pytest reads this too, and tests need more than is installed.
else:
    # How long an example takes tells more of the machine than of what is tested.
    settings.register_profile("unhurried", settings(), deadline=None)
    settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a program that is not installed is a failure, and no reason to skip."""
    report = yield
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and os.environ.get("CI") and why.endswith("is not installed"):
        report.outcome = "failed"
        report.longrepr = f"{why}, and CI must not leave the test out: install it"
    return report
