"""Memory bandwidth: read, copy, triad and quantized matrix times vector, beyond any cache.

Decode is bound by the last of these: it reads all weights for each token. 75 to 85 % of a chip's
nominal bandwidth is what others have measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import cycle, islice

import mlx.core as mx

from worker.machine.environment import probe
from worker.record import Sample

SECONDS = 19.0
DEFAULTS = {"megabytes": 1024, "chain": 4, "bits": 8, "trials": 5, "warmups": 1}
MODEL_FREE = True

GROUP = 64
SIDE = 4096
FLOAT = 4  # bytes of float32

Kernel = tuple[Callable[[], mx.array], int]


def run(
    model: None,
    tokenizer: None,
    make_cache: None,
    *,
    megabytes: int,
    chain: int,
    bits: int,
    trials: int,
    warmups: int,
) -> Iterator[Sample]:
    """Time ``chain`` kernels in one evaluation over arrays of ``megabytes`` MiB, kernel by kernel.

    Yields ``read_bandwidth``, ``copy_bandwidth``, ``triad_bandwidth`` and ``gemv_bandwidth`` in
    bytes per second for each trial, and ``nominal_fraction`` of reads where the chip's nominal
    bandwidth is known.
    """
    del model, tokenizer, make_cache
    nominal = probe().facts.get("nominal_bandwidth")
    length = megabytes * 2**20 // FLOAT
    kernels: tuple[tuple[str, Callable[[], Kernel]], ...] = (
        ("read_bandwidth", lambda: _read(length, chain)),
        ("copy_bandwidth", lambda: _copy(length, chain)),
        ("triad_bandwidth", lambda: _triad(length, chain)),
        ("gemv_bandwidth", lambda: _gemv(length * FLOAT, chain, bits)),
    )
    for metric, make in kernels:
        work, traffic = make()
        for trial in range(-warmups, trials):
            value = traffic / _seconds(work)
            yield Sample(metric=metric, value=value, trial=trial, warmup=trial < 0)
            if metric == "read_bandwidth" and isinstance(nominal, float):
                share = value / nominal
                yield Sample(metric="nominal_fraction", value=share, trial=trial, warmup=trial < 0)
        del work
        mx.clear_cache()


def _seconds(work: Callable[[], mx.array]) -> float:
    mx.synchronize()
    started = time.perf_counter()
    mx.eval(work())
    mx.synchronize()
    return time.perf_counter() - started


def _read(length: int, chain: int) -> Kernel:
    array = _filled(length)
    return lambda: mx.stack([mx.max(array) for _ in range(chain)]), chain * array.nbytes


def _copy(length: int, chain: int) -> Kernel:
    array = _filled(length)
    return lambda: reduce(lambda last, _: last + 1.0, range(chain), array), 2 * chain * array.nbytes


def _triad(length: int, chain: int) -> Kernel:
    """STREAM's triad: two arrays are read and one is written."""
    array, other = _filled(length), _filled(length)
    step = mx.compile(lambda last: last + 0.5 * other)
    traffic = 3 * chain * array.nbytes
    return lambda: reduce(lambda last, _: step(last), range(chain), array), traffic


def _gemv(size: int, chain: int, bits: int) -> Kernel:
    """Multiply a vector by as many matrices in turn as fill ``size`` bytes, ``chain`` times."""
    matrix = mx.random.normal((SIDE, SIDE), key=mx.random.key(0)) / SIDE
    packed = mx.quantize(matrix, GROUP, bits)
    count = max(2, size // sum(part.nbytes for part in packed))
    weights = [[part + 0 for part in packed] for _ in range(count)]
    mx.eval(weights)
    traffic = chain * sum(part.nbytes for weight in weights for part in weight)

    def step(vector: mx.array, weight: list[mx.array]) -> mx.array:
        packed, scales, biases = weight
        return mx.quantized_matmul(vector, packed, scales, biases, group_size=GROUP, bits=bits)

    start = mx.ones((1, SIDE))
    return lambda: reduce(step, islice(cycle(weights), chain * count), start), traffic


def _filled(length: int) -> mx.array:
    """Return an array whose pages exist."""
    array = mx.arange(length, dtype=mx.float32)
    mx.eval(array)
    return array
