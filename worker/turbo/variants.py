"""Compile the kernels for given shapes and compare each with the portable path on this device.

``python -m worker.turbo.variants`` reads a JSON list of shapes on standard input and prints a list
of outcomes. Golden vectors cover few shapes; a model's own may be compiled for the first time here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from .attention import portable_attention
from .conformance import SEED, TAIL
from .fused import enable, fused_attention, runs_here
from .prompt import prompt_attention
from .settings import Settings
from .store import Store
from .view import View

#: Largest difference of outputs near 1, in some of the dtype's steps there; of codes, the share
#: that may lie on the other side of a boundary.
LIMITS = {
    ("decode", "float16"): 4e-3,
    ("decode", "bfloat16"): 2.4e-2,
    ("prompt", "float16"): 8e-3,
    ("prompt", "bfloat16"): 4.8e-2,
    ("encode", "float16"): 1e-3,
    ("encode", "bfloat16"): 1e-3,
}
TOKENS = 300  # packed, in more than one span, and a tail
MANY = 24  # queries of a prompt's end
HEADS = 2


@dataclass(frozen=True)
class Shape:
    """What a kernel is compiled for; ``groups`` are query heads a key head.

    ``part`` is what it does: ``decode`` attends with a token, ``prompt`` with many, ``encode``
    packs keys and values.
    """

    dim: int
    key_bits: int
    value_bits: int
    groups: int = 1
    dtype: str = "float16"
    part: str = "decode"

    @property
    def name(self) -> str:
        bits = f"K{self.key_bits or 16}V{self.value_bits or 16}"
        return f"{self.part} {bits} dim {self.dim} groups {self.groups} {self.dtype}"


@dataclass(frozen=True)
class Outcome:
    """How far a kernel is from the portable path, and how long its first use took.

    ``problem`` is empty where they agree. A shape that the kernels leave to the portable path is
    not ``compared``. The error of packing is the share of codes that differ.
    """

    name: str
    compared: bool = True
    error: float | None = None
    seconds: float = 0.0
    problem: str = ""


def compare(shape: Shape) -> Outcome:
    """Do a shape's work on the portable path, then by its kernel, over the same tokens."""
    work, limit = WORK[shape.part], LIMITS[shape.part, shape.dtype]
    expected = work(shape, kernels=False)
    begun = time.perf_counter()
    # A kernel that does not compile is told by a warning where the portable path steps in.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = work(shape, kernels=True)
        except RuntimeError as error:  # MLX could not compile or start it
            return Outcome(shape.name, problem=f"does not compile or start: {error}")
    seconds = time.perf_counter() - begun
    if told:
        return Outcome(shape.name, problem=f"is left alone: {told[0].message}")
    if found is None or expected is None:
        return Outcome(shape.name, compared=False)
    far = _difference(shape, expected, found)
    # A NaN is not below the limit.
    wrong = "" if far < limit else f"differs by {far:.3g}, allowed is {limit:g}"
    known = far if math.isfinite(far) else None
    return Outcome(shape.name, error=known, seconds=seconds, problem=wrong)


def _difference(shape: Shape, expected: mx.array, found: mx.array) -> float:
    if shape.part == "encode":
        return float(np.mean(np.array(found) != np.array(expected)))
    pair = (np.array(side.astype(mx.float32)) for side in (found, expected))
    return float(np.abs(np.subtract(*pair)).max())


def _decode(shape: Shape, *, kernels: bool) -> mx.array | None:
    attention = fused_attention if kernels else portable_attention
    # What is attended to is packed by the portable path for both.
    view = _filled(shape, 1, kernels=False)
    return _evaluated(attention(_queries(shape, 1), view, shape.dim**-0.5, "causal"))


def _prompt(shape: Shape, *, kernels: bool) -> mx.array | None:
    view = _filled(shape, MANY, kernels=False)
    enable(kernels=kernels)
    return _evaluated(prompt_attention(_queries(shape, MANY), view, shape.dim**-0.5, "causal"))


def _encode(shape: Shape, *, kernels: bool) -> mx.array | None:
    view = _filled(shape, 1, kernels=kernels)
    packed = [side.packed.codes for side in (view.keys, view.values) if side.packed]
    held = [codes[:, :, : view.packed_length].flatten() for codes in packed]
    return _evaluated(mx.concatenate(held))


WORK: dict[str, Callable[..., mx.array | None]] = {
    "decode": _decode,
    "prompt": _prompt,
    "encode": _encode,
}


def _evaluated(found: mx.array | None) -> mx.array | None:
    if found is not None:
        mx.eval(found)
    return found


def _queries(shape: Shape, length: int) -> mx.array:
    many = (1, HEADS * shape.groups, length, shape.dim)
    return mx.random.normal(many, key=mx.random.key(3)).astype(getattr(mx, shape.dtype))


def _filled(shape: Shape, length: int, *, kernels: bool) -> View:
    """Return a cache of random keys, which are not centred, and values; the last ones ask."""
    enable(kernels=kernels)
    dtype, size = getattr(mx, shape.dtype), (1, HEADS, TOKENS, shape.dim)
    keys = (mx.random.normal(size, key=mx.random.key(1)) + 0.5).astype(dtype)
    values = mx.random.normal(size, key=mx.random.key(2)).astype(dtype)
    settings = Settings(
        key_bits=shape.key_bits, value_bits=shape.value_bits, seed=SEED, tail_tokens=TAIL
    )
    store = Store(settings)
    old = TOKENS - length
    store.append(keys[:, :, :old], values[:, :, :old])
    view = store.append(keys[:, :, old:], values[:, :, old:])
    mx.eval(store.arrays)
    return view


def compare_all(shapes: list[Shape], seconds: float) -> list[Outcome]:
    """Compare shape after shape, for at most about so many seconds; none without a GPU."""
    if not runs_here():
        return []
    end = time.monotonic() + seconds
    return [
        compare(shape)
        if time.monotonic() < end
        else Outcome(shape.name, problem=f"not done within {seconds:g} s")
        for shape in shapes
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.turbo.variants", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    shapes = [Shape(**given) for given in json.load(sys.stdin)]
    outcomes = compare_all(shapes, seconds)
    sys.stdout.write(json.dumps([dataclasses.asdict(one) for one in outcomes]) + "\n")


if __name__ == "__main__":
    main()
