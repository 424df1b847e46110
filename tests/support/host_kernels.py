"""The GPU's kernels compiled by the host's C++ compiler and run thread by thread.

`on_host` puts the host in the place of MLX's launcher, so what runs is all of the package: plans,
grids, shapes, the text itself, over the host's own prelude or over Metal's with `metal_shim.h`.
"""

import ctypes
import shutil
import subprocess
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from unittest import mock

import mlx.core as mx
import numpy as np

from kept import kept
from worker.turbo import fused, fused_codec, fused_decode, kernel_launch
from worker.turbo.kernel_source import body

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
    mx.int32: "int",
}
OPTIONS = (
    *("-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Werror"),
    *("-Wno-unknown-pragmas", "-Wno-unused-variable", "-Wno-unused-function"),
    "-Wno-maybe-uninitialized",
)
_TRANSPOSED = {"queries": (0, 2, 1, 3)}  # in memory, as models hand them over


def compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


@contextmanager
def on_host(prelude: str = "host", threadgroups: int = 24):
    """Run the kernels here, on a device of so many threadgroups at once."""
    with (
        mock.patch.object(kernel_launch, "prelude", return_value=prelude),
        mock.patch.object(kernel_launch, "threadgroups", return_value=threadgroups),
        mock.patch.object(kernel_launch, "kernel", HostKernel),
        mock.patch.object(fused, "_COUNTERS", 2),
    ):
        _forget()
        yield
    _forget()


def _forget() -> None:
    vars(fused._local).clear()
    for made in (fused._kernels, fused_codec._kernel, fused_decode._kernel):
        made.cache_clear()


class HostKernel:
    """What `mx.fast.metal_kernel` returns, on the host."""

    def __init__(self, part, inputs, outputs, texts, types, device) -> None:
        self._names, self._texts = (inputs, outputs), texts
        self._prelude, self._shared = device

    def __call__(self, *, inputs, output_shapes, output_dtypes, grid, threadgroup):
        names = self._names[0]
        held = [_held(name, array) for name, array in zip(names, inputs, strict=True)]
        made = [_poisoned(*out) for out in zip(output_shapes, output_dtypes, strict=True)]
        threads = threadgroup[0]
        assert grid[0] % threads == 0
        types = tuple(_TYPES[x.dtype] for x in inputs), tuple(_TYPES[x] for x in output_dtypes)
        text = _source(self._names, types, self._texts, self._prelude, self._shared)
        _compiled(text).start(
            _pointers(array for array, _ in held),
            _pointers(strides for _, strides in held),
            _pointers([np.array(x.shape, np.int32) for x in inputs]),
            _pointers(made),
            np.array([grid[0] // threads, *grid[1:]], np.int32).ctypes.data_as(ctypes.c_void_p),
        )
        return [mx.array(x).view(dtype) for x, dtype in zip(made, output_dtypes, strict=True)]


def _held(name: str, array: mx.array) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of an array and its strides in elements."""
    if name == "lengths":  # only its shape counts
        return np.zeros(1, np.float32), np.zeros(4, np.int64)
    order = _TRANSPOSED.get(name)
    size = {2: mx.uint16, 4: mx.uint32}[array.dtype.size]
    whole = np.array((array if order is None else array.transpose(order)).view(size))
    held = np.ascontiguousarray(whole)
    strides = np.array([s // held.itemsize for s in held.strides], np.int64)
    return held, strides if order is None else strides[np.argsort(order)]


def _poisoned(shape, dtype: mx.Dtype) -> np.ndarray:
    """Return memory that is not a number: what a kernel leaves out shows."""
    return np.full(shape, 0x7FFF if dtype.size == 2 else 0x7FFFFFFF, f"u{dtype.size}")


_alive: list[list[np.ndarray]] = []


def _pointers(arrays) -> ctypes.Array:
    found = list(arrays)
    _alive[:] = [*_alive[-8:], found]
    return (ctypes.c_void_p * len(found))(*(x.ctypes.data for x in found))


@lru_cache(maxsize=256)
def _compiled(text: str) -> ctypes.CDLL:
    made_of = "\0".join([_version(), *OPTIONS, text]).encode()
    return ctypes.CDLL(str(kept("kernel.so", made_of, partial(_compile, text))))


@lru_cache
def _version() -> str:
    command = [str(compiler()), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _compile(text: str, library: Path) -> None:
    command = [str(compiler()), *OPTIONS, "-x", "c++", "-", "-o", str(library)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:6000]


def _source(names, types, texts, prelude: str, shared: int) -> str:
    inputs = "".join(
        f"const {type_}* {name} = (const {type_}*)inputs[{i}];\n"
        f"const long* {name}_strides = strides[{i}];\nconst int* {name}_shape = shapes[{i}];\n"
        for i, (name, type_) in enumerate(zip(names[0], types[0], strict=True))
    )
    outputs = "".join(
        f"{type_}* {name} = ({type_}*)outputs[{i}];\n"
        for i, (name, type_) in enumerate(zip(names[1], types[1], strict=True))
    )
    shim = (_HERE / "metal_shim.h").read_text() if prelude == "metal" else ""
    counted = f'static_assert(ARENA * 4 == {shared}, "bytes of shared memory");' if shared else ""
    return f"""{(KERNELS / "coroutines.h").read_text()}
{shim}
{texts[0]}
{counted}
extern "C" void start(
    const void** inputs, const long** strides, const int** shapes, void** outputs, const int* grid
) {{
    {inputs}{outputs}
    static Threadgroup workers(THREADS);
    std::vector<float> room(ARENA);
    float* const arena = room.data();
    int group[3];
    for (group[2] = 0; group[2] < grid[2]; group[2]++)
        for (group[1] = 0; group[1] < grid[1]; group[1]++)
            for (group[0] = 0; group[0] < grid[0]; group[0]++) {{
                std::fill(room.begin(), room.end(), NAN);
                workers.run([&](int index) {{
                    {_body(prelude, texts[1])}
                }});
            }}
}}
"""


def _body(prelude: str, source: str) -> str:
    text = body(prelude, source).replace("threadgroup float arena[ARENA];", "")
    return _METAL_ATTRIBUTES + text if prelude == "metal" else text
