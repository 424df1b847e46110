"""One layer's tokens as plain keys and values in the rotated space, written in place by one launch.

Many queries meet them through MLX's own attention, as `prompt.py` does with plain operations.
"""

from __future__ import annotations

from functools import lru_cache

import mlx.core as mx

from . import kernel_launch
from .codec import Codec
from .fused import SMALLEST, constants
from .kernel_source import DIMENSIONS, SIMDGROUPS, kernel_text
from .view import Side, View

INPUTS = {
    "key": ("key_codes", "key_scales", "key_along", "key_raw"),
    "value": ("value_codes", "value_scales", "value_raw"),
    "all": ("mean", "direction", "constants", "lengths"),
}
SOURCE = """
const Layout layout = {lengths_shape[1] - 1, lengths_shape[0] - 8};
const int columns = layout.packed + lengths_shape[2] - 1, heads = lengths_shape[3];
const int start = group_x * DECODED_ROWS, batch = group_z / SIDES;
const Span rows = {start, smaller(start + DECODED_ROWS, columns)};
const long head = long(batch) * heads + group_y, place = (head * columns + start) * DIM;
"""
KEYS_SOURCE = """
if (group_z % SIDES == 0) {
    decode<KeyCodes, (CENTRED > 0)>(
        at, side(batch, group_y, key_codes, key_codes_strides, key_scales, key_scales_strides,
                      key_along, key_along_strides, key_raw, key_raw_strides, KEY_BITS),
        layout, rows, mean + head * DIM, direction + head * DIM, constants + AT_ROTATION,
        arena + at.warp * DIM, keys + place
    );
}
"""
VALUES_SOURCE = """
if (group_z % SIDES == SIDES - 1) {
    decode<ValueCodes, false>(
        at, side(batch, group_y, value_codes, value_codes_strides, value_scales,
                      value_scales_strides, value_scales, value_scales_strides, value_raw,
                      value_raw_strides, VALUE_BITS),
        layout, rows, mean, direction, constants + AT_ROTATION, arena + at.warp * DIM,
        values + place
    );
}
"""
ROWS_AT_ONCE = 8  # for each simdgroup of a threadgroup, as `decode.h` has it


def decoding_source(keys: Codec | None, values: Codec | None) -> str:
    """Return the kernel's body for the sides that have a codec."""
    return SOURCE + (KEYS_SOURCE if keys else "") + (VALUES_SOURCE if values else "")


def decoding_header(
    keys: Codec | None, values: Codec | None, prelude: str, *, centred: bool
) -> str:
    """Return the kernel's functions for one prelude."""
    either = keys or values
    assert either is not None  # noqa: S101  a view without codecs has nothing packed
    bits = (0 if keys is None else keys.bits, 0 if values is None else values.bits)
    return kernel_text(prelude, ("decode",), either.dim, bits, centred, {})


def fused_rotated(view: View) -> tuple[mx.array, mx.array] | None:
    """Return keys and values [B, H, columns, dim] of a view in each side's rotated space.

    The keys of a compressed side are less their mean; a side without codec is returned as it is.
    Both have the view's dtype. Returns None where no kernel is made for such a view.
    """
    keys, values = view.keys, view.values
    batch, heads, columns, dim = view.shape
    if dim not in DIMENSIONS or values.raw.shape[3] != dim or not _wide(keys, values):
        return None
    centred = view.centre is not None and keys.codec is not None
    turn = _constants(keys.codec, values.codec)
    mean, direction = view.centre if view.centre is not None and centred else (turn, turn)
    sides = [side for side in (keys, values) if side.codec]
    given = [array for side in sides for array in _given(side, along=side is keys)]
    shape = (
        view.packed_length + 8,
        view.first_length + 1,
        view.first_length + view.tail_length + 1,
        heads,
    )
    prelude = kernel_launch.prelude()
    at_once = SIMDGROUPS[prelude] * ROWS_AT_ONCE
    decoded = iter(
        _kernel(keys.codec, values.codec, centred, view.dtype, prelude)(
            inputs=[*given, mean, direction, turn, mx.broadcast_to(turn[:1], shape)],
            output_shapes=[(batch, heads, columns, dim)] * len(sides),
            output_dtypes=[view.dtype] * len(sides),
            grid=(-(-columns // at_once) * 32 * SIMDGROUPS[prelude], heads, batch * len(sides)),
            threadgroup=(32 * SIMDGROUPS[prelude], 1, 1),
        )
    )
    plain = (
        side.raw[:, :, :columns] if side.codec is None else next(decoded) for side in (keys, values)
    )
    return next(plain), next(plain)


def _given(side: Side, *, along: bool) -> list[mx.array]:
    """Return what `INPUTS` names of a side with a codec; keys have what lies along a direction."""
    assert side.packed is not None  # noqa: S101  a side with a codec has room for codes
    codes, scales, component = side.packed
    directed = [scales if component is None else component] if along else []
    return [codes, scales, *directed, side.raw]


def _wide(*sides: Side) -> bool:
    """Tell whether every array is one that MLX hands to Metal as `device` memory."""
    return all(side.packed is None or side.packed.scales.size >= SMALLEST for side in sides)


@lru_cache(maxsize=64)
def _constants(keys: Codec | None, values: Codec | None) -> mx.array:
    return constants(keys, values, 1.0)


@lru_cache(maxsize=64)
def _kernel(
    keys: Codec | None,
    values: Codec | None,
    centred: bool,  # noqa: FBT001  a cache key
    dtype: mx.Dtype,
    prelude: str,
) -> kernel_launch.Kernel:
    inputs = (INPUTS["key"] if keys else ()) + (INPUTS["value"] if values else ()) + INPUTS["all"]
    outputs = (("keys",) if keys else ()) + (("values",) if values else ())
    header = decoding_header(keys, values, prelude, centred=centred)
    either = keys or values
    shared = 4 * SIMDGROUPS[prelude] * (0 if either is None else either.dim)
    texts = (header, decoding_source(keys, values))
    return kernel_launch.kernel("decode", inputs, outputs, texts, (dtype,), (prelude, shared))
