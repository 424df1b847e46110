"""A prompt's layers are given to the device one by one, as they come, and only a few ahead of it.

MLX would build the graph of all layers first, and the device would wait for that; and then it would
hold the temporaries of all of them at once.
"""

from __future__ import annotations

import threading
from collections import deque

import mlx.core as mx

_AHEAD = 3
_local = threading.local()


def begin(arrays: list[mx.array]) -> None:
    """Start the work on a layer's arrays, and wait for that of the layer some before it."""
    mx.async_eval(arrays)  # type: ignore[no-untyped-call]
    begun: deque[mx.array] = vars(_local).setdefault("begun", deque())
    begun.append(min(arrays, key=lambda x: x.nbytes))  # the others may be large
    if len(begun) > _AHEAD:
        mx.eval(begun.popleft())
