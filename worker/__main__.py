"""One order (or bare job) on standard input, one record as the last line of standard output.

``ssh HOST python -m worker --builds DIR < job.json`` is the debugging path.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TextIO

import psutil

from worker.job import Order
from worker.process.owner import end_with_owner
from worker.run import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--builds", type=Path, required=True, help="folder of unpacked builds")
    parser.add_argument("--owner", type=int, help="end when this process is no longer the parent")
    args = parser.parse_args()
    if args.owner:
        end_with_owner(args.owner)
    order = Order.model_validate_json(sys.stdin.readline())
    start = max(0.0, time.time() - psutil.Process().create_time())
    with _stdout_for_the_record() as output:
        output.write(run(order, args.builds, start).model_dump_json() + "\n")


def _stdout_for_the_record() -> TextIO:
    """Return the real standard output; whatever else prints goes to standard error."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return output


if __name__ == "__main__":
    main()
