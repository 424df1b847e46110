"""``farm`` as it is, with its imports made: ``python farm_itself.py hosts ...``."""

from __future__ import annotations

import sys

import farm.commands.hosts  # noqa: F401  what forks are to have
import lab  # noqa: F401  likewise
from farm.__main__ import main

run = main

if __name__ == "__main__":
    sys.exit(run())
