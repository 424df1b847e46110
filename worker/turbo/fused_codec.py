"""`Codec.encode` of keys and values in one launch: every layer packs tokens amid decoding."""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import mlx.core as mx

from . import kernel_launch
from .codec import Codec, Packed, ScaleRule
from .kernel_source import DIMENSIONS, SIMDGROUPS, kernel_text
from .packing import words
from .view import Centre

INPUTS = ("key_rows", "value_rows", "mean", "direction", "constants")
OUTPUTS = {
    "key": ("key_codes", "key_scales", "key_along"),
    "value": ("value_codes", "value_scales"),
}
SOURCE = """
const int token = group_x * WARPS + at.warp, tokens = {rows}_shape[2], heads = {rows}_shape[1];
if (token >= tokens) return;
const int batch = group_z / SIDES;
const long head = long(batch) * heads + group_y, row = head * tokens + token;
"""
KEYS_SOURCE = """
if (group_z % SIDES == 0) {
    encode<KEY_BITS, KEY_RULE, (CENTRED > 0)>(
        at.lane, key_rows + batch * key_rows_strides[0] + group_y * key_rows_strides[1]
            + token * key_rows_strides[2],
        mean + head * DIM, direction + head * DIM, constants + AT_ROTATION,
        constants + AT_KEY_LEVELS, arena + at.warp * DIM,
        key_codes + row * ((DIM * KEY_BITS + 31) / 32), key_scales + row, key_along + row
    );
}
"""
VALUES_SOURCE = """
if (group_z % SIDES == SIDES - 1) {
    encode<VALUE_BITS, VALUE_RULE, false>(
        at.lane, value_rows + batch * value_rows_strides[0] + group_y * value_rows_strides[1]
            + token * value_rows_strides[2],
        mean, direction, constants + AT_ROTATION, constants + AT_VALUE_LEVELS,
        arena + at.warp * DIM, value_codes + row * ((DIM * VALUE_BITS + 31) / 32),
        value_scales + row, value_scales
    );
}
"""

Rows = tuple[Codec | None, mx.array]


def encoding_source(keys: Codec | None, values: Codec | None) -> str:
    """Return the kernel's body for the sides that have a codec."""
    start = SOURCE.format(rows="value_rows" if keys is None else "key_rows")
    return start + (KEYS_SOURCE if keys else "") + (VALUES_SOURCE if values else "")


def encoding_header(
    keys: Codec | None, values: Codec | None, prelude: str, *, centred: bool
) -> str:
    """Return the kernel's functions for one prelude."""
    bits = (keys.bits if keys else 0, values.bits if values else 0)
    rules = [0 if side is None else _RULES.index(side.scale_rule) for side in (keys, values)]
    sizes = {"KEY_RULE": rules[0], "VALUE_RULE": rules[1]}
    return kernel_text(prelude, ("encode",), _either(keys, values).dim, bits, centred, sizes)


@lru_cache(maxsize=64)
def encoding_constants(keys: Codec | None, values: Codec | None) -> mx.array:
    """Return what `encode.h` finds there, float32."""
    found = [mx.zeros(8), _either(keys, values).rotation.numbers]
    for side in (keys, values):
        if side is not None:
            found += [side.centroids, side.boundaries, mx.zeros(1)]
    made = mx.concatenate(found)
    mx.eval(made)
    return made


def fused_encode(
    keys: Rows, values: Rows, centre: Centre | None
) -> tuple[Packed | None, Packed | None] | None:
    """Pack rows [B, H, N, dim] of each side that has a codec, the keys less their centre, on a GPU.

    Returns None for a dimension that the kernel is not made for.
    """
    (key_codec, key_rows), (value_codec, value_rows) = keys, values
    batch, heads, tokens, dim = key_rows.shape
    if dim not in DIMENSIONS or value_rows.shape != key_rows.shape:
        return None
    constants = encoding_constants(key_codec, value_codec)
    centred = centre is not None and key_codec is not None
    mean, direction = centre if centre is not None and centred else (constants, constants)
    prelude = kernel_launch.prelude()
    outputs = _outputs(key_codec, value_codec, (batch, heads, tokens))
    made = _kernel(key_codec, value_codec, centred, key_rows.dtype, prelude)(
        inputs=[key_rows, value_rows, mean, direction, constants],
        output_shapes=[shape for shape, _ in outputs],
        output_dtypes=[dtype for _, dtype in outputs],
        grid=(
            -(-tokens // SIMDGROUPS[prelude]) * 32 * SIMDGROUPS[prelude],
            heads,
            batch * ((key_codec is not None) + (value_codec is not None)),
        ),
        threadgroup=(32 * SIMDGROUPS[prelude], 1, 1),
    )
    packed_keys = packed_values = None
    if key_codec is not None:
        packed_keys = Packed(made[0], made[1], made[2] if centred else None)
    if value_codec is not None:
        packed_values = Packed(*made[-2:])
    return packed_keys, packed_values


def _outputs(
    keys: Codec | None, values: Codec | None, shape: tuple[int, int, int]
) -> list[tuple[tuple[int, ...], mx.Dtype]]:
    found: list[tuple[tuple[int, ...], mx.Dtype]] = []
    for side, numbers in ((keys, 2), (values, 1)):
        if side is not None:
            found.append(((*shape, words(side.dim, side.bits)), mx.uint32))
            found += [(shape, mx.float16)] * numbers
    return found


@lru_cache(maxsize=64)
def _kernel(
    keys: Codec | None,
    values: Codec | None,
    centred: bool,  # noqa: FBT001  a cache key
    dtype: mx.Dtype,
    prelude: str,
) -> kernel_launch.Kernel:
    header = encoding_header(keys, values, prelude, centred=centred)
    outputs = (OUTPUTS["key"] if keys else ()) + (OUTPUTS["value"] if values else ())
    shared = 4 * SIMDGROUPS[prelude] * _either(keys, values).dim
    texts = (header, encoding_source(keys, values))
    return kernel_launch.kernel("encode", INPUTS, outputs, texts, (dtype,), (prelude, shared))


def _either(keys: Codec | None, values: Codec | None) -> Codec:
    either = keys or values
    if either is None:
        raise ValueError("neither keys nor values have a codec")
    return either


_RULES = get_args(ScaleRule)
