"""Load a model by mlx-lm's own code."""

from __future__ import annotations

from typing import Any

import mlx_lm

from worker.models import ModelError, locate


def load(name: str) -> tuple[Any, Any]:
    """Return (model, tokenizer); raises ModelError for one that is not there or not loadable."""
    path = locate(name)
    try:
        loaded = mlx_lm.load(str(path or name))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} cannot be loaded: {error}; without network, name a local folder"
        ) from error
    return loaded[0], loaded[1]
