"""Run a command with its secrets for as long as somebody holds standard input open.

The first line of standard input is JSON: ``command``, ``environment`` and ``files`` (name to text).
The files are written, for this user only, into a new folder, whose path stands for ``{folder}`` in
the command and the environment and is the first line of the output. When standard input or the
command ends, everything the command has started is killed and the folder deleted: secrets appear in
no argument, and nothing outlives whoever asked for it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

#: In the environment of everything that belongs to a folder; its value is the folder.
MARK = "TURBOFARM_HELD"
PLACE, PREFIX = Path("/tmp"), "turbofarm-"  # noqa: S108  paths of sockets must be short
PATIENCE = 5.0  # seconds to end in, once asked
ADOPT = 36  # PR_SET_CHILD_SUBREAPER


def main() -> None:
    os.dup2(1, 2)
    sweep()
    _adopt_orphans()
    order = json.loads(sys.stdin.buffer.readline())
    told = _told_by_signals()
    unnamed = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=PLACE))
    with (unnamed / "held").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Locked before it has its name, so that no other holder's sweep removes it.
        folder = unnamed.rename(PLACE / unnamed.name.removeprefix("."))
        try:
            print(folder, flush=True)  # noqa: T201  the one who asked waits for it
            _write(folder, order["files"])
            _hold(_start(folder, order["command"], order["environment"]), told)
        finally:
            _remove(folder)


def sweep() -> None:
    """Take away what was left by holders that were killed themselves."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        try:
            with (folder / "held").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
        except OSError:  # it is held, or not ours
            continue


def _adopt_orphans() -> None:
    """Stay the ancestor of all that is started, where the system can do that: Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write the files, and the environment as it is without the command's own settings."""
    for name, text in {**files, "environment.json": json.dumps(dict(os.environ))}.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)


def _start(
    folder: Path, command: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    def here(text: str) -> str:
        return text.replace("{folder}", str(folder))

    settings = {name: here(value) for name, value in environment.items()}
    return subprocess.Popen(
        [here(word) for word in command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **settings, MARK: str(folder)},
    )


def _told_by_signals() -> int:
    """Return what can be read from once a signal has come: from now on none ends this process."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return told


def _hold(process: subprocess.Popen[bytes], told: int) -> None:
    """Wait until the command ends, by itself or because standard input or a signal ends it."""
    while process.poll() is None and not _is_to_end(told):
        pass
    family = _family()  # where orphans are not adopted, they are known only now
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # A process that is adopted while it dies would stay a zombie, and be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _kill([*family, *_family()])


def _is_to_end(told: int) -> bool:
    """Look for a second whether a signal came, or whoever asked closed standard input."""
    ready, _, _ = select.select([0, told], [], [], 1)
    return told in ready or (0 in ready and not os.read(0, 65536))


def _remove(folder: Path) -> None:
    """Kill what belongs to a folder, again as long as there is something, and delete it."""
    while left := list(_belonging(folder)):
        _kill(left)
    shutil.rmtree(folder, ignore_errors=True)


def _family() -> list[psutil.Process]:
    """Return all descendants: some write a title of their own over their environment."""
    return psutil.Process().children(recursive=True)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=PATIENCE)


def _belonging(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder):
                yield process
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue


if __name__ == "__main__":
    main()
