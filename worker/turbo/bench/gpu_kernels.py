"""The time of attention's kernels, ours beside MLX's own over fp16, by Nsight Compute.

    python -m worker.turbo.bench.gpu_kernels          # starts `ncu` on itself, prints a table
    python -m worker.turbo.bench.gpu_kernels launch   # what is profiled

Qwen2.5-7B's shape: 28 query heads, 4 key heads of 128, one new token. Times include the launch that
joins, where there is one, and are taken with cold caches, as `ncu` does by default.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import mlx.core as mx

from worker.turbo import TurboKVCache

SHAPES = ((4096, 1), (16384, 1), (65536, 1), (16384, 8))
BITS = ((4, 4), (8, 4))
_ROUNDS, _HEADS, _GROUP, _DIM, _CHUNK = 6, 4, 7, 128, 2048
_COMMAND = ["--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv"]
_OURS = r"turbo_(attend|merge)"
_MODULE = "worker.turbo.bench.gpu_kernels"
_KERNELS = f"regex:{_OURS}|sdpa|fmha|cudnn"


class Cell(NamedTuple):
    """Microseconds of one attention, ours and stock; names of the stock kernels."""

    where: str
    cache: str
    ours: float
    stock: float
    names: str


def launch() -> None:
    """Attend with each cache in turn: ours, then stock, some rounds each."""
    for context, batch in SHAPES:
        for key_bits, value_bits in BITS:
            queries = _some(batch, _HEADS * _GROUP, 1)
            cache = TurboKVCache(value_bits, key_bits)
            for _ in range(0, context, _CHUNK):
                cache.update_and_fetch(*(_some(batch, _HEADS, _CHUNK) for _ in range(2)))
                mx.eval(cache.state)
            view, _ = cache.keys_and_values()
            keys, values = (_some(batch, _HEADS, context) for _ in range(2))
            attend: Any = mx.fast.scaled_dot_product_attention
            for _ in range(_ROUNDS):
                mx.eval(attend(queries, view, view, scale=_DIM**-0.5, mask=None))
                mx.eval(attend(queries, keys, values, scale=_DIM**-0.5, mask=None))


def _some(batch: int, heads: int, tokens: int) -> mx.array:
    made: mx.array = mx.random.normal((batch, heads, tokens, _DIM)).astype(mx.float16)
    mx.eval(made)
    return made


def profiled() -> Iterator[Cell]:
    """Return every cell; nothing where the profiler is missing or may not read the counters."""
    ncu = shutil.which("ncu")
    if ncu is None:
        return
    command = [ncu, *_COMMAND, "-k", _KERNELS, sys.executable, "-m", _MODULE, "launch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rounds = _rounds(_launches(done.stdout))
    if done.returncode or len(rounds) != _ROUNDS * len(SHAPES) * len(BITS):
        print((done.stderr or done.stdout)[-2000:], file=sys.stderr)
        return
    cells = [(shape, bits) for shape in SHAPES for bits in BITS]
    for i, ((context, batch), bits) in enumerate(cells):
        kept = rounds[i * _ROUNDS + 1 : (i + 1) * _ROUNDS]
        yield Cell(
            f"{context}x{batch}" if batch > 1 else str(context),
            "K{}V{}".format(*bits),
            statistics.median(ours for ours, _, _ in kept),
            statistics.median(stock for _, stock, _ in kept),
            kept[0][2],
        )


def _launches(text: str) -> list[tuple[str, float]]:
    """Read names and microseconds from the profiler's CSV, which follows its own messages."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    scale = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "nsecond": 1e-3, "usecond": 1.0, "msecond": 1e3}
    return [
        (
            row["Kernel Name"],
            float(row["Metric Value"].replace(",", "")) * scale[row["Metric Unit"]],
        )
        for row in csv.DictReader(io.StringIO("\n".join(lines)))
    ]


def _rounds(launches: list[tuple[str, float]]) -> list[tuple[float, float, str]]:
    """Sum the launches of each round: ours come first, stock ones after."""
    found: list[tuple[float, float, str]] = []
    last_was_ours = False
    for name, time in launches:
        ours = re.search(_OURS, name) is not None
        if ours and not last_was_ours:
            found.append((0.0, 0.0, ""))
        mine, stock, names = found[-1]
        seen = names if ours else f"{names} {name.split('(')[0][:48]}".strip()
        found[-1] = (mine + time * ours, stock + time * (not ours), seen)
        last_was_ours = ours
    return found


def main() -> None:
    if sys.argv[1:] == ["launch"]:
        launch()
        return
    for cell in profiled():
        times = f"{cell.ours:7.1f} us, fp16 {cell.stock:7.1f} us"
        print(f"{cell.where:>9} {cell.cache} {times}, {cell.names}")


if __name__ == "__main__":
    main()
