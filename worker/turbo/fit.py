"""Whether a model's attention can read packed keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from .stock import flat, stock_caches
from .store import Store


class UnfitError(ValueError):
    """A model that cannot be compressed: the message says why, and what to do."""


_LENGTHS = (2, 1)  # a prompt, then a token: latents are read differently by each
_known: dict[tuple[type, ...], str | None] = {}


def require_fit(model: Any, make: Callable[[], list[Any]]) -> None:
    """Try a model of mlx-lm on the caches that ``make`` returns, without computing anything.

    Only the graph of a few tokens is built. Most models hand keys and values on to MLX's attention;
    latents (MLA), soft-capped scores and the like read them as arrays. A model that cannot be
    called so at all, with its own caches either, is let through: what it is is not known here.

    Raises
    ------
    UnfitError
        If the model reads keys and values itself.
    """
    if not type(model).__module__.startswith("mlx_lm."):
        return
    caches = make()
    kind = (type(model), *map(type, caches))
    if kind not in _known:
        wrong = _wrong(model, caches)
        stuck = wrong is not None and _wrong(model, stock_caches(model)) is not None
        _known[kind] = None if stuck else wrong
    if (wrong := _known[kind]) is not None:
        raise UnfitError(
            f"{type(model).__module__.rpartition('.')[2]}: its attention reads keys and values by "
            f"itself, as latents (MLA) and soft-capped scores need, and packed ones cannot be read "
            f"so ({wrong}); use mlx-lm's own cache for this model"
        )


def dimensions(model: Any, make: Callable[[], list[Any]]) -> frozenset[int] | None:
    """Return the dimensions of the vectors that a model stores in our caches; None: not known."""
    caches = make()
    if _wrong(model, caches) is not None:
        return None
    stores = [getattr(cache, "store", None) for cache in flat(caches)]
    sides = [side for store in stores if isinstance(store, Store) for side in store.sides or ()]
    return frozenset(side.raw.shape[-1] for side in sides) or None


def _wrong(model: Any, caches: list[Any]) -> str | None:
    try:
        for length in _LENGTHS:
            model(mx.zeros((1, length), mx.int32), cache=caches)
    except Exception as error:  # noqa: BLE001  whatever a model does with what is no array
        return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
    return None
