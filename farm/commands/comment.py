"""Write a report as the one comment of a pull request, anew each time.

For workflows of GitHub Actions: which pull request it is, and the token, come from GITHUB_API_URL,
GITHUB_REPOSITORY, GITHUB_EVENT_PATH and GITHUB_TOKEN.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from farm.errors import ConfigurationError, Problem
from farm.report import pull_request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="Markdown, as farm gate --markdown writes it")
    parser.add_argument(
        "--name",
        type=_name,
        default="gate",
        help="which comment, if there are several: %(default)s",
    )
    parser.add_argument(
        "--on-change", action="store_true", help="say nothing where a pass follows a pass"
    )


def main(args: argparse.Namespace) -> int:
    where = pull_request.of(os.environ)
    if args.on_change:
        print(pull_request.comment_on_change(where, args.name, _report(args.file)) or "no change")
    else:
        print(pull_request.comment(where, args.name, _report(args.file)))
    return 0


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not of letters, digits, '_', '.' and '-'")
    return text


def _report(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", str(error), "name a report of farm gate --markdown")
        raise ConfigurationError([problem]) from error
