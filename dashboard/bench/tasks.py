"""Do what people come for in a real browser: clicks, seconds until it is readable, what is missing.

``python -m dashboard.bench.tasks DATABASE``, each task begun at the first page. A farm that has an
answer to all of them: ``tests/support/believable_farm.py``. T1 to T3 are the review's words.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as LateError

from dashboard.bench.pictures import CHROMIUM, SETTLED, server
from dashboard.plain import JOINER

PATIENCE = 60_000  # milliseconds


@dataclass(frozen=True)
class Task:
    """What is asked, where the answer is to be clicked for, and what it must say.

    ``answer`` holds a pattern for each part of the answer; all of them on one page. Where a pattern
    has a colon, the page may have a joiner behind it, which keeps texts from becoming markup.
    """

    question: str
    clicks: tuple[Callable[[Page], None], ...]
    answer: dict[str, str]


def page_of(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("link", name=name, exact=True).first.click()


def box(label: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("combobox", name=label).first.click()


def option(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("option", name=text, exact=True).click()


TASKS = (
    Task(
        "T1 M5 Max against M2 Pro at 4K, and how much is bandwidth",
        (page_of("Devices"),),
        {
            "ratio": r"M5 Max decodes [\d.]+ times as fast as M2 Pro at 4K",
            "both figures": r"[\d.]+( ± [\d.]+)? tokens/s against [\d.]+",
            "bandwidth alone": r"bandwidth alone: [\d.]+ times",
        },
    ),
    Task(
        "T2 which commit made decode slower",
        (),
        {
            "commit": r"Since [0-9a-f]{7,}",
            "subject": r"“.+”",
            "metric and context": r"decode at \d+K?",
            "size": r"[\d.]+% slower",
            "interval": r"\([\d.]+ to [\d.]+%\)",
            "devices": r"on (\d+ devices|M\d)",
            "how sure": r"culprit \d+% sure",
        },
    ),
    Task(
        "T3 how far from the published figures",
        (page_of("Devices"),),
        {"beside": "Beside what was published", "command": "farm compare-published"},
    ),
    Task(
        "T4 which cache to ship at 16K",
        (page_of("Caches"), box("Context"), option("16K")),
        {
            "cache": r"For 16K on .+ ship \S+",
            "speed": r"% of fp16's speed",
            "memory": r"[\d.]+% of its memory",
            "answers": r"KL",
        },
    ),
    Task(
        "T5 is all well tonight, and why not",
        (),
        {
            "figures": r"\d+ of \d+ cells have a figure",
            "regressions": r"regressions? (is|are) open",
        },
    ),
    Task(
        "T6 what differs between two commits",
        (page_of("Commits"), box("View"), option("Compare two commits")),
        {
            "counts": r"From .+ to .+, of \d+ series: .*(same|worse|better)",
            "size": r"geometric mean",
        },
    ),
    Task(
        "T7 how often is the gate wrong here",
        (page_of("Trust"),),
        {"false alarms": r"False alarms on identical builds", "power": r"put in and found"},
    ),
)


@dataclass(frozen=True)
class Done:
    """Seconds until the answer could be read whole, or until nothing more came."""

    seconds: float
    missing: tuple[str, ...]


def do(page: Page, address: str, task: Task) -> Done:
    """Do one task; time runs from its first click, or from opening the first page."""
    begun = time.perf_counter()
    page.goto(address)
    if task.clicks:
        page.wait_for_function(SETTLED, timeout=PATIENCE)
        begun = time.perf_counter()
    for click in task.clicks:
        click(page)
    missing: list[str] = []
    for part, pattern in task.answer.items():
        text = page.get_by_text(re.compile(pattern.replace(":", f":{JOINER}?"))).first
        try:
            text.wait_for(timeout=PATIENCE if not missing else 1)
        except LateError:
            missing.append(part)
    return Done(time.perf_counter() - begun, tuple(missing))


def main(database: str) -> None:
    """Do every task in a browser session of its own and print a table."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'task':<60}{'clicks':>7}{'seconds':>9}  missing")
    with server(database) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for task in TASKS:
            page = browser.new_page()
            done = do(page, address, task)
            missing = ", ".join(done.missing) or "nothing"
            told = f"{task.question:<60}{len(task.clicks):>7}{done.seconds:>9.1f}  {missing}"
            print(told, flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
