"""The command line: each file of ``farm/commands`` is a command."""

from __future__ import annotations

import argparse
import ast
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from farm import log
from farm.errors import FarmError, unexpected

COMMANDS = Path(__file__).parent / "commands"
INTERRUPTED = 130  # exit code of a program that Ctrl-C ended, as shells have it
OURS = 70  # exit code of an error of ours, as sysexits.h has it; 1 means a regression, nothing else

LOG = logging.getLogger(__name__)


def commands() -> dict[str, str]:
    """Return each command with the first line of its docstring, without importing any."""
    found = {}
    for path in sorted(COMMANDS.glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem.replace("_", "-")] = doc.partition("\n")[0].rstrip(".")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    0 done or pass, 1 regression, 2 usage, 3 jobs failed, 4 inconclusive, 70 an error of ours.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with log.to_file():
        try:
            return _run(arguments)
        except FarmError as error:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            return 141
        except Exception as error:
            LOG.exception("farm %s", " ".join(arguments[:1]))
            print(_told(error), file=sys.stderr)
            return OURS


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="farm", description="A benchmark farm for KV caches.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in commands().items():
        subparser = subparsers.add_parser(name, help=summary, description=summary + ".")
        if name == chosen:
            module = importlib.import_module(f"farm.commands.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            left = getattr(module, "INTERRUPTED", "")  # what the user wants to know then
            subparser.set_defaults(main=module.main, interrupted=left)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(arguments)
    # Imported here, since a broken installation must not end with 1, a regression.
    from db.engine import DatabaseError  # noqa: PLC0415

    try:
        return int(args.main(args))
    except DatabaseError as error:
        raise FarmError(str(error)) from error
    except KeyboardInterrupt:
        print("; ".join(filter(None, ["interrupted", args.interrupted])), file=sys.stderr)
        return INTERRUPTED


def _told(error: Exception) -> str:
    return (
        f"error: {unexpected(error)}; what was measured is kept; {log.FILE} tells where: please "
        "report it, with that file, to whoever maintains the farm"
    )


if __name__ == "__main__":
    sys.exit(main())
