"""Rows rotated, or rotated back, in one launch and in their own type, for prompts."""

from __future__ import annotations

from functools import lru_cache

import mlx.core as mx

from . import kernel_launch
from .kernel_source import DIMENSIONS, SIMDGROUPS, kernel_text
from .rotation import Rotation

INPUTS = ("rows", "constants")
SOURCE = """
const int heads = rows_shape[1], row = group_x * WARPS + at.warp;
if (row >= heads * rows_shape[2]) return;
const int position = row / heads, head = row % heads;
turn<{back}>(
    at.lane, rows + group_z * rows_strides[0] + head * rows_strides[1]
        + position * rows_strides[2],
    rows_strides[3], constants + AT_ROTATION, arena + at.warp * DIM,
    turned + (long(group_z) * rows_shape[2] * heads + row) * DIM
);
"""


def turning_source(*, back: bool) -> str:
    """Return the kernel's body."""
    return SOURCE.format(back="true" if back else "false")


def fused_turn(rows: mx.array, rotation: Rotation, *, back: bool) -> mx.array | None:
    """Rotate rows [B, H, L, dim], or rotate them back; None for a dimension without a kernel."""
    batch, heads, length, dim = rows.shape
    if dim not in DIMENSIONS:
        return None
    prelude = kernel_launch.prelude()
    at_once = SIMDGROUPS[prelude]
    (turned,) = _kernel(dim, back, rows.dtype, prelude)(
        inputs=[rows, _constants(rotation)],
        output_shapes=[(batch, length, heads, dim)],
        output_dtypes=[rows.dtype],
        grid=(-(-heads * length // at_once) * 32 * at_once, 1, batch),
        threadgroup=(32 * at_once, 1, 1),
    )
    found: mx.array = turned.swapaxes(1, 2)
    return found


@lru_cache(maxsize=64)
def _constants(rotation: Rotation) -> mx.array:
    made = mx.concatenate([mx.zeros(8), rotation.numbers])
    mx.eval(made)
    return made


@lru_cache(maxsize=64)
def _kernel(
    dim: int,
    back: bool,  # noqa: FBT001  a cache key
    dtype: mx.Dtype,
    prelude: str,
) -> kernel_launch.Kernel:
    header = kernel_text(prelude, ("turn",), dim, (0, 0), False, {})  # noqa: FBT003
    texts = (header, turning_source(back=back))
    shared = 4 * SIMDGROUPS[prelude] * dim
    return kernel_launch.kernel("turn", INPUTS, ("turned",), texts, (dtype,), (prelude, shared))
