"""List the suites."""

from __future__ import annotations

import argparse

from farm import listing, suites


def add_arguments(parser: argparse.ArgumentParser) -> None:
    listing.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    found = {name: suites.load(name) for name in suites.names()}
    rows = [
        {"name": name, "jobs": len(suites.cells(suite)), "description": suite.description}
        for name, suite in found.items()
    ]
    print(listing.text(rows, args))
    return 0
