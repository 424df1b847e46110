"""Attention of 1 to 8 query tokens over a packed cache, in two kernel launches on a GPU.

The first launch splits the tokens into spans, one threadgroup each; the second joins the spans and
rotates the sums of values back. The kernels are in `kernels/`: one body, written over the
primitives of a prelude (Metal, CUDA, or the host, where the tests run it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import mlx.core as mx

from .codec import Codec
from .view import View

LONGEST_QUERY = 8
THREADS = 128
RAW_SPAN = 128  # tokens: one tile for each simdgroup
MOST_SPANS = 256
MOST_RAW = 8 * RAW_SPAN
_THREADGROUPS = 264  # enough to fill a large GPU twice
_SMALLEST_SPAN = 128
_THREADGROUP = (THREADS, 1, 1)
_FLOATS = [mx.float32]
_PAIRED_BITS = 4  # up to here one look-up gives two levels
DIMENSIONS = (64, 80, 96, 112, 128, 160, 192, 256)

ATTEND_INPUTS = (
    "queries",
    "key_codes",
    "key_scales",
    "key_raw",
    "value_codes",
    "value_scales",
    "value_raw",
    "mean",
    "constants",
    "lengths",
)
MERGE_INPUTS = ("partial", "constants", "lengths")

# Where a thread stands, and the memory it shares: MLX looks for Metal's names in a kernel's source
# and declares those it finds.
OPENINGS = {
    "metal": """
const Place at = {int(thread_position_in_threadgroup.x), int(thread_index_in_simdgroup),
                  int(simdgroup_index_in_threadgroup)};
const int group_x = threadgroup_position_in_grid.x, spans = threadgroups_per_grid.x;
const int group_y = threadgroup_position_in_grid.y, group_z = threadgroup_position_in_grid.z;
const int heads = threadgroups_per_grid.y / ROW_BLOCKS;
threadgroup float arena[ARENA];
""",
    "cuda": """
const Place at = {int(threadIdx.x), int(lane_index()), int(threadIdx.x / 32)};
const int group_x = blockIdx.x, spans = gridDim.x, group_y = blockIdx.y, group_z = blockIdx.z;
const int heads = gridDim.y / ROW_BLOCKS;
extern __shared__ float4 shared[];
float* arena = reinterpret_cast<float*>(shared);
""",
    "host": """
const Place at = {index, index % 32, index / 32};
const int group_x = group[0], spans = grid[0], group_y = group[1], group_z = group[2];
const int heads = grid[1] / ROW_BLOCKS;
""",
}
ATTEND_SOURCE = """
const int head = group_y / ROW_BLOCKS;
attend_group(
    at, group_x, spans, head, heads, group_y % ROW_BLOCKS, group_z, queries, queries_strides,
    side(group_z, head, key_codes, key_codes_strides, key_scales, key_scales_strides, key_raw,
         key_raw_strides, KEY_BITS > 0),
    side(group_z, head, value_codes, value_codes_strides, value_scales, value_scales_strides,
         value_raw, value_raw_strides, VALUE_BITS > 0),
    mean + (group_z * heads + head) * DIM, constants, lengths_shape, arena, partial
);
"""
MERGE_SOURCE = """
const int packed_spans = (lengths_shape[0] - 8 + lengths_shape[3] - 1) / lengths_shape[3];
merge(
    at, packed_spans, partial_shape[1], partial + long(group_x) * partial_shape[1] * SPAN_FLOATS,
    constants, arena, out + long(group_x) * DIM
);
"""


@dataclass(frozen=True)
class Variant:
    """What the kernels are compiled for; no length of a cache is among it."""

    dim: int
    key_bits: int
    value_bits: int
    groups: int
    length: int

    @property
    def hadamard(self) -> bool:
        return self.dim & (self.dim - 1) == 0

    @property
    def row_blocks(self) -> int:
        """Count the threadgroups that share out the query rows of one key head."""
        rows = self.groups * self.length
        return -(-rows // min(rows, 8))

    def header(self, prelude: str, products: str | None) -> str:
        """Return the functions of the first launch, by `lanes` or `matrix`, or of the second."""
        return self.text(prelude, (products, "attention") if products else ("merge",))

    def text(self, prelude: str, files: tuple[str, ...]) -> str:
        """Return some files of `kernels/` over a prelude, with what they all need.

        CUDA's run-time compiler reads files. MLX copies a kernel's text at every call, and for the
        tens of kilobytes that they hold the time of it shows in decoding.
        """
        read = _include if prelude == "cuda" else _text
        constants = {
            "DIM": self.dim,
            "KEY_BITS": self.key_bits,
            "VALUE_BITS": self.value_bits,
            "GROUPS": self.groups,
            "LENGTH": self.length,
            "HADAMARD": int(self.hadamard),
        }
        defined = "".join(f"#define {name} {value}\n" for name, value in constants.items())
        return defined + "".join(map(read, (prelude, "tokens", "rotation", *files)))

    def arena_bytes(self, products: str | None) -> int:
        """Count a threadgroup's shared memory; the layouts are in `attention.h` and `merge.h`."""
        if products is None:
            return 4 * (MOST_SPANS + 8 * self.dim)
        weights, tables = 8 * 32, (1 << self.key_bits) + (1 << self.value_bits)
        if products == "matrix":
            sides = {self.key_bits, self.value_bits} - {0}
            weights = 8 * 20
            tables = sum(32 << (2 * bits if bits <= _PAIRED_BITS else bits) for bits in sides)
        tiles = 4 * (8 * 36 + 2 * 32 + weights)
        return 4 * (8 * self.dim + tiles + 64 + tables)


_KERNELS = Path(__file__).resolve().parent / "kernels"


@lru_cache(maxsize=16)
def _text(name: str) -> str:
    return (_KERNELS / f"{name}.h").read_text()


def _include(name: str) -> str:
    return f'#include "{_KERNELS / name}.h"\n'


def kernel_name(part: str, header: str, source: str, *dtypes: mx.Dtype) -> str:
    """Return a name that differs wherever the code does: MLX keeps compiled kernels by name."""
    digest = hashlib.sha256((header + source).encode())
    for path in sorted(_KERNELS.iterdir()):
        digest.update(path.read_bytes())
    types = "_".join(str(dtype).rpartition(".")[2] for dtype in dtypes)
    return f"turbo_{part}_{types}_{digest.hexdigest()[:12]}"


def runs_here() -> bool:
    """Tell whether the default device is one that the kernels run on."""
    return mx.default_device().type == mx.DeviceType.gpu


_state = {"enabled": True}


def enabled() -> bool:
    """Tell whether the kernels are to be used: there is a GPU, and nobody found them wrong."""
    return _state["enabled"] and runs_here()


def enable(*, kernels: bool) -> None:
    """Use the kernels, for attention and for encoding, or leave them alone, in this process."""
    _state["enabled"] = kernels


class Plan:
    """The two kernels for one variant and dtype, with everything that no length changes.

    Python's own time counts here, at some microseconds a layer: what the layers of one token share
    is made by the first of them.
    """

    def __init__(self, queries: mx.array, view: View, scale: float) -> None:
        batch, query_heads, length, dim = queries.shape
        keys, values = view.keys.codec, view.values.codec
        heads = view.keys.raw.shape[1]
        bits = [0 if side is None else side.bits for side in (keys, values)]
        variant = Variant(dim, bits[0], bits[1], query_heads // heads, length)
        raw = view.keys.raw.dtype
        products = "lanes" if mx.metal.is_available() or raw == mx.float32 else "matrix"
        self._attend, self._merge = _kernels(variant, products, queries.dtype, raw)
        self._codecs = (keys, values)  # alive, for the plan is found by their ids
        self._constants = constants(keys, values, scale)
        self._no_mean = mx.zeros((batch, heads, dim))
        self._nothing = (mx.zeros(8, dtype=mx.uint32), mx.zeros(8, dtype=mx.float16))
        spans = _THREADGROUPS // (batch * heads * variant.row_blocks)
        self._most_spans = min(max(spans, 1), MOST_SPANS - 8)
        self._rows, self._row_floats = batch * query_heads * length, dim + 4
        self._groups = (heads * variant.row_blocks, batch)
        self._outputs = ([queries.shape], [queries.dtype])
        self._merge_grid = (self._rows * THREADS, 1, 1)
        self._lengths: tuple[int, int, int] | None = None
        self._shape: mx.array
        self._partial: list[tuple[int, int, int]]
        self._grid: tuple[int, int, int]

    def __call__(self, queries: mx.array, view: View) -> mx.array:
        """Attend with queries [B, Hq, L, dim]."""
        keys, values = view.keys, view.values
        lengths = (view.packed_length, view.first_length, view.tail_length)
        if lengths != self._lengths:
            self._measure(*lengths)
        (partial,) = self._attend(
            inputs=[
                queries,
                *(keys.packed or self._nothing),
                keys.raw,
                *(values.packed or self._nothing),
                values.raw,
                self._no_mean if view.centre is None else view.centre.mean,
                self._constants,
                self._shape,
            ],
            output_shapes=self._partial,
            output_dtypes=_FLOATS,
            grid=self._grid,
            threadgroup=_THREADGROUP,
        )
        (out,) = self._merge(
            inputs=[partial, self._constants, self._shape],
            output_shapes=self._outputs[0],
            output_dtypes=self._outputs[1],
            grid=self._merge_grid,
            threadgroup=_THREADGROUP,
        )
        result: mx.array = out
        return result

    def _measure(self, packed: int, first: int, tail: int) -> None:
        span = max(-(-packed // (self._most_spans * 128)) * 128, _SMALLEST_SPAN)
        spans = -(-packed // span) - (-(first + tail) // RAW_SPAN)
        self._shape = shape_of_lengths(packed, first, first + tail, span)
        self._partial = [(self._rows, spans, self._row_floats)]
        self._grid = (spans * THREADS, *self._groups)
        self._lengths = (packed, first, tail)


def constants(keys: Codec | None, values: Codec | None, scale: float) -> mx.array:
    """Return what `tokens.h` finds there: scale, key levels, value levels, rotation; float32."""
    either = keys or values
    if either is None:
        raise ValueError("neither keys nor values are packed")
    rotation = either.rotation
    turn = rotation.signs if rotation.matrix is None else rotation.matrix.reshape(-1)
    levels = [mx.zeros(1) if side is None else side.centroids for side in (keys, values)]
    head = mx.concatenate([mx.array([scale * 1.4426950408889634]), mx.zeros(7)])
    found = mx.concatenate([head, *levels, turn])
    mx.eval(found)
    return found


@lru_cache(maxsize=8)
def shape_of_lengths(packed: int, first: int, raw: int, span: int) -> mx.array:
    """Return an array of the shape that tells the kernels these lengths; it holds one number."""
    return mx.broadcast_to(mx.zeros(1), (packed + 8, first + 1, raw + 1, span))


@lru_cache(maxsize=64)
def _kernels(
    variant: Variant, products: str, dtype: mx.Dtype, raw: mx.Dtype
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    prelude = "metal" if mx.metal.is_available() else "cuda"

    def kernel(
        inputs: tuple[str, ...], output: str, source: str, part: str | None
    ) -> Callable[..., Any]:
        header, source = variant.header(prelude, part), OPENINGS[prelude] + source
        arguments: dict[str, Any] = {
            "name": kernel_name(output, header, source, dtype, raw),
            "input_names": list(inputs),
            "output_names": [output],
            "source": source,
            "header": header,
            "ensure_row_contiguous": False,
        }
        if prelude == "metal":
            made: Any = mx.fast.metal_kernel(**arguments)
        else:
            made = mx.fast.cuda_kernel(**arguments, shared_memory=variant.arena_bytes(part))
        compiled: Callable[..., Any] = made
        return compiled

    return (
        kernel(ATTEND_INPUTS, "partial", ATTEND_SOURCE, products),
        kernel(MERGE_INPUTS, "out", MERGE_SOURCE, None),
    )


_plans: dict[tuple[object, ...], Plan] = {}


def fused_attention(
    queries: mx.array, view: View, scale: float, mask: mx.array | str | None
) -> mx.array | None:
    """Attend with queries [B, Hq, L, dim] that are the newest tokens of a view.

    Returns None where the kernels cannot do it; the portable path can.
    """
    length = queries.shape[2]
    raw = view.first_length + view.tail_length
    if length > LONGEST_QUERY or not length <= raw <= MOST_RAW:
        return None
    if not (isinstance(mask, str) or (mask is None and length == 1)):
        return None
    keys = view.keys
    key = (
        id(keys.codec),
        id(view.values.codec),
        *queries.shape,
        keys.raw.shape[1],
        queries.dtype,
        keys.raw.dtype,
        scale,
    )
    plan = _plans.get(key)
    if plan is None:
        if queries.shape[3] not in DIMENSIONS or view.values.raw.shape[3] != queries.shape[3]:
            return None
        plan = _plans[key] = Plan(queries, view, scale)
    return plan(queries, view)
