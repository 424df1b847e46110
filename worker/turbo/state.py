"""A store as the tree of arrays and scalars that mlx-lm saves, and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import mlx.core as mx

from .codec import Packed, codec
from .layout import Layout
from .leaving import centre_of
from .packing import words
from .rotation import rotation
from .settings import KEY_SCALE, VALUE_SCALE, Settings
from .store import Store
from .view import Centre, Side

VERSION = 2

State = dict[str, Any]


class StateError(ValueError):
    """A state does not fit this cache or this version; the cache is as it was."""


def to_state(store: Store) -> State:
    """Return the settings, layout and whole buffers of a store."""
    store.settle()
    return {
        "version": VERSION,
        "settings": asdict(store.settings),
        "tokens": store.length,
        "layout": store.layout._asdict(),
        "mean": None if store.centre is None else store.centre.mean,
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
    if not isinstance(state, dict) or "version" not in state:
        raise StateError("this is no state of a turbo cache")
    if state["version"] != VERSION:
        raise StateError(
            f"a turbo cache of version {state['version']} wrote this state, this one is of version "
            f"{VERSION}, whose codes mean other numbers; read the prompt again"
        )
    try:
        store = _store(state)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"the state of a turbo cache is damaged: {error}") from error
    if expected is not None and store.settings != expected:
        raise StateError(f"the state was made with {store.settings}, this cache has {expected}")
    return store


def _store(state: State) -> Store:
    settings = Settings(**{f.name: state["settings"][f.name] for f in fields(Settings)})
    store = Store(settings)
    store.layout = Layout(**state["layout"])
    _require(store.length == state["tokens"], f"{store.length} tokens, not {state['tokens']}")
    if state["sides"] is None:
        _require(store.layout.columns == 0, "tokens without keys and values")
        return store
    keys, values = state["sides"]
    store.sides = (
        _to_side(keys, settings.key_bits, settings.seed, keys=True),
        _to_side(values, settings.value_bits, settings.seed, keys=False),
    )
    store.centre = _centre(state["mean"], store)
    for side in store.sides:
        _check_side(side, store)
    _check_along(store)
    return store


def _from_side(side: Side) -> State:
    codes, scales, along = side.packed or (None, None, None)
    return {"raw": side.raw, "codes": codes, "scales": scales, "along": along}


def _to_side(state: State, bits: int, seed: int, *, keys: bool) -> Side:
    raw: mx.array = state["raw"]
    if not bits:
        return Side(raw, None, None)
    coder = codec(raw.shape[-1], bits, seed, KEY_SCALE if keys else VALUE_SCALE)
    return Side(raw, coder, Packed(state["codes"], state["scales"], state["along"]))


def _centre(mean: mx.array | None, store: Store) -> Centre | None:
    assert store.sides is not None  # noqa: S101  `_store` made them
    batch, heads, _, dim = store.sides[0].raw.shape
    if mean is None:
        needed = store.settings.centred and store.layout.packed
        _require(not needed, "packed keys without their mean")
        return None
    _require(mean.shape == (batch, heads, dim), f"a mean of shape {mean.shape}")
    return centre_of(mean.astype(mx.float32), rotation(dim, store.settings.seed))


def _check_side(side: Side, store: Store) -> None:
    layout, settings = store.layout, store.settings
    batch, heads, rows, dim = side.raw.shape
    lengths = (layout.first, layout.packed, layout.tail)
    _require(all(isinstance(x, int) and x >= 0 for x in lengths), f"lengths {lengths}")
    _require(layout.first <= settings.first_tokens, f"{layout.first} first tokens")
    for each in (layout.padding, layout.ends):
        _require(each is None or each.shape == (batch,), "a padding of another batch")
    needed = layout.columns if side.codec is None else layout.raw
    _require(rows >= needed, f"{rows} raw rows where there must be {needed}")
    if side.codec is None or side.packed is None:
        return
    codes, scales, along = side.packed
    held = (batch, heads, codes.shape[2])
    _require(
        held[2] >= layout.packed, f"{held[2]} packed tokens where there must be {layout.packed}"
    )
    _require(codes.shape == (*held, words(dim, side.codec.bits)), f"codes of {codes.shape}")
    _require(codes.dtype == mx.uint32, f"codes of {codes.dtype}")
    for halves in (scales, scales if along is None else along):
        fits = (halves.shape, halves.dtype) == (held, mx.float16)
        _require(fits, "scales of another shape")


def _check_along(store: Store) -> None:
    assert store.sides is not None  # noqa: S101  `_store` made them
    for side, expected in zip(store.sides, (store.settings.centred, False), strict=True):
        if side.packed is not None:
            _require((side.packed.along is not None) == expected, "keys without their direction")


def _require(fine: bool, problem: str) -> None:  # noqa: FBT001  a condition
    if not fine:
        raise ValueError(problem)
