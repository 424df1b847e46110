"""The turbo cache of several sequences, padded on the left, for mlx-lm's batch generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import mlx.core as mx
from mlx_lm.models.base import create_causal_mask

from .alignment import aligned, dropped_left, rolled, selected
from .hook import hook
from .settings import Settings
from .state import State, from_state, to_state
from .store import Store
from .view import View

if TYPE_CHECKING:
    from .cache import TurboKVCache


class BatchTurboKVCache:
    """Keys and values of one layer for a batch; sequence i starts at column ``left_padding[i]``.

    The first tokens of a sequence are packed like all others here: ``first_tokens`` does not apply.
    """

    def __init__(self, settings: Settings, left_padding: Sequence[int]) -> None:
        self.store = Store(replace(settings, first_tokens=0))
        self.left_padding = mx.array([*left_padding], dtype=mx.int32)
        self._right_padding: mx.array | None = None
        hook(type(self))

    @classmethod
    def merge(cls, caches: Sequence[TurboKVCache]) -> Self:
        """Put caches of single sequences beside each other; they are left as they are."""
        settings = caches[0].store.settings
        if any(cache.store.settings != settings for cache in caches):
            raise ValueError("turbo caches of different settings cannot form a batch")
        batch = cls(settings, [0] * len(caches))
        parts = [(cache.store, mx.zeros(1, dtype=mx.int32)) for cache in caches]
        batch.store, batch.left_padding = aligned(parts, batch.store.settings)
        return batch

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[View, View]:
        """Store new tokens [B, H, L, dim]; returns a `View` in the place of both."""
        view = self.store.append(keys, values)
        return view, view

    def keys_and_values(self) -> tuple[View, View]:
        view = self.store.view()
        return view, view

    @property
    def offset(self) -> mx.array:
        """Count the tokens of each sequence, [B]."""
        return self.store.length - self.left_padding

    def make_mask(
        self,
        N: int,
        return_array: bool = True,  # noqa: ARG002, FBT001, FBT002  mlx-lm's signature
        window_size: int | None = None,
    ) -> mx.array:
        mask: mx.array = create_causal_mask(
            N, offset=self.store.length, window_size=window_size, left_padding=self.left_padding
        )
        return mask

    def prepare(
        self,
        *,
        left_padding: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,  # noqa: ARG002  mlx-lm's signature
        right_padding: Sequence[int] | None = None,
    ) -> None:
        """Announce the padding of the tokens that come next."""
        if left_padding is not None:
            if not self.empty():
                raise ValueError("left padding can only be added to an empty cache")
            self.left_padding = self.left_padding + mx.array([*left_padding], dtype=mx.int32)
        if right_padding is not None and max(right_padding) > 0:
            self._right_padding = mx.array([*right_padding], dtype=mx.int32)

    def finalize(self) -> None:
        """Turn the right padding announced to `prepare` into left padding."""
        if self._right_padding is not None:
            self.store = rolled(self.store, self._right_padding)
            self.left_padding = self.left_padding + self._right_padding
            self._right_padding = None

    def filter(self, batch_indices: Sequence[int]) -> None:
        """Keep some sequences, and only as many columns as the longest of them has."""
        chosen = mx.array([*batch_indices])
        self.left_padding = self.left_padding[chosen]
        unused = min(self._padding())
        self.store = dropped_left(selected(self.store, chosen), unused)
        self.left_padding = self.left_padding - unused

    def extend(self, other: Self) -> None:
        """Take in the sequences of another batch."""
        if other.store.settings != self.store.settings:
            raise ValueError("turbo caches of different settings cannot form a batch")
        parts = [(self.store, self.left_padding), (other.store, other.left_padding)]
        self.store, self.left_padding = aligned(parts, self.store.settings)

    def extract(self, idx: int) -> TurboKVCache:
        """Return one sequence, without its padding, as a cache of its own."""
        from .cache import TurboKVCache  # noqa: PLC0415  each of the two makes the other

        padding = self._padding()[idx]
        return TurboKVCache.of_store(dropped_left(selected(self.store, mx.array([idx])), padding))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, the unused room in them included."""
        return sum(array.nbytes for array in self.store.arrays)

    @property
    def state(self) -> State:
        return {"store": to_state(self.store), "left_padding": self.left_padding}

    @state.setter
    def state(self, state: State) -> None:
        self.store = from_state(state["store"], self.store.settings)
        self.left_padding = state["left_padding"]

    @classmethod
    def from_state(cls, state: State) -> Self:
        store = from_state(state["store"], None)
        cache = cls(store.settings, [])
        cache.store, cache.left_padding = store, state["left_padding"]
        return cache

    def _padding(self) -> list[int]:
        return [int(padding) for padding in self.left_padding]

    def size(self) -> int:
        return self.store.length

    def empty(self) -> bool:
        return self.store.sides is None

    def is_trimmable(self) -> bool:
        return True

    def trim(self, n: int) -> int:
        return self.store.trim(n)
