"""ps: this process's priority, and who else uses the processor."""

from __future__ import annotations

import os
import re

from worker.environment.source import Command, Facts, Source, UnreadableError

LINE = re.compile(r"^\s*(\d+)\s+(\d+(?:\.\d+)?)\s+(-?\d+)\s+(\S.*?)\s*$")
HEADER = re.compile(r"^\s*PID\s+%CPU\s+PRI\s+COMM(AND)?\s*$")
SPOTLIGHT = ("mds", "mdworker", "mdbulkimport", "spotlightknowledged")


def parser(own: int) -> Source:
    """Make the source for the process ``own``."""
    return Source(
        Command(("ps", "-A", "-c", "-o", "pid,pcpu,pri,comm")),
        lambda output: parse(output, own),
        ("priority", "busiest_process", "busiest_process_cpu", "spotlight_cpu", "time_machine_cpu"),
    )


def parse(output: str, own: int) -> Facts:
    """Read all processes: cores used by others, by name, and the priority of ``own``."""
    header, *lines = output.splitlines() or [""]
    rows = [row for row in map(LINE.match, lines) if row]
    if not HEADER.match(header) or len(rows) != len(lines) or not rows:
        raise UnreadableError("not a table of processes")
    cores = [(row[4], float(row[2]) / 100) for row in rows if int(row[1]) != own]
    facts: Facts = {
        "spotlight_cpu": sum((use for name, use in cores if name.startswith(SPOTLIGHT)), 0.0),
        "time_machine_cpu": sum((use for name, use in cores if name == "backupd"), 0.0),
    }
    if cores:
        facts["busiest_process"], facts["busiest_process_cpu"] = max(cores, key=lambda row: row[1])
    own_priority = [int(row[3]) for row in rows if int(row[1]) == own]
    return facts | ({"priority": own_priority[0]} if len(own_priority) == 1 else {})


SOURCES = (parser(os.getpid()),)
