"""A line for each host that something is done on: what, and for how long already."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

_shown: list[Progress] = []


@contextmanager
def showing(progress: Progress) -> Iterator[Progress]:
    """Show live lines; ``undisturbed`` takes them away for a while."""
    with progress:
        _shown.append(progress)
        try:
            yield progress
        finally:
            _shown.remove(progress)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep live lines off the terminal while somebody is asked for something."""
    hidden = list(_shown)
    for progress in hidden:
        progress.stop()
    try:
        yield
    finally:
        for progress in hidden:
            progress.start()


class Lines:
    """The live lines of hosts; without a terminal each step is printed once, as it begins."""

    def __init__(self, progress: Progress, names: Sequence[str]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._width = max(map(len, names), default=0)
        self._tasks: dict[str, TaskID] = {
            name: progress.add_task(name, total=None, visible=False) for name in names
        }

    def tell(self, host: str, doing: str) -> None:
        """Say what is done on a host from now on."""
        with self._lock:
            if self._progress.disable:
                self._progress.console.print(f"{host}: {doing}", soft_wrap=True, markup=False)
                return
            words = f"{host:{self._width}}  {doing}"
            self._progress.reset(self._tasks[host], description=words, visible=True)

    def done(self, host: str) -> None:
        """Take a host's line away."""
        with self._lock:
            self._progress.update(self._tasks[host], visible=False)


@contextmanager
def lines(names: Sequence[str]) -> Iterator[Lines]:
    """Give the live lines of these hosts, on standard error."""
    console = Console(stderr=True, highlight=False)
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with showing(_progress(*columns, console=console)) as progress:
        yield Lines(progress, names)


def say(line: str) -> None:
    """Print a line of progress, above whatever is live."""
    print(line, file=sys.stderr)  # noqa: T201  looked up now: live lines stand in for it


@contextmanager
def measuring() -> Iterator[None]:
    """Show that measuring goes on, and since when, between the lines that ``say`` prints."""
    console = Console(stderr=True)
    with showing(_progress(SpinnerColumn(), TimeElapsedColumn(), console=console)) as progress:
        progress.add_task("measuring", total=None)
        yield


def _progress(*columns: ProgressColumn, console: Console) -> Progress:
    """Make live lines that leave standard output to results, wherever that goes."""
    return Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
        transient=True,
    )
