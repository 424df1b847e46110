"""mlx-lm's own commands with turbo caches: ``generate``, ``chat``, ``server``, ``cache_prompt``.

Flags are theirs and ours beside them. Where a command loads a model, the model is told to make
turbo caches; nothing else of mlx-lm is touched.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from types import ModuleType
from typing import Any

from .fit import UnfitError
from .make import make_cache, patch_mlx_lm
from .settings import Settings

COMMANDS = ("generate", "chat", "server", "cache_prompt")
#: The mlx-lm that all tests ran with.
TESTED = "0.32.2"
#: mlx-lm's flags that make other caches than ours.
_NOT_BOTH = ("--kv-bits", "--max-kv-size", "--quantized-kv-start", "--kv-group-size")
#: Settings of a whole model, which no layer has.
_OF_MODEL = ("boundary_layers", "layer_bits")


def main(arguments: list[str]) -> None:
    """Run a command of mlx-lm; wrong flags and models that cannot be compressed end with 2."""
    parser = argparse.ArgumentParser(
        prog="turbo-kv",
        description="mlx-lm's commands with turbo caches; COMMAND --help has mlx-lm's flags",
        add_help=arguments[0] not in COMMANDS,
    )
    parser.add_argument("command", choices=COMMANDS)
    defaults = Settings()
    for name in ("key_bits", "value_bits", "first_tokens", "tail_tokens"):
        parser.add_argument(_flag(name), type=int, default=getattr(defaults, name))
    parser.add_argument("--boundary-layers", type=int, default=0)
    parser.add_argument(
        "--layer-bits",
        type=_layer_bits,
        action="append",
        default=[],
        metavar="LAYER,KEYS,VALUES",
        help="bits of a layer of its own, counted from 0; may be repeated",
    )
    ours, theirs = parser.parse_known_args(arguments)
    settings = dict(vars(ours))
    del settings["command"]
    _check(parser, settings, theirs)
    module = importlib.import_module(f"mlx_lm.{ours.command}")
    _make_turbo(module, settings)
    sys.argv = [f"turbo-kv {ours.command}", *theirs]
    try:
        module.main()
    except UnfitError as error:
        parser.error(str(error))


def use(model: Any, **settings: Any) -> None:
    """Let everything that asks a model of mlx-lm for a prompt cache get a turbo cache.

    See `make_cache` for the settings. Raises UnfitError for a model that cannot be compressed.
    """
    make_cache(model, **settings)
    model.make_cache = partial(make_cache, model, **settings)


def _check(parser: argparse.ArgumentParser, settings: dict[str, Any], theirs: list[str]) -> None:
    for flag in theirs:
        if flag.partition("=")[0] in _NOT_BOTH:
            parser.error(f"{flag} is for mlx-lm's own caches; take --key-bits and --value-bits")
    try:
        Settings(**{name: x for name, x in settings.items() if name not in _OF_MODEL})
    except ValueError as error:
        parser.error(str(error))
    found = version("mlx-lm")
    if found != TESTED:
        warnings.warn(f"mlx-lm {found}: turbo-kv was tested with {TESTED}", stacklevel=3)


def _make_turbo(module: ModuleType, settings: dict[str, Any]) -> None:
    """Let a command's models make turbo caches, and its files of them open."""
    patch_mlx_lm()
    for name in ("load", "sharded_load"):
        if hasattr(module, name):
            setattr(module, name, _loading(getattr(module, name), settings))


def _loading(load: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    def loaded(*arguments: Any, **options: Any) -> Any:
        found = load(*arguments, **options)
        use(found[0], **settings)
        return found

    return loaded


def _layer_bits(text: str) -> tuple[int, int, int]:
    try:
        layer, keys, values = map(int, text.split(","))
        Settings(key_bits=keys, value_bits=values)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not LAYER,KEYS,VALUES: {error}") from error
    return layer, keys, values


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
