"""Compare this device with the golden vectors and print the report as one JSON document.

With arguments, run mlx-lm's and mlx-vlm's commands with turbo caches: see `serving.commands`.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from .conformance import check
from .serving import commands


def main() -> None:
    if sys.argv[1:]:
        commands.main(sys.argv[1:])
    else:
        print(json.dumps(dataclasses.asdict(check())))


def turbo_kv() -> None:
    """Run the command ``turbo-kv``, which says what it can do where nothing is asked."""
    commands.main(sys.argv[1:] or ["--help"])


if __name__ == "__main__":
    main()
