"""A command run on a terminal of its own, as a user sees it."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS, ROWS = 100, 40
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LIVE = re.compile(r"[⠁-⣿]|\d+:\d\d(:\d\d)?")  # spinners and clocks


#: Is given the process, and all that it said so far, each time that it says something.
Watch = Callable[[subprocess.Popen[bytes], str], None]


@dataclass(frozen=True)
class Shown:
    """What came of a command: exit code, seconds, its results, and all that a terminal showed."""

    code: int
    seconds: float
    output: str
    terminal: str


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    watch: Watch | None = None,
) -> Shown:
    """Run a command whose standard error is a terminal of 100 columns.

    Results go to a file, and stand at the end of what was shown.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    begun, said = time.perf_counter(), list[bytes]()
    variables = {**environment, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    results = folder / f".results-{time.monotonic_ns()}"
    with results.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=theirs, stdout=file, stderr=theirs
        )
        os.close(theirs)
        while part := _read(ours):
            said.append(part)
            if watch:
                watch(process, "\n".join(lines(b"".join(said).decode(errors="replace"))) + "\n")
        code = process.wait()
    os.close(ours)
    output = results.read_text()
    results.unlink()
    seen = lines(b"".join(said).decode(errors="replace"))
    return Shown(code, time.perf_counter() - begun, output, "\n".join([*seen, "", output]))


def _read(terminal: int) -> bytes:
    """Return what is said next, nothing at the end: a terminal that all have closed is an error."""
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def lines(said: str) -> list[str]:
    """Return the lines that a terminal showed, a live one once for each thing that it said."""
    told: list[str] = []
    last = ""
    for line in re.split(r"[\r\n]+", CODES.sub("", said)):
        bare = LIVE.sub("", line).strip()
        if bare and bare != last:
            told.append(line.rstrip())
            last = bare
    return told
