"""One job in a fresh process, alone on this machine: an order on standard input, a record out.

Unlike ``python -m worker`` a crash, a missed deadline and a busy machine end in a record too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from worker.job import Order
from worker.process.launch import launch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.process.single", description=__doc__)
    parser.add_argument("folder", type=Path, help="the farm's folder on this machine")
    folder = parser.parse_args().folder
    order = Order.model_validate_json(sys.stdin.readline())
    record = launch(order, folder / "builds", folder / "device.lock")
    sys.stdout.write(record.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
