"""What stays raw when tokens leave the tail, and whether all that is new is finite, in one launch.

With plain operations it takes forty of them a layer, which is most of the pause amid decoding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import mlx.core as mx

from . import kernel_launch
from .codec import Packed
from .kernel_source import DIMENSIONS, SIMDGROUPS, kernel_text

INPUTS = (
    "key_raw",
    "value_raw",
    "key_scales",
    "key_along",
    "value_scales",
    "earlier",
    "lengths",
)
OUTPUTS = ("key_kept", "value_kept", "flags")
SOURCE = """
const int capacity = lengths_shape[0], first = lengths_shape[1] - 1;
const int tail_from = lengths_shape[2] - 1, tail = lengths_shape[3] - 1;
const int heads = key_scales_shape[1], count = key_scales_shape[2];
const int row = group_x * WARPS + at.warp, rows = capacity + (count + LANES - 1) / LANES;
if (row >= rows) return;
const int batch = group_z / 2;
const bool of_values = group_z % 2 == 1;
const long head = long(batch) * heads + group_y;
bool fine = true;
if (row < capacity) {
    const bool used = row < first + tail;
    const long source = !used ? 0 : row < first ? row : row - first + tail_from;
    const long to = (head * capacity + row) * DIM;
    if (of_values) {
        fine = keep(at.lane, value_raw + batch * value_raw_strides[0]
            + group_y * value_raw_strides[1] + source * DIM, used, value_kept + to);
    } else {
        fine = keep(at.lane, key_raw + batch * key_raw_strides[0]
            + group_y * key_raw_strides[1] + source * DIM, used, key_kept + to);
    }
} else {
    const int token = (row - capacity) * LANES + at.lane;
    const long at_scale = head * count + token;
    if (token < count) {
        fine = of_values ? is_finite(float(value_scales[at_scale]))
            : is_finite(float(key_scales[at_scale])) && is_finite(float(key_along[at_scale]));
    }
}
const long place = 2 * head + (of_values ? 1 : 0);
const bool bad = any_of_simd(!fine);
if (at.lane == 0) {
    const uint before = earlier[place * earlier_strides[0] + row * earlier_strides[1]];
    flags[place * rows + row] = bad ? 0u : before;
}
"""


class Kept(NamedTuple):
    """Raw rows of keys and of values, and flags uint32, of which any 0 says what is bad.

    ``covers`` are earlier flags that these contain.
    """

    raw: tuple[mx.array, mx.array]
    flags: mx.array
    covers: mx.array | None


class Rows(NamedTuple):
    """Which raw rows stay: the first, and the tail from one on, in a buffer of some capacity."""

    first: int
    tail_from: int
    tail: int
    capacity: int


def fused_keep(
    raw: tuple[mx.array, mx.array],
    new: tuple[Packed, Packed],
    rows: Rows,
    earlier: mx.array | None,
) -> Kept | None:
    """Copy the raw rows [B, H, rows, dim] that stay, and look at them and at what was packed.

    Returns None for a dimension that the kernel is not made for.
    """
    keys, values = raw
    batch, heads, _, dim = keys.shape
    if dim not in DIMENSIONS or values.shape[3] != dim:
        return None
    prelude = kernel_launch.prelude()
    at_once = SIMDGROUPS[prelude]
    scales, along = new[0].scales, new[0].along
    jobs = rows.capacity + -(-scales.shape[2] // 32)
    shape = (2 * batch * heads, jobs)
    covers = earlier if earlier is not None and earlier.shape == shape else None
    sizes = (rows.capacity, rows.first + 1, rows.tail_from + 1, rows.tail + 1)
    kept_shape = (batch, heads, rows.capacity, dim)
    kept_keys, kept_values, flags = _kernel(dim, keys.dtype, prelude)(
        inputs=[
            keys,
            values,
            scales,
            scales if along is None else along,
            new[1].scales,
            mx.broadcast_to(_one(), shape) if covers is None else covers,
            mx.broadcast_to(_one(), sizes),
        ],
        output_shapes=[kept_shape, kept_shape, shape],
        output_dtypes=[keys.dtype, keys.dtype, mx.uint32],
        grid=(-(-jobs // at_once) * 32 * at_once, heads, 2 * batch),
        threadgroup=(32 * at_once, 1, 1),
    )
    return Kept((kept_keys, kept_values), flags, covers)


@lru_cache(maxsize=1)
def _one() -> mx.array:
    made = mx.ones(1, dtype=mx.uint32)
    mx.eval(made)
    return made


@lru_cache(maxsize=64)
def _kernel(dim: int, dtype: mx.Dtype, prelude: str) -> kernel_launch.Kernel:
    header = kernel_text(prelude, ("keep",), dim, (0, 0), False, {})  # noqa: FBT003
    return kernel_launch.kernel("keep", INPUTS, OUTPUTS, (header, SOURCE), (dtype,), (prelude, 32))
