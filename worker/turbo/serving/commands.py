"""mlx-lm's and mlx-vlm's own commands with turbo caches, and ``batch``.

Flags are theirs and ours beside them. Where a command loads a model, the model is told to make
turbo caches; the rest of mlx-lm does what it does without us.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from ..conformance import ConformanceError
from ..fit import UnfitError
from ..make import patch_mlx_lm
from ..settings import Settings
from . import batch, fault, vision
from .arguments import positive, seconds
from .flags import require_possible
from .models import LoadError, opening, turbo_loading
from .tested import warn_of_others

THEIRS = ("generate", "chat", "server", "cache_prompt")
COMMANDS = (*THEIRS, "batch", *vision.MODULES)
_UNREAD = 141  # as of a program that SIGPIPE ended
_BITS = ("key_bits", "value_bits", "first_tokens", "tail_tokens")
#: Flags that make other caches than ours, and how those of mlx-vlm begin.
_OTHER_CACHES = ("--max-kv-size", "--quantized-kv-start")
_KV = "--kv-"


def main(arguments: list[str]) -> None:
    """Run a command; wrong flags and models or files that cannot be used end with 2.

    An error that nobody foresaw ends with 70, and so do those of mlx-lm and mlx-vlm.
    """
    parser = _parser(arguments[0])
    ours, theirs = parser.parse_known_args(arguments)
    settings = {name: getattr(ours, name) for name in (*_BITS, "boundary_layers", "layer_bits")}
    _check(parser, settings, theirs)
    if {"-h", "--help"} & {*theirs}:
        parser.print_help()
    else:
        require_possible(ours.command, theirs)
    try:
        _run(ours, settings, theirs)
    except (ConformanceError, LoadError, UnfitError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except EOFError:  # who chats ended the input
        return
    except BrokenPipeError:  # nobody reads what is said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)
    except Exception as error:  # noqa: BLE001  no traceback is for a user
        fault.tell(ours.command, error)
        sys.exit(fault.BROKEN)


def _parser(command: str) -> argparse.ArgumentParser:
    known = command in COMMANDS
    parser = argparse.ArgumentParser(
        prog=f"turbo-kv {command}" if known else "turbo-kv",
        description="mlx-lm's and mlx-vlm's commands with turbo caches; all flags: COMMAND --help",
        add_help=not known,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=COMMANDS)
    defaults = Settings()
    for name in _BITS:
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=int, default=getattr(defaults, name))
    parser.add_argument("--boundary-layers", type=int, default=0)
    parser.add_argument(
        "--layer-bits",
        type=_layer_bits,
        action="append",
        default=[],
        metavar="LAYER,KEYS,VALUES",
        help="bits of a layer's own, counted from 0; may be repeated",
    )
    if command == "server":
        _add_server_flags(parser)
    if command in ("server", "vlm-server"):
        parser.add_argument(
            "--grace",
            type=seconds,
            default=5.0,
            metavar="SECONDS",
            help="that requests have to end when the server is to stop (default: 5)",
        )
    return parser


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--context", type=positive, help="tokens of a request, if not the model's own"
    )
    parser.add_argument(
        "--disk-cache", type=Path, metavar="FOLDER", help="keep the states of prompts here"
    )
    parser.add_argument("--disk-cache-size", default="10GB", help="at most (default: 10GB)")


def _layer_bits(text: str) -> tuple[int, int, int]:
    try:
        layer, keys, values = map(int, text.split(","))
        Settings(key_bits=keys, value_bits=values)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not LAYER,KEYS,VALUES: {error}") from error
    return layer, keys, values


def _check(parser: argparse.ArgumentParser, settings: dict[str, Any], theirs: list[str]) -> None:
    for flag in theirs:
        if _makes_other_caches(flag):
            parser.error(f"{flag} is for other caches than ours; take --key-bits and --value-bits")
    try:
        Settings(**{name: settings[name] for name in _BITS})
    except ValueError as error:
        parser.error(str(error))
    if settings["boundary_layers"] < 0:
        parser.error("--boundary-layers cannot be negative")


def _makes_other_caches(flag: str) -> bool:
    # argparse takes a flag by its first letters too.
    name = flag.partition("=")[0]
    if len(name) <= len("--m"):
        return False
    return name.startswith(_KV) or any(each.startswith(name) for each in (_KV, *_OTHER_CACHES))


def _run(ours: argparse.Namespace, settings: dict[str, Any], theirs: list[str]) -> None:
    warn_of_others("mlx-lm")
    patch_mlx_lm()
    if ours.command == "batch":
        batch.main(theirs, settings)
        return
    if ours.command == "vlm-generate":
        vision.generate(theirs, settings)
        return
    if ours.command == "vlm-server":
        vision.serve(theirs, settings, ours.grace)
        return
    module = importlib.import_module(f"mlx_lm.{ours.command}")
    ways = {"load": turbo_loading, "sharded_load": turbo_loading, "load_prompt_cache": opening}
    for name, ours_around in ways.items():
        if hasattr(module, name):
            setattr(module, name, ours_around(getattr(module, name), settings))
    if ours.command == "server":
        _prepare_server(ours, settings)
    sys.argv = [f"turbo-kv {ours.command}", *theirs]
    module.main()


def _prepare_server(ours: argparse.Namespace, settings: dict[str, Any]) -> None:
    from .server import prepare  # noqa: PLC0415  mlx-lm's server takes seconds to import

    prepare(settings, ours.context, ours.disk_cache, ours.disk_cache_size, ours.grace)
