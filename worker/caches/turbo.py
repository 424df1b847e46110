"""The subject where it is this repository's TurboQuant, from the build that the job names."""

from __future__ import annotations

from typing import Any

from worker.caches import subject

SUBJECT = True
#: A vector of 128 values has a scale of 16 bits, a key as many for its part along the mean.
WIDTHS = {"key_bits": 0.25, "value_bits": 0.125}
DEFAULTS = {
    "key_bits": 8,
    "value_bits": 4,
    "key_centring": "mean",
    "boundary_layers": 0,
    "layer_bits": [],
}

describe = subject.describe


def make_cache(
    model: Any,
    *,
    key_bits: int,
    value_bits: int,
    key_centring: str,
    boundary_layers: int,
    layer_bits: list[list[int]],
) -> list[Any]:
    """Return the subject's prompt cache; bits 0 keep fp16.

    ``layer_bits`` are (layer, key_bits, value_bits) of layers with bits of their own; builds before
    it existed are not told of it where nobody asks.
    """
    own = {"layer_bits": layer_bits} if layer_bits else {}
    return subject.make_cache(
        model,
        key_bits=key_bits,
        value_bits=value_bits,
        key_centring=key_centring,
        boundary_layers=boundary_layers,
        **own,
    )
