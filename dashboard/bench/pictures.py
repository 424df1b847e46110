"""Take a picture of every page, wide and on a phone, light and dark, to be looked at.

``python -m dashboard.bench.pictures FILE FOLDER [PAGE...]``; it takes a Chromium. The table says
of each how long it took until it was drawn, and whether it stuck out to the side.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, sync_playwright

from dashboard.database import VARIABLE

CHROMIUM = "/usr/bin/chromium"
PAGES = (
    "",
    "devices",
    "bandwidth",
    "commits",
    "commits?view=Timeline",
    "commits?view=Timeline&relative=yes",
    "commits?view=Compare+two+commits",
    "caches",
    "quality",
    "trust",
    "run",
    "run?record=2",
)
WIDTHS = (1440, 390)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SETTLED = """
    document.querySelector("h1") &&
    document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]") &&
    !document.querySelector("[data-testid=stSkeleton]") &&
    [...document.querySelectorAll("[data-testid=stVegaLiteChart]")].every(
        chart => !chart.checkVisibility() || chart.querySelector("canvas, svg")
    )
"""
TALL = "document.querySelector('[data-testid=stMain]').scrollHeight"
WIDE = "document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth"
SETTINGS = (
    "--server.address=127.0.0.1",
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=viewer",
    "--theme.light.primaryColor=#0072B2",
    "--theme.dark.primaryColor=#0072B2",
)


@contextmanager
def server(database: str) -> Iterator[str]:
    """Run the dashboard on a database and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dashboard", f"--server.port={port}", *SETTINGS]
    process = subprocess.Popen(
        command,
        env=os.environ | {VARIABLE: database},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout  # noqa: S101  it is a pipe
    try:
        if not any("URL:" in line for line in process.stdout):
            sys.exit("the server ended at once")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


def photograph(page: Page, address: str, target: Path) -> tuple[float, int]:
    """Open an address, take its picture whole, and return seconds and pixels that stick out."""
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_function(SETTLED, timeout=120_000)
    took = time.perf_counter() - begun
    width = page.viewport_size["width"] if page.viewport_size else WIDTHS[0]
    page.set_viewport_size({"width": width, "height": int(page.evaluate(TALL)) + 40})
    page.wait_for_function(SETTLED, timeout=120_000)
    page.wait_for_timeout(300)
    page.screenshot(path=target)
    return took, int(page.evaluate(WIDE))


def main(database: str, folder: Path, pages: tuple[str, ...]) -> None:
    """Photograph pages in each width and theme."""
    folder.mkdir(parents=True, exist_ok=True)
    with server(database) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for theme in THEMES:
            for width in WIDTHS:
                size: Any = {"width": width, "height": 900}
                context = browser.new_context(viewport=size, color_scheme=theme)
                for path in pages:
                    page = context.new_page()
                    page.set_viewport_size(size)
                    name = (path or "tonight").translate(str.maketrans("?=&+", "----"))
                    target = folder / f"{name}-{width}-{theme}.png"
                    took, out = photograph(page, f"{address}/{path}", target)
                    print(f"{target.name:60} {took:5.1f} s {max(out, 0):4} px out", flush=True)
                    page.close()
                context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), tuple(sys.argv[3:]) or PAGES)
