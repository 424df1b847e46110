"""How long a text a model was made for, by its config.json.

It imports nothing, so that it can be run where there is no MLX.
"""

from __future__ import annotations

from typing import Any


def context_of(config: dict[str, Any]) -> int | None:
    """Return the number of tokens that a model was made for, if its config.json says so.

    Where the rotary embedding is stretched, what it is stretched to counts.
    """
    texts = [part for part in (config, config.get("text_config")) if isinstance(part, dict)]
    lengths = [length for text in texts for length in _lengths(text)]
    return max(lengths, default=None)


def _lengths(text: dict[str, Any]) -> list[int]:
    own = _number(text.get("max_position_embeddings"))
    scaling = text.get("rope_scaling") or text.get("rope_parameters")
    stretch = scaling if isinstance(scaling, dict) else {}
    original = _number(stretch.get("original_max_position_embeddings")) or own
    return [int(each) for each in (own, original * _number(stretch.get("factor"))) if each]


def _number(value: Any) -> float:
    """Return a number, 0 for anything else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
