"""List the suites."""

from __future__ import annotations

import argparse

from farm.commands import _listing
from farm.plan import suite as suites


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _listing.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    found = {name: suites.load(name) for name in suites.names()}
    rows = [
        {"name": name, "jobs": len(suites.cells(suite)), "description": suite.description}
        for name, suite in found.items()
    ]
    print(_listing.text(rows, args))
    return 0
