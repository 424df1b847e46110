"""Compare this device with the golden vectors and print the report as one JSON document."""

from __future__ import annotations

import dataclasses
import json

from .conformance import check


def main() -> None:
    print(json.dumps(dataclasses.asdict(check())))


if __name__ == "__main__":
    main()
