"""Time every page and the queries below them on the server's side, and print tables.

``python dashboard/bench/pages.py DATABASE`` (make a large one with
``tests/support/large_farm.py``). Cold is the first view in a fresh process that has imported what
``dashboard/__main__.py`` imports; warm are reruns in the same session; "changed" are reruns after
a record was stored, as while a farm is at work: give it a copy. Processor time (cpu) stands beside
each, for machines that are busy with something else.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time, time
from typing import Any

from dashboard.__main__ import prepare
from dashboard.bench.writer import records, write
from dashboard.database import VARIABLE
from db import queries
from db.engine import open_database, open_readonly

APP = Path(__file__).parents[1] / "app.py"
# Each page, and the heavier views of two of them: name, page, what the link says.
VIEWS: dict[str, tuple[str, dict[str, str]]] = {
    **{
        page: (page, {})
        for page in ("tonight", "devices", "bandwidth", "commits", "caches", "quality", "trust")
    },
    "comparison": ("commits", {"view": "Compare two commits"}),
    "run": ("run", {}),
    "record": ("run", {"record": "1000"}),
}
WARM = 40
Times = tuple[float, float]  # wall and processor time, in milliseconds
COLD = 3


def main(database: str) -> None:
    os.environ[VARIABLE] = database
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    columns = ("cold ms", "warm p50", "warm p95", "changed p95")
    print(f"{'page':<12}" + "".join(f"{column:>13}{'cpu':>6}" for column in columns))
    for name in VIEWS:
        runs = [_in_fresh_process(name) for _ in range(COLD)]
        cold = [run[0] for run in runs]
        warm, changed = runs[-1][1 : WARM + 1], runs[-1][WARM + 1 :]
        shown = (_each(median, cold), _each(median, warm), _each(_p95, warm), _each(_p95, changed))
        print(f"{name:<12}" + "".join(f"{ms:>13.0f}{cpu:>6.0f}" for ms, cpu in shown), flush=True)
    print(f"\n{'query':<12}{'p50 ms':>10}{'cpu':>6}{'p95':>10}{'cpu':>6}")
    for name, question in _queries(database).items():
        times = [_time(question) for _ in range(WARM)]
        both = (_each(median, times), _each(_p95, times))
        print(f"{name:<12}" + "".join(f"{ms:>10.1f}{cpu:>6.1f}" for ms, cpu in both), flush=True)


def view(name: str) -> None:
    """Print times of one view in this process: cold, warm, and after writes."""
    prepare()
    page, link = VIEWS[name]
    testing: Any = importlib.import_module("streamlit.testing.v1")
    app = testing.AppTest.from_file(str(APP), default_timeout=120)
    app.switch_page(f"views/{page}.py")
    for key, value in link.items():
        app.query_params[key] = value
    print(*_time(app.run))
    if app.exception or app.error:
        raise SystemExit(f"{name}: {app.exception or app.error}")
    for _ in range(WARM):
        print(*_time(app.run))
    engine = open_database(os.environ[VARIABLE])
    for record in islice(records(engine, f"bench-{time():.0f}"), WARM // 4):
        write(engine, record)
        print(*_time(app.run))


def _in_fresh_process(name: str) -> list[Times]:
    done = subprocess.run(
        [sys.executable, __file__, os.environ[VARIABLE], name],
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (line.split() for line in done.stdout.splitlines())
    return [(float(wall), float(processor)) for wall, processor in pairs]


def _queries(database: str) -> dict[str, Callable[[], Any]]:
    engine = open_readonly(database)
    commits = queries.commits(engine)
    series = [row.series for row in queries.newest(engine, ["generation_tps"])]
    pairs = iter(range(WARM * 2))

    def compare() -> Any:
        """Compare two commits that were not compared before."""
        place = next(pairs)
        base, head = commits[min(place + 7, len(commits) - 1)], commits[place % len(commits)]
        return queries.changes(engine, base.build, head.build)

    return {
        "compare": compare,
        "timeline": lambda: queries.timeline(engine, series[:1]),
        "newest": lambda: queries.newest(engine),
        "runs": lambda: queries.runs(engine, 20),
        "hosts": lambda: [
            queries.host_state(engine, number) for number in queries.last_records(engine)
        ],
        "figures": lambda: queries.figures(engine, commits[0].build),
        "versions": lambda: queries.versions(engine),
        "troubles": lambda: queries.troubles(engine),
        "tallies": lambda: queries.gate_tallies(engine),
        "regressions": lambda: queries.regressions(engine),
    }


def _time(action: Callable[[], Any]) -> Times:
    begun, worked = perf_counter(), process_time()
    action()
    return 1000 * (perf_counter() - begun), 1000 * (process_time() - worked)


def _each(summary: Callable[[list[float]], float], times: list[Times]) -> Times:
    return summary([wall for wall, _ in times]), summary([processor for _, processor in times])


def _p95(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.environ[VARIABLE] = sys.argv[1]
        view(sys.argv[2])
    else:
        main(sys.argv[1])
