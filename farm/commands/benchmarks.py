"""List the benchmarks with their parameters."""

from __future__ import annotations

import argparse

from farm.commands import _listing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _listing.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    print(_listing.text(_listing.registered("benchmarks"), args))
    return 0
