"""The reference implementation's default mode, for comparison only: it saves no memory.

Attention sees an uncompressed cache, as fast as mlx-lm's and as large; the packed codes lie beside
it. The prompt goes through the codec once, before the first token is generated; generated tokens
are attended to as they are. Whatever quality and speed this mode shows, a cache that lives on its
codes has to earn anew.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self

import mlx.core as mx
from mlx_lm.models.cache import KVCache

from .hook import hook
from .settings import Settings
from .state import from_state, to_state
from .store import Store

_SHORTEST_PROMPT = 256


class DelegatedTurboKVCache(KVCache):
    """An uncompressed cache, of which the prompt was quantised and decoded again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.store = Store(settings)
        self._decoded = False
        hook(type(self))

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        if keys.shape[2] == 1 and not self._decoded and self.offset >= _SHORTEST_PROMPT:
            self._decode_prompt()
        self.store.append(keys, values)
        fetched: tuple[mx.array, mx.array] = super().update_and_fetch(keys, values)
        return fetched

    def _decode_prompt(self) -> None:
        self.store.compress(0)
        self.offset: int = 0
        super().update_and_fetch(*self.store.view().decoded())
        self._decoded = True

    @classmethod
    def merge(cls, _: Any) -> NoReturn:
        """Refuse a batch, which would be mlx-lm's own and quantise nothing."""
        raise ValueError("the delegated mode has no batches; use mode 'compact'")

    def trim(self, n: int) -> int:
        self.store.trim(n)
        trimmed: int = super().trim(n)
        return trimmed

    @property
    def nbytes(self) -> int:
        """Bytes of the uncompressed buffers and of the packed ones beside them."""
        return int(super().nbytes) + sum(array.nbytes for array in self.store.arrays)

    @property
    def state(self) -> dict[str, Any]:
        return {
            "plain": (self.keys, self.values, self.offset),
            "decoded": self._decoded,
            "store": to_state(self.store),
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.store = from_state(state["store"], None)
        self.keys, self.values, self.offset = state["plain"]
        self._decoded = state["decoded"]

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        cache = cls(from_state(state["store"], None).settings)
        cache.state = state
        return cache
