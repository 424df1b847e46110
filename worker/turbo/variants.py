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
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from .attention import portable_attention
from .conformance import SEED, TAIL
from .fused import fused_attention, runs_here
from .settings import Settings
from .store import Store
from .view import View

#: Largest difference from the portable path, of outputs near 1: half of fp16's, three of bf16's
#: coarsest steps there.
TOLERANCES = {"float16": 4e-3, "bfloat16": 2.4e-2}
TOKENS = 300  # packed, in more than one span, and a tail
HEADS = 2


@dataclass(frozen=True)
class Shape:
    """What a kernel is compiled for; ``groups`` are query heads a key head."""

    dim: int
    key_bits: int
    value_bits: int
    groups: int
    length: int = 1
    dtype: str = "float16"

    @property
    def name(self) -> str:
        bits = f"K{self.key_bits or 16}V{self.value_bits or 16}"
        return f"{bits} dim {self.dim} groups {self.groups} queries {self.length} {self.dtype}"


@dataclass(frozen=True)
class Outcome:
    """How far a kernel is from the portable path, and how long its first use took.

    ``problem`` is empty where they agree. A shape that the kernels leave to the portable path is
    not ``compared``.
    """

    name: str
    compared: bool = True
    error: float | None = None
    seconds: float = 0.0
    problem: str = ""


def compare(shape: Shape) -> Outcome:
    """Attend once on each path over the same packed cache."""
    scale = shape.dim**-0.5
    queries, view = _filled(shape)
    expected = portable_attention(queries, view, scale, "causal")
    mx.eval(expected)
    begun = time.perf_counter()
    # A kernel that does not compile is told by a warning where the portable path steps in.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = fused_attention(queries, view, scale, "causal")
            mx.eval(found)
        except RuntimeError as error:  # MLX could not compile or start it
            return Outcome(shape.name, problem=f"does not compile or start: {error}")
    seconds = time.perf_counter() - begun
    if found is None and told:
        return Outcome(shape.name, problem=f"is left alone: {told[0].message}")
    if found is None:
        return Outcome(shape.name, compared=False)
    pair = (np.array(side.astype(mx.float32)) for side in (found, expected))
    largest = float(np.abs(np.subtract(*pair)).max())
    limit = TOLERANCES[shape.dtype]
    # A NaN is not below the limit.
    wrong = "" if largest < limit else f"differs by {largest:.3g}, allowed is {limit:g}"
    known = largest if math.isfinite(largest) else None
    return Outcome(shape.name, error=known, seconds=seconds, problem=wrong)


def _filled(shape: Shape) -> tuple[mx.array, View]:
    """Return queries and a cache of random keys, which are not centred, and values."""
    dtype = getattr(mx, shape.dtype)
    keys = (mx.random.normal((1, HEADS, TOKENS, shape.dim), key=mx.random.key(1)) + 0.5).astype(
        dtype
    )
    values = mx.random.normal(keys.shape, key=mx.random.key(2)).astype(dtype)
    many = (1, HEADS * shape.groups, shape.length, shape.dim)
    queries = mx.random.normal(many, key=mx.random.key(3)).astype(dtype)
    settings = Settings(
        key_bits=shape.key_bits, value_bits=shape.value_bits, seed=SEED, tail_tokens=TAIL
    )
    store = Store(settings)
    old = TOKENS - shape.length
    store.append(keys[:, :, :old], values[:, :, :old])
    return queries, store.append(keys[:, :, old:], values[:, :, old:])


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
