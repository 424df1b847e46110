"""Say who accepted a regression of a pull request, and why.

That is the newest comment "/turbofarm accept REASON" of somebody who may write to the repository.
Ends with 4 if there is none. For workflows of GitHub Actions, as farm comment.
"""

from __future__ import annotations

import argparse
import os
import sys

from farm.report import pull_request

NOBODY = 4


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Take none."""


def main(_args: argparse.Namespace) -> int:
    found = pull_request.accepted(pull_request.of(os.environ))
    if found is None:
        print("nobody has; comment: /turbofarm accept REASON", file=sys.stderr)
        return NOBODY
    print(f"accepted by {found.author}: {found.reason}")
    return 0
