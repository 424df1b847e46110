"""Watch the server's memory over 200 page views in a real browser, each a session of its own.

``python dashboard/bench/memory.py DATABASE [VIEWS]``; needs Chromium at /usr/bin/chromium.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from dashboard.database import VARIABLE

CHROMIUM = Path("/usr/bin/chromium")
VIEWS = (
    "",
    "devices",
    "devices?metric=tpot",
    "bandwidth",
    "commits",
    "commits?commits=400",
    "commits?view=Compare+two+commits",
    "caches",
    "quality",
    "trust",
    "run?record=1000",
)
MANY = 200
PORT = "8597"


def main(database: str, views: int) -> None:
    environment = os.environ | {VARIABLE: database}
    command = [sys.executable, "-m", "dashboard", "--server.headless=true", "--server.port", PORT]
    with subprocess.Popen(
        [*command, "--server.address=127.0.0.1", "--browser.gatherUsageStats=false"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout  # noqa: S101  a pipe was asked for
        next(line for line in server.stdout if "URL:" in line)
        process = psutil.Process(server.pid)
        try:
            print(f"started: {_resident(process)} MB")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                page = browser.new_page()
                for count, view in enumerate(islice(cycle(VIEWS), views), start=1):
                    _open(page, view)
                    if count % 20 == 0:
                        print(f"after {count} views: {_resident(process)} MB", flush=True)
        finally:
            server.terminate()


def _open(page: Page, view: str) -> None:
    page.goto(f"http://127.0.0.1:{PORT}/{view}")
    page.wait_for_selector("h1", timeout=120_000)
    page.wait_for_selector("[data-test-script-state=notRunning]", timeout=120_000)


def _resident(process: psutil.Process) -> int:
    return process.memory_info().rss // 10**6


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else MANY)
