"""ps: this process's priority, and who else uses the processor."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from worker.machine.environment.source import Command, Facts, Output, Source, UnreadableError

FORM = re.compile(r"worker (\d{1,9})\n\s*PID\s+%CPU\s+PRI\s+COMM(?:AND)?\s*\n")
LINE = re.compile(r"^\s*(\d{1,9})\s+(\d{1,6}(?:\.\d{1,3})?)\s+(-?\d{1,4})\s+(\S.*?)\s*$")
# macOS gives 31 to normal processes and 20 to those that launchd throttles.
THROTTLED_PRIORITY = 20
SPOTLIGHT = ("mds", "mdworker", "mdbulkimport", "spotlightknowledged")


@dataclass(frozen=True)
class Listing:
    """All processes, after a line that tells which one is asking."""

    command: Command

    def __str__(self) -> str:
        return str(self.command)

    def read(self) -> Output:
        output = self.command.read()
        return Output(f"worker {os.getpid()}\n{output.text}", output.missing)


def parse(output: str) -> Facts:
    """Read cores used by other processes, by name, and the worker's priority."""
    form = FORM.match(output)
    lines = output[form.end() :].splitlines() if form else []
    rows = [row for row in map(LINE.match, lines) if row]
    if form is None or not rows or len(rows) != len(lines):
        raise UnreadableError("not a table of processes")
    use = [(row[4], float(row[2]) / 100) for row in rows if int(row[1]) != int(form[1])]
    facts: Facts = {
        "spotlight_cpu": sum((cores for name, cores in use if name.startswith(SPOTLIGHT)), 0.0),
        "time_machine_cpu": sum((cores for name, cores in use if name == "backupd"), 0.0),
    }
    if use:
        facts["busiest_process"], facts["busiest_process_cpu"] = max(use, key=lambda row: row[1])
    own = [int(row[3]) for row in rows if int(row[1]) == int(form[1])]
    return facts | ({"priority": own[0]} if len(own) == 1 else {})


SOURCES = (
    Source(
        Listing(Command(("ps", "-A", "-c", "-o", "pid,pcpu,pri,comm"))),
        parse,
        ("priority", "busiest_process", "busiest_process_cpu", "spotlight_cpu", "time_machine_cpu"),
    ),
)
