"""The command line: each file of ``farm/commands`` is a command."""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from db.engine import DatabaseError
from farm.errors import FarmError

COMMANDS = Path(__file__).parent / "commands"


def commands() -> dict[str, str]:
    """Return each command with the first line of its docstring, without importing any."""
    found = {}
    for path in sorted(COMMANDS.glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem.replace("_", "-")] = doc.partition("\n")[0].rstrip(".")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done or pass, 1 regression, 2 usage, 3 jobs failed, 4 inconclusive."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="farm", description="A benchmark farm for KV caches.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in commands().items():
        subparser = subparsers.add_parser(name, help=summary, description=summary + ".")
        if name == chosen:
            module = importlib.import_module(f"farm.commands.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            subparser.set_defaults(main=module.main)
    args = parser.parse_args(arguments)
    try:
        return int(args.main(args))
    except (FarmError, DatabaseError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; what was measured is kept; continue with: farm run --resume",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        return 141


if __name__ == "__main__":
    sys.exit(main())
