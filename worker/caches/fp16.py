"""mlx-lm's own cache, in the model's 16-bit type: what everything is compared with."""

from __future__ import annotations

from typing import Any

from mlx_lm.models.cache import make_prompt_cache

DEFAULTS: dict[str, Any] = {}


def make_cache(model: Any) -> list[Any]:
    """Return mlx-lm's prompt cache for ``model``."""
    return list(make_prompt_cache(model))


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    return {"layers": len(cache), "attention_path": "stock"}
