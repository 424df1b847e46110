"""Do what people come for in a real browser, and count clicks and seconds until it is readable.

``python -m dashboard.bench.tasks DATABASE``, begun each time at the first page. A farm that has an
answer to all of them: ``tests/support/believable_farm.py``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright

from dashboard.bench.pictures import CHROMIUM, SETTLED, server

PATIENCE = 60_000  # milliseconds


@dataclass(frozen=True)
class Task:
    """What is asked, where the answer is to be clicked for, and the words that it has."""

    question: str
    clicks: tuple[Callable[[Page], None], ...]
    answer: str


def page_of(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("link", name=name, exact=True).first.click()


def box(label: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("combobox", name=label).first.click()


def option(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("option", name=text, exact=True).click()


TASKS = (
    Task("is all well tonight, and why not", (), "text=cells have a figure"),
    Task("which commit made decode slower", (), "text=culprit 98% sure"),
    Task("M5 Max against M2 Pro at 4K", (page_of("Devices"),), "text=bandwidth alone"),
    Task("how much of it is bandwidth", (page_of("Bandwidth"),), "text=of what its bandwidth"),
    Task("how far from the published", (page_of("Devices"),), "text=Beside what was published"),
    Task("which cache to ship", (page_of("Caches"),), "h3:has-text('For 4K')"),
    Task(
        "which cache to ship at 16K",
        (page_of("Caches"), box("Context"), option("16K")),
        "h3:has-text('For 16K')",
    ),
    Task("how often is the gate wrong", (page_of("Trust"),), "text=the gate is wrong here"),
)


def do(page: Page, address: str, task: Task) -> float:
    """Do one task and return the seconds from its first click, or from opening the first page."""
    begun = time.perf_counter()
    page.goto(address)
    if task.clicks:
        page.wait_for_function(SETTLED, timeout=PATIENCE)
        begun = time.perf_counter()
    for click in task.clicks:
        click(page)
    page.locator(task.answer).first.wait_for(timeout=PATIENCE)
    return time.perf_counter() - begun


def main(database: str) -> None:
    """Do every task in a browser session of its own and print a table."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'task':<36}{'clicks':>7}{'seconds':>9}")
    with server(database) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for task in TASKS:
            page = browser.new_page()
            took = do(page, address, task)
            print(f"{task.question:<36}{len(task.clicks):>7}{took:>9.1f}", flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
