"""List the benchmarks with their parameters."""

from __future__ import annotations

import argparse

from farm import listing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    listing.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    print(listing.text(listing.registered("benchmarks"), args))
    return 0
