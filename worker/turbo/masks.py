"""Which array masks are a batch's own: they say no more than the layout of the view does.

mlx-lm makes a mask once for all layers and passes it on as it is, so its identity tells.
"""

from __future__ import annotations

from collections import deque

import mlx.core as mx

_made: deque[mx.array] = deque(maxlen=8)


def own(mask: mx.array) -> mx.array:
    """Remember a mask that a batch made of its layout, and return it."""
    _made.append(mask)
    return mask


def is_own(mask: mx.array) -> bool:
    """Tell whether a batch made this very array, not long ago."""
    return any(mask is made for made in _made)
