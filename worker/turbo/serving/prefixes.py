"""mlx-lm's cache of prompts, with a folder behind it that outlives the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mlx_lm.models.cache import LRUPromptCache, can_trim_prompt_cache, trim_prompt_cache

from .folder import Folder

_WORTH = 128  # tokens: fewer are read faster by the model than from a file
_GROWN = 1.25  # a state is written anew when it has so many times the tokens of the one on disk
_QUIET = 10  # looks at an empty queue, a tenth of a second each

Unsaved = tuple[str, tuple[int, ...]]


class Prefixes(LRUPromptCache):
    """What prompts left behind, in memory and, where there is a folder, on disk.

    A state is written while nothing is asked, when it has grown by a quarter since it was last
    written, so that a long conversation costs a few times its size; the others when the server
    stops, and when there are more of them than memory keeps.
    """

    def __init__(self, max_size: int, folder: Folder | None = None) -> None:
        super().__init__(max_size)
        self.key: Callable[[], str] = lambda: "0" * 16  # of the model that is loaded; see Folder
        self._folder = folder
        self._new: dict[Unsaved, list[Any]] = {}
        self._later: dict[Unsaved, list[Any]] = {}
        self._looks = 0

    def fetch_nearest_cache(
        self, model: Any, tokens: list[int]
    ) -> tuple[list[Any] | None, list[int]]:
        """Return a copy of the nearest state and the tokens after it, which are one at least."""
        self._looks = 0
        found = super().fetch_nearest_cache(model, tokens)
        if self._folder and self._bring(model, tokens, len(tokens) - len(found[1])):
            found = super().fetch_nearest_cache(model, tokens)
        cache, rest = found
        if rest or cache is None:
            return cache, rest
        # The model needs a token to say what comes next; mlx-lm's server would end here.
        return (cache, tokens[-1:]) if trim_prompt_cache(cache, 1) else (None, tokens)

    def insert_cache(
        self,
        model: Any,
        tokens: list[int],
        prompt_cache: list[Any],
        *,
        cache_type: str = "assistant",
    ) -> None:
        self._looks = 0
        super().insert_cache(model, tokens, prompt_cache, cache_type=cache_type)
        if self._folder and len(tokens) >= _WORTH:
            self._await(tuple(tokens), prompt_cache)

    def trim_to(self, *, n_sequences: int | None = None, n_bytes: int | None = None) -> None:
        super().trim_to(n_sequences=n_sequences, n_bytes=n_bytes)
        while n_bytes is not None and self._unsaved_bytes() > max(0, n_bytes):
            self._save_oldest()

    def idle(self) -> None:
        """Write one state, if nothing was asked for a second; called ten times a second."""
        self._looks += 1
        if self._folder and self._new and self._looks >= _QUIET:
            key, tokens = next(iter(self._new))
            cache = self._new.pop((key, tokens))
            if len(tokens) >= _GROWN * self._folder.saved_length(key, list(tokens)):
                self._folder.save(key, list(tokens), cache)
            else:
                self._later[key, tokens] = cache

    def close(self) -> None:
        """Write all that is not written."""
        while self._new or self._later:
            self._save_oldest()

    def _bring(self, model: Any, tokens: list[int], held: int) -> bool:
        """Put the nearest state on disk into memory, if it serves many tokens more."""
        assert self._folder is not None  # noqa: S101  asked by the caller
        state = self._folder.find(self.key(), tokens)
        if state is None or state.serves(np.asarray(tokens, np.int64)) < held + _WORTH:
            return False
        cache = self._folder.load(state)
        if cache is not None:
            super().insert_cache(model, state.tokens.tolist(), cache)
        return cache is not None

    def _await(self, tokens: tuple[int, ...], cache: list[Any]) -> None:
        key = self.key()
        if can_trim_prompt_cache(cache):
            for waiting in (self._new, self._later):
                for each in [each for each in waiting if _within(each, key, tokens)]:
                    del waiting[each]
        self._new[key, tokens] = cache
        while len(self._new) + len(self._later) > self.max_size:
            self._save_oldest()

    def _save_oldest(self) -> None:
        waiting = self._later or self._new
        key, tokens = next(iter(waiting))
        cache = waiting.pop((key, tokens))
        if self._folder:
            self._folder.save(key, list(tokens), cache)

    def _unsaved_bytes(self) -> int:
        return sum(layer.nbytes for cache in self._unsaved() for layer in cache)

    def _unsaved(self) -> Iterator[list[Any]]:
        yield from self._new.values()
        yield from self._later.values()


def _within(unsaved: Unsaved, key: str, tokens: tuple[int, ...]) -> bool:
    return unsaved[0] == key and tokens[: len(unsaved[1])] == unsaved[1]
