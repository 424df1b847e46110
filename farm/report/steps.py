"""Steps that are done one after the other: a clock that runs beside the one under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Shows on standard error which step goes on; without a terminal, a line for each."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self._console, self._bar = console, bar
        self._task = bar.add_task("", total=None)

    def begin(self, name: str) -> None:
        """Say which step goes on from now."""
        self._bar.reset(self._task, description=name)
        if not self._console.is_terminal:
            self._line(f"{name} ...")

    def end(self, line: str) -> None:
        """Say in a line how the step ended."""
        self._line(line)

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def steps() -> Iterator[Steps]:
    """Show steps for as long as the context lasts."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        yield Steps(console, bar)
