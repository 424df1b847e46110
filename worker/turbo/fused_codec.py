"""`Codec.encode` in one kernel launch: every layer packs a batch of tokens amid decoding."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_args

import mlx.core as mx

from .codec import Codec, Packed, ScaleRule
from .fused import DIMENSIONS, OPENINGS, THREADS, Variant, kernel_name
from .packing import words

INPUTS = ("vectors", "mean", "constants")
SOURCE = """
const int token = group_x * WARPS + at.warp;
const int tokens = vectors_shape[2];
if (token >= tokens) return;
const long row = (long(group_z) * vectors_shape[1] + group_y) * tokens + token;
encode(
    at, vectors + group_z * vectors_strides[0] + group_y * vectors_strides[1]
        + token * vectors_strides[2],
    mean + (group_z * vectors_shape[1] + group_y) * DIM, constants, arena, codes + row * WORDS,
    scales + row
);
"""
_VECTORS_PER_GROUP = THREADS // 32


def encoding_header(codec: Codec, prelude: str, *, centred: bool) -> str:
    """Return the kernel's functions for one prelude."""
    rule = get_args(ScaleRule).index(codec.scale_rule)
    defined = f"#define SCALE_RULE {rule}\n#define CENTRED {int(centred)}\n"
    return defined + Variant(codec.dim, codec.bits, codec.bits, 1, 1).text(prelude, ("encode",))


@lru_cache(maxsize=64)
def encoding_constants(codec: Codec) -> mx.array:
    """Return what `encode.h` finds there, float32."""
    turn = codec.rotation
    matrix = turn.signs if turn.matrix is None else turn.matrix.reshape(-1)
    found = mx.concatenate([mx.zeros(8), codec.centroids, codec.boundaries, mx.zeros(1), matrix])
    mx.eval(found)
    return found


def fused_encode(codec: Codec, vectors: mx.array, mean: mx.array | None) -> Packed | None:
    """Pack vectors [B, H, N, dim] less a mean [B, H, dim], on a GPU.

    Returns None for a dimension that the kernel is not made for.
    """
    if codec.dim not in DIMENSIONS:
        return None
    batch, heads, tokens, dim = vectors.shape
    constants = encoding_constants(codec)
    codes, scales = _kernel(codec, mean is not None)(
        inputs=[vectors, constants if mean is None else mean, constants],
        output_shapes=[(batch, heads, tokens, words(dim, codec.bits)), (batch, heads, tokens)],
        output_dtypes=[mx.uint32, mx.float16],
        grid=(-(-tokens // _VECTORS_PER_GROUP) * THREADS, heads, batch),
        threadgroup=(THREADS, 1, 1),
    )
    return Packed(codes, scales)


@lru_cache(maxsize=64)
def _kernel(codec: Codec, centred: bool) -> Callable[..., Any]:  # noqa: FBT001  a cache key
    prelude = "metal" if mx.metal.is_available() else "cuda"
    header = encoding_header(codec, prelude, centred=centred)
    source = OPENINGS[prelude] + SOURCE
    arguments: dict[str, Any] = {
        "input_names": list(INPUTS),
        "output_names": ["codes", "scales"],
        "source": source,
        "header": header,
        "ensure_row_contiguous": False,
    }

    def kernel(dtype: mx.Dtype) -> Any:
        name = kernel_name("encode", header, source, dtype)
        if prelude == "metal":
            return mx.fast.metal_kernel(name=name, **arguments)
        shared = 4 * _VECTORS_PER_GROUP * codec.dim
        return mx.fast.cuda_kernel(name=name, shared_memory=shared, **arguments)

    made: dict[mx.Dtype, Any] = {}

    def call(inputs: list[mx.array], **others: Any) -> Any:
        dtype = inputs[0].dtype
        if dtype not in made:
            made[dtype] = kernel(dtype)
        return made[dtype](inputs=inputs, **others)

    return call
