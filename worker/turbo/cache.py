"""A KV cache for one layer that keeps packed codes, in mlx-lm 0.32's cache protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Self

import mlx.core as mx
from mlx_lm.models.cache import KVCache, create_attention_mask

from .batch import BatchTurboKVCache
from .hook import hook
from .settings import KeyCentring, Settings
from .state import State, from_state, to_state
from .store import Store
from .stored import StoredCache

_NO_KV_BITS = (
    "kv_bits={bits} (kv_group_size={group_size}) is for mlx-lm's own cache, and this prompt cache "
    "is a turbo cache: leave kv_bits out, and give key_bits and value_bits where it is made"
)


class TurboKVCache(StoredCache):
    """Keys and values of one layer, compressed as soon as they leave a short tail.

    Parameters
    ----------
    bits
        Of the values, and of the keys where ``key_bits`` is None; 0 keeps a side in fp16.
    settings
        See `Settings` for the others.
    """

    def __init__(
        self,
        bits: int = 4,
        key_bits: int | None = None,
        *,
        seed: int = 42,
        first_tokens: int = 4,
        tail_tokens: int = 96,
        compress_from: int = 0,
        key_centring: KeyCentring = "mean",
    ) -> None:
        settings = Settings(
            key_bits=bits if key_bits is None else key_bits,
            value_bits=bits,
            seed=seed,
            first_tokens=first_tokens,
            tail_tokens=tail_tokens,
            compress_from=compress_from,
            key_centring=key_centring,
        )
        self.store = Store(settings)
        hook(type(self))

    @classmethod
    def of_store(cls, store: Store) -> Self:
        """Return a cache that owns this store."""
        cache = cls.__new__(cls)
        cache.store = store
        hook(cls)
        return cache

    def compact(self) -> None:
        """Pack the tail too."""
        self.store.compress(0)

    @property
    def offset(self) -> int:
        return self.store.length

    @property
    def state(self) -> State:
        return to_state(self.store)

    @state.setter
    def state(self, state: State) -> None:
        held = vars(self).get("store")
        self.store = from_state(state, held.settings if held else None)

    @classmethod
    def from_state(cls, state: State) -> Self:
        return cls.of_store(from_state(state, None))

    def __copy__(self) -> Self:
        """Return a cache that goes its own way, as a copy of mlx-lm's does."""
        return type(self).of_store(self.store.copy())

    def __getstate__(self) -> State:
        return self.state

    def __setstate__(self, state: State) -> None:
        self.state = state
        hook(type(self))

    def to_quantized(self, group_size: int = 64, bits: int = 4) -> NoReturn:
        """Refuse what mlx-lm asks for where it is given ``kv_bits``."""
        raise ValueError(_NO_KV_BITS.format(bits=bits, group_size=group_size))

    def make_mask(
        self,
        N: int,
        return_array: bool = False,  # noqa: FBT001, FBT002  mlx-lm's signature
        window_size: int | None = None,
    ) -> mx.array | str | None:
        mask: mx.array | str | None = create_attention_mask(
            N, offset=self.offset, return_array=return_array, window_size=window_size
        )
        return mask

    def to_batch(self, left_padding: Sequence[int]) -> BatchTurboKVCache:
        """Return an empty batch of these settings, for mlx-vlm's batch generation."""
        return BatchTurboKVCache(self.store.settings, left_padding)

    @classmethod
    def merge(cls, caches: Sequence[Self]) -> BatchTurboKVCache:
        """Return the caches of several sequences as one batch."""
        return BatchTurboKVCache.merge(caches)


class KeptKVCache(KVCache):
    """A layer of a turbo cache that stays as it is, whatever ``kv_bits`` says."""

    def to_quantized(self, group_size: int = 64, bits: int = 4) -> NoReturn:
        """Refuse what mlx-lm asks for where it is given ``kv_bits``."""
        raise ValueError(_NO_KV_BITS.format(bits=bits, group_size=group_size))


class TurboKVCacheLite(TurboKVCache):
    """A turbo cache that takes over what another layer cache holds, by the reference's name."""

    def __init__(self, kv_cache: KVCache, bits: int = 4, key_bits: int = 0, seed: int = 42) -> None:
        super().__init__(bits, key_bits, seed=seed)
        if not kv_cache.empty():
            self.store.append(*kv_cache.keys_and_values())
