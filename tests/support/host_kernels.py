"""The fused kernels compiled by the host's C++ compiler and run on a view, thread by thread."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import mlx.core as mx
import numpy as np

from worker.turbo import fused, fused_codec
from worker.turbo.codec import Codec, Packed
from worker.turbo.packing import words
from worker.turbo.view import View

KERNELS = Path(fused.__file__).parent / "kernels"
_HERE = Path(__file__).parent
_METAL_ATTRIBUTES = """
const uint3 thread_position_in_threadgroup = {uint(index), 0, 0};
const uint thread_index_in_simdgroup = index % 32, simdgroup_index_in_threadgroup = index / 32;
const uint3 threadgroup_position_in_grid = {uint(group[0]), uint(group[1]), uint(group[2])};
const uint3 threadgroups_per_grid = {uint(grid[0]), uint(grid[1]), uint(grid[2])};
"""
_TYPES = {
    mx.float16: "half",
    mx.bfloat16: "bfloat",
    mx.float32: "float",
    mx.uint32: "uint",
}


def compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


def host_attention(
    queries: mx.array, view: View, scale: float, products: str, prelude: str = "host"
) -> mx.array:
    """Run both launches as `fused.Plan` does on a GPU; returns the output in their dtype."""
    batch, query_heads, length, dim = queries.shape
    heads = view.shape[1]
    codecs = (view.keys.codec, view.values.codec)
    bits = [0 if codec is None else codec.bits for codec in codecs]
    variant = fused.Variant(dim, *bits, query_heads // heads, length)
    inputs, span, spans = _inputs(queries, view, scale)
    library = _library(variant, products, prelude, _TYPES[queries.dtype], _TYPES[view.dtype])
    rows = batch * query_heads * length
    partial = np.full((rows, spans, dim + 4), np.nan, np.float32)
    out = np.full(queries.shape, 0x7FFF, np.uint32 if queries.dtype == mx.float32 else np.uint16)
    shape = _ints(view.packed_length + 8, view.first_length + 1, _raw(view) + 1, span)
    grid = _ints(spans, heads * variant.row_blocks, batch)
    library.attend(
        _pointers(array.ctypes.data for array, _ in inputs),
        _pointers(strides.ctypes.data for _, strides in inputs),
        shape.ctypes.data_as(ctypes.c_void_p),
        grid.ctypes.data_as(ctypes.c_void_p),
        partial.ctypes.data_as(ctypes.c_void_p),
    )
    library.merge(
        partial.ctypes.data_as(ctypes.c_void_p),
        _ints(*partial.shape).ctypes.data_as(ctypes.c_void_p),
        inputs[-1][0].ctypes.data_as(ctypes.c_void_p),
        shape.ctypes.data_as(ctypes.c_void_p),
        _ints(rows, 1, 1).ctypes.data_as(ctypes.c_void_p),
        out.ctypes.data_as(ctypes.c_void_p),
    )
    return mx.array(out).view(queries.dtype)


def host_encode(
    codec: Codec, vectors: mx.array, mean: mx.array | None, prelude: str = "host"
) -> Packed:
    """Run `encode.h` as `fused_codec.fused_encode` does on a GPU."""
    batch, heads, tokens, dim = vectors.shape
    held, strides = _host(vectors)
    constants = np.array(fused_codec.encoding_constants(codec))
    centre = np.zeros(8, np.float32) if mean is None else np.array(mean)
    codes = np.zeros((batch, heads, tokens, words(dim, codec.bits)), np.uint32)
    scales = np.zeros((batch, heads, tokens), np.uint16)
    shape, grid = _ints(*vectors.shape), _ints(-(-tokens // 4), heads, batch)
    source = _encode_source(codec, prelude, _TYPES[vectors.dtype], centred=mean is not None)
    _compiled(source).encode(
        *(
            array.ctypes.data_as(ctypes.c_void_p)
            for array in (held, strides, shape, centre, constants, grid, codes, scales)
        )
    )
    return Packed(mx.array(codes), mx.array(scales).view(mx.float16))


def _raw(view: View) -> int:
    return view.first_length + view.tail_length


def _inputs(
    queries: mx.array, view: View, scale: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int, int]:
    span = 256 if view.packed_length > 300 else 128
    spans = -(-view.packed_length // span) - (-_raw(view) // fused.RAW_SPAN)
    none = (mx.zeros(8, dtype=mx.uint32), mx.zeros(8, dtype=mx.float16))
    mean = mx.zeros((*view.shape[:2], view.shape[3])) if view.mean is None else view.mean
    arrays = [
        queries,
        *(view.keys.packed or none),
        view.keys.raw,
        *(view.values.packed or none),
        view.values.raw,
        mean,
        fused.constants(view.keys.codec, view.values.codec, scale),
    ]
    return [_host(array) for array in arrays], span, spans


def _host(array: mx.array) -> tuple[np.ndarray, np.ndarray]:
    size = {2: mx.uint16, 4: mx.uint32}[array.dtype.size]
    held = np.ascontiguousarray(np.array(array.view(size)))
    return held, np.array([s // array.dtype.size for s in held.strides], np.int64)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def _pointers(addresses) -> ctypes.Array:
    found = list(addresses)
    return (ctypes.c_void_p * len(found))(*found)


@lru_cache(maxsize=256)
def _library(
    variant: fused.Variant, products: str, prelude: str, query_type: str, raw_type: str
) -> ctypes.CDLL:
    return _compiled(_source(variant, products, prelude, query_type, raw_type))


@lru_cache(maxsize=256)
def _compiled(text: str) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        source.write_text(text)
        command = [compiler(), "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Werror"]
        command += ["-Wno-unknown-pragmas", "-Wno-unused-variable", "-Wno-unused-function"]
        done = subprocess.run(
            [*command, str(source), "-o", str(library)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[:4000]
        return ctypes.CDLL(str(library))


def _source(
    variant: fused.Variant, products: str, prelude: str, query_type: str, raw_type: str
) -> str:
    types = [query_type, "uint", "half", raw_type, "uint", "half", raw_type, "float", "float"]
    names = fused.ATTEND_INPUTS[:-1]
    unpack = "".join(
        f"    const {type_}* {name} = (const {type_}*)inputs[{i}];\n"
        f"    const long* {name}_strides = strides[{i}]; (void){name}_strides;\n"
        for i, (name, type_) in enumerate(zip(names, types, strict=True))
    )
    opening = _opening(prelude)
    first, second = (variant.header(prelude, part) for part in (products, None))
    return f"""{_prologue(prelude)}
namespace first_launch {{
{first}
static_assert(ARENA * 4 == {variant.arena_bytes(products)}, "Variant.arena_bytes");
extern "C" void attend(
    const void** inputs, const long** strides, const int* lengths_shape, const int* grid,
    float* partial
) {{
{unpack}
    launch(grid, ARENA, [&](const int* group, float* arena, int index) {{
        {opening}{fused.ATTEND_SOURCE}
    }});
}}
}}
namespace second_launch {{
{second}
static_assert(ARENA * 4 == {variant.arena_bytes(None)}, "Variant.arena_bytes");
extern "C" void merge(
    const float* partial, const int* partial_shape, const float* constants,
    const int* lengths_shape, const int* grid, {query_type}* out
) {{
    launch(grid, ARENA, [&](const int* group, float* arena, int index) {{
        {opening}{fused.MERGE_SOURCE}
    }});
}}
}}
"""


def _encode_source(codec: Codec, prelude: str, type_: str, *, centred: bool) -> str:
    return f"""{_prologue(prelude)}
{fused_codec.encoding_header(codec, prelude, centred=centred)}
extern "C" void encode(
    const {type_}* vectors, const long* vectors_strides, const int* vectors_shape,
    const float* mean, const float* constants, const int* grid, uint* codes, half* scales
) {{
    launch(grid, ARENA, [&](const int* group, float* arena, int index) {{
        {_opening(prelude)}{fused_codec.SOURCE}
    }});
}}
"""


def _opening(prelude: str) -> str:
    opening = fused.OPENINGS[prelude].replace("threadgroup float arena[ARENA];", "")
    return _METAL_ATTRIBUTES + opening if prelude == "metal" else opening


def _prologue(prelude: str) -> str:
    shim = (_HERE / "metal_shim.h").read_text() if prelude == "metal" else ""
    return f"""{(KERNELS / "coroutines.h").read_text()}
{shim}
static void launch(
    const int* grid, int floats, std::function<void(const int*, float*, int)> body
) {{
    static Threadgroup workers({fused.THREADS});
    std::vector<float> arena(floats, NAN);
    int group[3];
    for (group[2] = 0; group[2] < grid[2]; group[2]++)
        for (group[1] = 0; group[1] < grid[1]; group[1]++)
            for (group[0] = 0; group[0] < grid[0]; group[0]++)
                workers.run([&](int index) {{ body(group, arena.data(), index); }});
}}
"""
