"""A store as the tree of arrays and scalars that mlx-lm saves, and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import mlx.core as mx

from .codec import Packed, ScaleRule, codec
from .settings import KEY_SCALE, VALUE_SCALE, Settings
from .store import Store
from .view import Side

VERSION = 1

State = dict[str, Any]


class StateError(ValueError):
    """A state does not fit this cache or this version; the cache is as it was."""


def to_state(store: Store) -> State:
    """Return the settings, lengths and whole buffers of a store."""
    return {
        "version": VERSION,
        "settings": asdict(store.settings),
        "packed_length": store.packed_length,
        "raw_length": store.raw_length,
        "mean": store.mean,
        "sides": None if store.sides is None else [_from_side(side) for side in store.sides],
    }


def from_state(state: State, expected: Settings | None) -> Store:
    """Build the store that `to_state` took apart.

    Raises
    ------
    StateError
        If another version wrote the state, its parts contradict each other, or its settings are not
        the expected ones.
    """
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise StateError(f"this is no state of a turbo cache of version {VERSION}")
    try:
        settings = Settings(**{f.name: state["settings"][f.name] for f in fields(Settings)})
        store = Store(settings)
        store.packed_length, store.raw_length = state["packed_length"], state["raw_length"]
        store.mean = state["mean"]
        if state["sides"] is not None:
            keys, values = state["sides"]
            store.sides = (
                _to_side(keys, settings.key_bits, settings.seed, KEY_SCALE),
                _to_side(values, settings.value_bits, settings.seed, VALUE_SCALE),
            )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"the state of a turbo cache is damaged: {error!r}") from error
    if expected is not None and settings != expected:
        raise StateError(f"the state was made with {settings}, this cache has {expected}")
    return store


def _from_side(side: Side) -> State:
    codes, scales = side.packed or (None, None)
    return {"raw": side.raw, "codes": codes, "scales": scales}


def _to_side(state: State, bits: int, seed: int, scale_rule: ScaleRule) -> Side:
    raw: mx.array = state["raw"]
    if not bits:
        return Side(raw, None, None)
    coder = codec(raw.shape[-1], bits, seed, scale_rule)
    return Side(raw, coder, Packed(state["codes"], state["scales"]))
