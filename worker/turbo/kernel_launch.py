"""What differs from GPU to GPU at run time: the prelude, how wide the device is, MLX's launcher."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mlx.core as mx

from .kernel_source import body, kernel_name

Kernel = Callable[..., Any]

# Threadgroups of attention that an Apple GPU's core holds, of 4 simdgroups each.
_PER_CORE = 4
_MANY_HEADS = 128  # about as many as a large GPU has multiprocessors
_REGISTERS_FOR_TWO = (
    128  # coordinates of a head: longer ones leave no room for a second threadgroup
)
_APPLE_CORES = {"p": 6, "g": 16, "s": 32, "d": 64}  # by the last letter of the architecture


def prelude() -> str:
    """Name the primitives that kernels are written over on this machine."""
    return "metal" if mx.metal.is_available() else "cuda"


def simdgroups(prelude: str) -> int:
    """Choose the simdgroups of a threadgroup of attention; Metal has 32 KB to share among them."""
    return 4 if prelude == "metal" else 8


def resident(prelude: str, groups: int, dim: int) -> int:
    """Choose how many threadgroups of attention a compute unit holds, for so many key heads.

    One with all registers is as fast as two that share them, and leaves fewer spans to join. Where
    there are more heads than compute units, two end sooner than one after the other.
    """
    if prelude == "metal":
        return _PER_CORE
    return 2 if groups > _MANY_HEADS and dim <= _REGISTERS_FOR_TWO else 1


def threadgroups(resident: int) -> int:
    """Count the threadgroups of attention that the device runs at once."""
    return resident * _compute_units()


@lru_cache(maxsize=1)
def _compute_units() -> int:
    """Count the GPU's multiprocessors or cores, on Apple's by what the architecture usually has."""
    if mx.metal.is_available():
        return _APPLE_CORES.get(str(mx.device_info()["architecture"])[-1], 16)
    kernel: Any = mx.fast.cuda_kernel(
        name="turbo_compute_units",
        input_names=["nothing"],
        output_names=["count"],
        source='unsigned n; asm("mov.u32 %0, %%nsmid;" : "=r"(n)); count[0] = n;',
    )
    (count,) = kernel(
        inputs=[mx.zeros(8)],
        output_shapes=[(1,)],
        output_dtypes=[mx.uint32],
        grid=(1, 1, 1),
        threadgroup=(1, 1, 1),
    )
    return int(count.item())


def kernel(
    part: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    texts: tuple[str, str],
    types: tuple[mx.Dtype, ...],
    device: tuple[str, int],
    *,
    contiguous: bool = False,
) -> Kernel:
    """Return MLX's launcher of a kernel.

    Parameters
    ----------
    texts
        The functions that it needs, and its body.
    types
        What its name tells apart: MLX keeps compiled kernels by name.
    device
        The prelude, and the bytes of shared memory, which Metal's text declares by itself.
    contiguous
        Whether inputs that are not are copied, and no strides passed: a kernel waits for what it is
        passed, and on CUDA the strides of an array are 80 bytes.
    """
    prelude, shared = device
    header, source = texts[0], body(prelude, texts[1])
    arguments: dict[str, Any] = {
        "name": kernel_name(part, header, source, *types),
        "input_names": list(inputs),
        "output_names": list(outputs),
        "source": source,
        "header": header,
        "ensure_row_contiguous": contiguous,
    }
    made: Any
    if prelude == "metal":
        made = mx.fast.metal_kernel(**arguments)
    else:
        made = mx.fast.cuda_kernel(**arguments, shared_memory=shared)
    launcher: Kernel = made
    return launcher
