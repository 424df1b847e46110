"""The subject: TurboQuant, from the build that the job names."""

from __future__ import annotations

from typing import Any

import turbo

DEFAULTS = {"key_bits": 8, "value_bits": 4, "key_centring": "mean", "boundary_layers": 0}


def make_cache(
    model: Any, *, key_bits: int, value_bits: int, key_centring: str, boundary_layers: int
) -> list[Any]:
    """Return the subject's prompt cache; bits 0 keep fp16."""
    return list(
        turbo.make_cache(
            model,
            key_bits=key_bits,
            value_bits=value_bits,
            key_centring=key_centring,
            boundary_layers=boundary_layers,
        )
    )


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the subject says of its cache: path, bits, tokens compressed, bytes."""
    return dict(turbo.describe(cache))
