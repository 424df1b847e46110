"""Turbo caches for a whole model, and what can be said of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from mlx_lm.models.cache import CacheList, KVCache

from .attention import attention_path
from .batch import BatchTurboKVCache
from .cache import KeptKVCache, TurboKVCache, TurboKVCacheLite
from .conformance import GOLDEN, known, require
from .delegated import DelegatedTurboKVCache
from .fit import UnfitError, dimensions, require_fit
from .hook import hook, register, unhook
from .settings import KeyCentring, Settings
from .stock import flat, stock_caches
from .store import Store

Mode = Literal["compact", "delegated"]

_MODES: dict[Mode, Callable[[Settings], Any]] = {
    "compact": lambda settings: TurboKVCache.of_store(Store(settings)),
    "delegated": DelegatedTurboKVCache,
}

_Turbo = TurboKVCache | BatchTurboKVCache | DelegatedTurboKVCache
_CACHES = (TurboKVCache, TurboKVCacheLite, KeptKVCache, BatchTurboKVCache, DelegatedTurboKVCache)

register(*_CACHES)  # mlx-lm opens prompt files of ours once this is imported


def make_cache(  # noqa: PLR0913  the settings by name
    model: Any,
    *,
    key_bits: int = 8,
    value_bits: int = 4,
    boundary_layers: int = 0,
    layer_bits: Iterable[tuple[int, int, int]] = (),
    seed: int = 42,
    first_tokens: int = 4,
    tail_tokens: int = 96,
    compress_from: int = 0,
    key_centring: KeyCentring = "mean",
    mode: Mode = "compact",
) -> list[Any]:
    """Return a prompt cache for mlx-lm with a `TurboKVCache` wherever the model has a `KVCache`.

    Recurrent and sliding-window layers keep the caches that the model makes for them.

    Parameters
    ----------
    boundary_layers
        So many layers at either end, counted among those with a `KVCache`, stay uncompressed.
    layer_bits
        (layer, key_bits, value_bits) for layers with bits of their own, counted likewise from 0.
    mode
        "compact" keeps packed codes alone. "delegated" works as the reference implementation does,
        for comparison: it attends to an uncompressed copy and saves nothing while decoding.
    key_bits, value_bits, seed, first_tokens, tail_tokens, compress_from, key_centring
        See `Settings`.

    Raises
    ------
    UnfitError
        A ValueError: if nothing would be compressed, ``layer_bits`` names a layer that is not
        compressed, or the model's attention reads keys and values by itself.
    ConformanceError
        If this device fails the golden vectors (`conformance.known`, once a process) of the
        dimensions that the model's heads have.
    """
    settings = Settings(
        key_bits=key_bits,
        value_bits=value_bits,
        seed=seed,
        first_tokens=first_tokens,
        tail_tokens=tail_tokens,
        compress_from=compress_from,
        key_centring=key_centring,
    )

    own = {
        layer: replace(settings, key_bits=keys, value_bits=values)
        for layer, keys, values in layer_bits
    }

    def made() -> list[Any]:
        caches = stock_caches(model)
        return _replaced(
            caches, boundary_layers, own, lambda layer: _MODES[mode](own.get(layer, settings))
        )

    require_fit(model, made)
    if known(GOLDEN).fatal:
        require(dimensions=dimensions(model, made))
    return made()


def use(model: Any, **settings: Any) -> None:
    """Let everything that asks a model of mlx-lm for a prompt cache get a turbo cache.

    See `make_cache` for the settings. Raises UnfitError for a model that cannot be compressed.
    """
    make_cache(model, **settings)
    model.make_cache = partial(make_cache, model, **settings)


def _replaced(
    caches: list[Any], boundary: int, named: Collection[int], make: Callable[[int], Any]
) -> list[Any]:
    """Put ours in the place of each KVCache, also of those in a list that a layer has of them."""
    # By name, as mlx-vlm has a class of its own; subclasses may do what we do not know.
    layers = [cache for cache in flat(caches) if type(cache).__name__ == "KVCache"]
    chosen = range(len(layers))[boundary : len(layers) - boundary]
    if not chosen:
        raise UnfitError(
            f"no layer to compress: {len(layers)} of {len(caches)} layers have a KVCache, "
            f"{boundary} at either end are to stay as they are"
        )
    if unknown := [layer for layer in named if layer not in chosen]:
        raise UnfitError(
            f"layer_bits: layer {unknown[0]} is not compressed; there are {chosen[0]} to "
            f"{chosen[-1]}, counted among layers with a KVCache"
        )
    ours = {id(layers[layer]): make(layer) for layer in chosen}
    kept = {id(cache): KeptKVCache() for cache in layers if type(cache) is KVCache}

    def other(cache: Any) -> Any:
        if isinstance(cache, CacheList):
            return CacheList(*map(other, cache.caches))
        return (kept | ours).get(id(cache), cache)

    return [other(cache) for cache in caches]


def make_turbo_cache(
    model: Any, bits: int = 4, key_bits: int | None = None, boundary_layers: int = 0, seed: int = 42
) -> list[Any]:
    """Do what `make_cache` does, by the reference implementation's name and order."""
    return make_cache(
        model,
        key_bits=bits if key_bits is None else key_bits,
        value_bits=bits,
        boundary_layers=boundary_layers,
        seed=seed,
    )


def compact_turbo_cache(cache: Sequence[Any]) -> None:
    """Pack the tails too, now; generation goes on from there with a new tail."""
    for layer in flat(cache):
        if isinstance(layer, TurboKVCache):
            layer.compact()


def describe(cache: Sequence[Any]) -> dict[str, Any]:
    """Say what a prompt cache holds, so that a record can prove that compression was active.

    Returns
    -------
    dict
        ``mode``, ``attention_path`` ("portable", "fused"; "stock" where nothing is packed yet or
        attention does not see it), ``layers``, ``turbo_layers``, bits (those of the first turbo
        layer; ``layer_bits`` has all where they differ), ``compressed_tokens`` and
        ``raw_tokens`` of the longest layer, and ``kv_bytes`` of all layers.
    """
    turbo = [layer for layer in flat(cache) if isinstance(layer, _Turbo)]
    delegated = any(isinstance(layer, DelegatedTurboKVCache) for layer in turbo)
    packed = max((layer.store.packed_length for layer in turbo), default=0)
    bits = [[one.store.settings.key_bits, one.store.settings.value_bits] for one in turbo]
    first = bits[0] if bits else [0, 0]
    return {
        "mode": "delegated" if delegated else "compact",
        "attention_path": attention_path() if packed and not delegated else "stock",
        "layers": len(cache),
        "turbo_layers": len(turbo),
        "key_bits": first[0],
        "value_bits": first[1],
        **({"layer_bits": bits} if any(one != first for one in bits) else {}),
        "compressed_tokens": packed,
        "raw_tokens": max((layer.store.raw_length for layer in turbo), default=0),
        "kv_bytes": sum(layer.nbytes for layer in cache),
    }


def patch_mlx_lm() -> None:
    """Do by hand what making a cache does."""
    hook(*_CACHES)


def unpatch_mlx_lm() -> None:
    """Undo `patch_mlx_lm`, and what making a cache does by itself."""
    unhook()
