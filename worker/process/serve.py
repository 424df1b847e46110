"""A held-open session on a host: jobs come in as lines, records go out as lines.

Lines in: an order (``{"job": JOB, "attempt": N, "host": NAME}``); ``{"acknowledge": "JOB_ID-N"}``
once its record is stored; ``{}`` to show that the coordinator is alive. Lines out: ``{"record":
RECORD}``, the kept ones first; ``{"ready": true}`` once these are out; ``{}`` in answer to each
``{}``.

Each record is kept in the folder ``kept`` until it is acknowledged, and said again when a session
begins: a coordinator that dies loses nothing that was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from pydantic import ValidationError

from worker.job import Order
from worker.process.launch import launch
from worker.record import Record

#: Seconds without a line after which the coordinator counts as gone.
LEASE = 20.0

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_AGAIN = 0.1  # seconds between signals to the main thread, until it has taken one
_speaking = threading.Lock()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.process.serve", description=__doc__)
    parser.add_argument("folder", type=Path, help="the farm's folder on this host")
    parser.add_argument("--lock", type=Path, help="default: device.lock in the folder")
    args = parser.parse_args()
    for number in _ENDING:
        signal.signal(number, _end)
    # A thread of Ray's, which blocks signals, may have started this process.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    folder = args.folder / "kept"
    folder.mkdir(parents=True, exist_ok=True)
    for record in _kept(folder):
        _say_record(record)
    _say('{"ready":true}')
    orders: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_listen, args=(folder, orders), daemon=True).start()
    while True:
        order = orders.get()
        record = launch(order, args.folder / "builds", args.lock or args.folder / "device.lock")
        # On a full disk the record is only as safe as the connection.
        with suppress(OSError):
            _keep(folder, record)
        _say_record(record)


def _listen(folder: Path, orders: SimpleQueue[Order]) -> None:
    """Take lines until the coordinator is gone, then end this process and its job."""
    try:
        for line in _lines():
            _take(line, folder, orders)
    except Exception:  # noqa: BLE001  whatever it is (a line, a disk), nobody listens any more
        traceback.print_exc()
    # The main thread takes it, wherever it waits, and kills the job's process group on its way out.
    # Again and again: one that comes as the main thread is about to wait does not wake it.
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_AGAIN)


def _end(_number: int, _frame: FrameType | None) -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    sys.exit()


def _take(line: bytes, folder: Path, orders: SimpleQueue[Order]) -> None:
    message = json.loads(line)
    if not message:
        _say("{}")
    elif "acknowledge" in message:
        (folder / f"{message['acknowledge']}.json").unlink(missing_ok=True)
    else:
        orders.put(Order.model_validate(message))


def _lines() -> Iterator[bytes]:
    """Yield lines of standard input; end with it, or when none came for as long as the lease."""
    rest = b""
    while select.select([0], [], [], LEASE)[0] and (piece := os.read(0, 65536)):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _keep(folder: Path, record: Record) -> None:
    path = folder / f"{record.name}.json"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(record.model_dump_json())
    unfinished.replace(path)


def _kept(folder: Path) -> Iterator[Record]:
    """Yield what was kept; what is no record of this version is put aside, not deleted."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield Record.model_validate_json(path.read_text())
        except ValidationError:
            path.rename(path.with_suffix(".unreadable"))


def _say_record(record: Record) -> None:
    _say(f'{{"record":{record.model_dump_json()}}}')


def _say(line: str) -> None:
    # If nobody listens any more, what is said was kept.
    with _speaking, suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
