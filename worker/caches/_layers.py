"""What caches that replace some of mlx-lm's own have in common: replacing, and telling of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlx_lm.models.cache import KVCache, make_prompt_cache


def replaced(model: Any, make: Callable[[], Any]) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced."""
    return [make() if type(layer) is KVCache else layer for layer in make_prompt_cache(model)]


def described(cache: Sequence[Any], kind: type[Any], path: str) -> dict[str, Any]:
    """Return what a cache whose layers of a kind hold packed tokens says of itself."""
    packed = [layer.offset for layer in cache if isinstance(layer, kind)]
    return {
        "layers": len(cache),
        "turbo_layers": len(packed),
        "compressed_tokens": max(packed, default=0),
        "attention_path": path,
    }
