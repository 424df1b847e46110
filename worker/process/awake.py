"""Keep a Mac from idle sleep while a job runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def awake() -> Iterator[None]:
    """Hold caffeinate's assertions; it ends with this process even if that is killed.

    A closed lid sends a laptop to sleep all the same. Without caffeinate this does nothing.
    """
    command = shutil.which("caffeinate")
    if command is None:
        yield
        return
    with subprocess.Popen([command, "-dimsu", "-w", str(os.getpid())]) as process:
        try:
            yield
        finally:
            process.terminate()
