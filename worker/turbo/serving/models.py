"""Models and prompt files as mlx-lm's commands load them, told to be turbo."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..cache import TurboKVCache
from ..make import use
from ..settings import Settings
from ..stock import flat
from .context import context_of


class LoadError(Exception):
    """A model or a file that cannot be used: which, and what to do."""


def turbo_loading(load: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """Return mlx-lm's ``load``, whose models make turbo caches and know their ``context``."""

    def loaded(path: str, *arguments: Any, **options: Any) -> Any:
        found = loaded_by(load, path, *arguments, **options)
        use(found[0], **settings)
        with_config = len(found) > 2  # noqa: PLR2004  model, tokenizer and, if asked for, config
        found[0].context = context_of(found[2]) if with_config else None
        return found

    return loaded


def loaded_by(load: Callable[..., Any], path: str, *arguments: Any, **options: Any) -> Any:
    """Return what ``load`` makes of a model's path; raises LoadError if it cannot."""
    require_there(path)
    try:
        return load(path, *arguments, **options)
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: cannot be loaded: {error}") from error


def require_there(path: str) -> None:
    """Raise LoadError for a model's path that is a folder's, where there is none."""
    if path.startswith((".", os.sep)) and not Path(path).exists():
        raise LoadError(f"{path}: no such folder; give a model's folder or a hub id")


class PromptError(ValueError):
    """A prompt that a model cannot be asked."""


def require_room(tokens: list[int], context: int | None) -> int:
    """Return how many tokens may follow a prompt in a context of so many, if it ends at all.

    Raises PromptError for a prompt without tokens, and one that leaves no room.
    """
    if not tokens:
        raise PromptError("the prompt has no tokens")
    if context is None:
        return sys.maxsize
    if len(tokens) >= context:
        raise PromptError(
            f"the prompt has {len(tokens)} tokens, and the model's context has room for {context}: "
            "shorten it"
        )
    return context - len(tokens)


def opening(
    load_prompt_cache: Callable[..., Any], settings: dict[str, Any]
) -> Callable[..., tuple[list[Any], dict[str, str]]]:
    """Return mlx-lm's ``load_prompt_cache``, which takes files of these settings alone.

    Any number of boundary layers will do, and any layers with bits of their own that are named:
    the file says which layers are compressed, and how.
    """
    common = {name: settings[name] for name in ("first_tokens", "tail_tokens")}
    pairs = {(settings["key_bits"], settings["value_bits"])}
    pairs |= {(keys, values) for _, keys, values in settings["layer_bits"]}

    def opened(file: str, **options: Any) -> tuple[list[Any], dict[str, str]]:
        remedy = "write it again with turbo-kv cache_prompt, or name the flags that it has"
        try:
            found: tuple[list[Any], dict[str, str]] = load_prompt_cache(file, **options)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise LoadError(f"{file}: no prompt cache that can be read ({error})") from error
        held = {layer.store.settings for layer in flat(found[0]) if isinstance(layer, TurboKVCache)}
        if not held:
            raise LoadError(f"{file}: nothing in it is compressed; {remedy}")
        for each in held:
            if replace(each, **common) != each or (each.key_bits, each.value_bits) not in pairs:
                raise LoadError(f"{file}: made with {_flags(each)}; {remedy}")
        return found

    return opened


def _flags(settings: Settings) -> str:
    names = ("key_bits", "value_bits", "first_tokens", "tail_tokens")
    return " ".join(f"--{name.replace('_', '-')} {getattr(settings, name)}" for name in names)
