"""Does this device compute what every device has to? Golden vectors decide.

The packed codes must agree bit for bit, decoded norms and attention within a tolerance. A device
that fails a kernel falls back to the portable path; one that fails the codec or the portable path
gets no cache of the dimensions concerned. `bench/golden.py` wrote the vectors, in float64 and
without MLX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mlx.core as mx
import numpy as np

from .attention import portable_attention
from .codec import codec
from .fused import enable, fused_attention, runs_here
from .prompt import Mask, prompt_attention
from .rotation import rotation
from .settings import KEY_SCALE, Settings
from .store import Store
from .view import View

GOLDEN = Path(__file__).parent / "golden" / "golden.npz"
SEED, TAIL, FIRST = 42, 32, 4
CODEC_CASES = [(dim, bits) for dim in (64, 80, 128, 256) for bits in (2, 3, 4, 6, 8)]
TOLERANCE = 4e-3  # of outputs near 1: fp16 queries and scales, a coordinate on a boundary


@dataclass(frozen=True)
class AttentionCase:
    """A cache of tokens that were read at once but for the last ``length``, which then ask."""

    dim: int
    key_bits: int
    value_bits: int
    tokens: int
    length: int

    @property
    def name(self) -> str:
        return f"attention/{self.dim}/{self.key_bits}/{self.value_bits}/{self.length}"


ATTENTION_CASES = [
    AttentionCase(64, 4, 4, 120, 1),
    AttentionCase(128, 8, 4, 80, 4),
    AttentionCase(80, 3, 2, 80, 1),
    AttentionCase(128, 0, 4, 80, 1),
]


class ConformanceError(RuntimeError):
    """The device does not compute the codec or the portable attention as it must."""


@dataclass(frozen=True)
class Report:
    """What failed, by its name in the golden file, and the largest error of attention by path.

    After a ``fatal`` failure no figure of a model of such ``dimensions`` means anything on this
    device; kernels that fail can be left alone.
    """

    codec_failures: tuple[str, ...]
    attention_failures: tuple[str, ...]
    largest_error: dict[str, float]
    fatal: tuple[str, ...]
    dimensions: tuple[int, ...]

    def concerns(self, dim: int) -> bool:
        """Tell whether a fatal failure says something of vectors of this dimension.

        A dimension without golden vectors goes with those that are rotated in the same way.
        """
        if dim in {tried for tried, _ in CODEC_CASES}:
            return dim in self.dimensions
        return any(_is_dense(dim) == _is_dense(failed) for failed in self.dimensions)

    @property
    def passed(self) -> bool:
        return not self.codec_failures and not self.attention_failures


def _is_dense(dim: int) -> bool:
    return rotation(dim, SEED).matrix is not None


_Attention = Callable[[mx.array, View, float, Mask], mx.array | None]
_Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Way:
    """A way of attention, with or without kernels of our own."""

    name: str
    attention: _Attention
    kernels: bool


NEEDED = (
    _Way("portable", portable_attention, kernels=False),
    _Way("prompt", prompt_attention, kernels=False),
)
KERNELS = (
    _Way("fused", fused_attention, kernels=True),
    _Way("fused prompt", prompt_attention, kernels=True),
)


def check(path: Path = GOLDEN) -> Report:
    """Compare the default device with the golden vectors, on each way of attention that it has."""
    with np.load(path) as golden:
        arrays = {name: golden[name] for name in golden.files}
    wrong = [f"codec/{dim}/{bits}" for dim, bits in CODEC_CASES if not _codec(arrays, dim, bits)]
    failures: list[str] = []
    largest, fatal = {}, list(wrong)
    dimensions = {dim for dim, bits in CODEC_CASES if f"codec/{dim}/{bits}" in wrong}
    for way in [*NEEDED, *(KERNELS if runs_here() else ())]:
        enable(kernels=way.kernels)
        errors = {case.name: _error(arrays, case, way.attention) for case in ATTENTION_CASES}
        failed = [case for case in ATTENTION_CASES if not errors[case.name] < TOLERANCE]
        names = [f"{way.name} {case.name}" for case in failed]
        failures += names
        if not way.kernels:
            fatal += names
            dimensions |= {case.dim for case in failed}
        largest[way.name] = max(errors.values())
    enable(kernels=True)
    # The tables of the golden cases are of no use to a model, and would stay for the process.
    codec.cache_clear()
    rotation.cache_clear()
    return Report(tuple(wrong), tuple(failures), largest, tuple(fatal), tuple(sorted(dimensions)))


@lru_cache(maxsize=1)
def known(path: Path) -> Report:
    """Check once a process; leave the kernels where they fail."""
    report = check(path)
    if report.attention_failures:
        enable(kernels=False)
    return report


def require(path: Path = GOLDEN, dimensions: frozenset[int] | None = None) -> Report:
    """Return what `known` does, where it says nothing against these dimensions; None: any at all.

    Raises
    ------
    ConformanceError
        If the codec or the portable path fails: no figure from this device means anything.
    """
    report = known(path)
    if report.fatal and (dimensions is None or any(map(report.concerns, dimensions))):
        failed = ", ".join(report.fatal)
        raise ConformanceError(
            f"{device()} fails the turbo cache's golden vectors: {failed}; if MLX_ENABLE_TF32=0 in "
            "the environment makes it pass, its float32 products are too coarse: please report it"
        )
    return report


def device() -> str:
    """Name the device at hand, as MLX does."""
    found = mx.device_info()
    return str(found.get("device_name", mx.default_device()))


def _codec(arrays: _Arrays, dim: int, bits: int) -> bool:
    name = f"codec/{dim}/{bits}"
    vectors, direction = (mx.array(arrays[f"{name}/{part}"]) for part in ("vectors", "direction"))
    found = codec(dim, bits, SEED, KEY_SCALE).encode(vectors, direction)
    near = np.allclose(np.array(found.scales), arrays[f"{name}/scales"], rtol=2e-3)
    along = np.allclose(np.array(found.along), arrays[f"{name}/along"], rtol=2e-3, atol=2e-3)
    return near and along and np.array_equal(np.array(found.codes), arrays[f"{name}/codes"])


def _error(arrays: _Arrays, case: AttentionCase, attention: _Attention) -> float:
    keys, values, queries, expected = (
        mx.array(arrays[f"{case.name}/{part}"])[None]
        for part in ("keys", "values", "queries", "out")
    )
    try:
        found = _attended(case, keys, values, queries, attention)
    except RuntimeError:  # MLX could not compile or start a kernel
        return float("inf")
    if found is None:  # a variant that the kernels leave to the portable path
        return 0.0
    return float(np.abs(np.array(found.astype(mx.float32)) - np.array(expected)).max())


def _attended(
    case: AttentionCase, keys: mx.array, values: mx.array, queries: mx.array, attention: _Attention
) -> mx.array | None:
    store = Store(
        Settings(
            key_bits=case.key_bits,
            value_bits=case.value_bits,
            seed=SEED,
            first_tokens=FIRST,
            tail_tokens=TAIL,
        )
    )
    old = case.tokens - case.length
    store.append(keys[:, :, :old], values[:, :, :old])
    view = store.append(keys[:, :, old:], values[:, :, old:])
    found = attention(queries, view, case.dim**-0.5, "causal")
    mx.eval(found)
    return found
