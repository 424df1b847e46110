"""The turbo cache of several sequences, padded on the left, for mlx-lm's batch generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import mlx.core as mx

from .alignment import aligned, alone, rolled, selected, tightened
from .hook import hook
from .layout import Layout
from .masks import own
from .settings import Settings
from .state import State, from_state, to_state
from .store import Store
from .stored import StoredCache

if TYPE_CHECKING:
    from .cache import TurboKVCache


class BatchTurboKVCache(StoredCache):
    """Keys and values of one layer for a batch; sequence i starts at column ``left_padding[i]``.

    Each sequence keeps its own first tokens raw, and its own centre. What is not finite stays with
    its sequence: nothing is refused here, as one request's fault must not end those of others.
    """

    def __init__(self, settings: Settings, left_padding: Sequence[int]) -> None:
        self.store = Store(settings)
        self.store.layout = Layout(padding=mx.array([*left_padding], dtype=mx.int32))
        self._right_padding: mx.array | None = None
        hook(type(self))

    @classmethod
    def of_store(cls, store: Store) -> Self:
        """Return a cache that owns this padded store."""
        batch = cls(store.settings, [])
        batch.store = store
        return batch

    @classmethod
    def merge(cls, caches: Sequence[TurboKVCache]) -> Self:
        """Put caches of single sequences beside each other; they are left as they are."""
        settings = caches[0].store.settings
        if any(cache.store.settings != settings for cache in caches):
            raise ValueError("turbo caches of different settings cannot form a batch")
        return cls.of_store(aligned([cache.store for cache in caches], settings))

    @property
    def left_padding(self) -> mx.array:
        """Count the columns of each sequence that hold nothing of it, int32 [B]."""
        padding = self.store.layout.padding
        assert padding is not None  # noqa: S101  a batch's store always has one
        return padding

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
        mask = self.store.seen(N).mask(N, window_size)
        return own(mask) if window_size is None else mask

    def prepare(
        self,
        *,
        left_padding: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
        right_padding: Sequence[int] | None = None,
    ) -> None:
        """Announce the padding of the tokens that come next; right padding by real lengths too."""
        store = self.store
        if left_padding is not None:
            if not self.empty():
                raise ValueError("left padding can only be added to an empty cache")
            padding = self.left_padding + mx.array([*left_padding], dtype=mx.int32)
            store.layout = store.layout._replace(padding=padding)
        if right_padding is not None and max(right_padding) > 0:
            if lengths is None:
                raise ValueError("right padding needs the lengths of what is padded")
            self._right_padding = mx.array([*right_padding], dtype=mx.int32)
            ends = self.offset + mx.array([*lengths], dtype=mx.int32)
            store.layout = store.layout._replace(ends=ends)

    def finalize(self) -> None:
        """Turn the right padding announced to `prepare` into left padding."""
        if self._right_padding is not None:
            self.store = rolled(self.store, self._right_padding)
            self._right_padding = None

    def filter(self, batch_indices: Sequence[int]) -> None:
        """Keep some sequences, and only as many columns as the longest of them has."""
        self.store = tightened(selected(self.store, mx.array([*batch_indices])))

    def extend(self, other: Self) -> None:
        """Take in the sequences of another batch."""
        if other.store.settings != self.store.settings:
            raise ValueError("turbo caches of different settings cannot form a batch")
        self.store = aligned([self.store, other.store], self.store.settings)

    def extract(self, idx: int) -> TurboKVCache:
        """Return one sequence, without its padding, as a cache of its own."""
        from .cache import TurboKVCache  # noqa: PLC0415  each of the two makes the other

        return TurboKVCache.of_store(alone(selected(self.store, mx.array([idx]))))

    @property
    def state(self) -> State:
        return {"store": to_state(self.store), "right_padding": self._right_padding}

    @state.setter
    def state(self, state: State) -> None:
        held = vars(self).get("store")
        self.store = from_state(state["store"], held.settings if held else None)
        self._right_padding = state["right_padding"]

    @classmethod
    def from_state(cls, state: State) -> Self:
        cache = cls(from_state(state["store"], None).settings, [])
        cache.state = state
        return cache

    def __copy__(self) -> Self:
        """Return a batch that goes its own way."""
        return type(self).from_state(self.state)

    def __getstate__(self) -> State:
        return self.state

    def __setstate__(self, state: State) -> None:
        self.state = state
        hook(type(self))
