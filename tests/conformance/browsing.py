"""Opens a file in a real browser, and tells what the page became, what it complained of, and what it asked for."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
NOWHERE = "127.0.0.1:9"
"""A proxy that does not exist: the browser's own requests, and a page's, get no further than this machine."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a browser saw.

    Attributes:
        dom: The page after its scripts have run.
        complaints: What the console says: errors of scripts, and what the policy forbade.
        requests: Addresses that the page asked for, besides its own file.
    """

    dom: str
    complaints: list[str]
    requests: list[str]


def browser() -> str:
    """Return the browser; where there is none, skip loudly, and fail in CI."""
    found = next((program for program in map(shutil.which, NAMES) if program), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("chromium is not installed, and CI must look at the report in a browser: apt-get install chromium")
    if found is None:
        pytest.skip("NOBODY LOOKED AT THE REPORT: chromium is not installed (apt-get install chromium)")
    return found


def browse(page: Path, folder: Path, fragment: str = "") -> Seen:
    """Open a page, with a profile in a folder of its own."""
    log = folder / "net.json"
    command = [
        browser(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        f"--proxy-server={NOWHERE}",
        "--proxy-bypass-list=<-loopback>",
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        f"--log-net-log={log}",
        "--dump-dom",
        f"{page.as_uri()}{fragment}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    complaints = [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[:(]", line)]
    return Seen(done.stdout, complaints, _requests(log))


def _requests(log: Path) -> list[str]:
    """Return what a page asked for; what the browser asks for itself has no origin."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    facts = [event.get("params", {}) for event in events]
    return [f["url"] for f in facts if "url" in f and f.get("initiator", "not an origin") != "not an origin"]
