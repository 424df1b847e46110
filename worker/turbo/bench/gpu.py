"""Print every figure with a bar of the turbo cache on a GPU in one table, within 8 minutes.

    python -m worker.turbo.bench.gpu [--only golden kernels prompt decode batch padded]
        [--json FILE]

Against mlx-lm's fp16 cache, interleaved in one process, for a model of Qwen2.5-7B's shape with
random 8-bit weights, so nothing is downloaded. Ratios are of medians, to fp16; brackets hold the
range of a trial's ratio to the fp16 trial of its round. The kernels' own time is Nsight Compute's
(`gpu_kernels.py`), and left out where there is no `ncu`. MLX's TF32 stays as it comes.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import mlx.core as mx
from mlx import nn
from mlx_lm.generate import generate_step
from mlx_lm.models import qwen2
from mlx_lm.models.cache import KVCache, make_prompt_cache

from worker.turbo import attention_path, conformance, make_cache
from worker.turbo.bench.gpu_kernels import profiled

TOKENS = 72  # as many as the turbo cache packs at once
CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
PROMPTS = (4096, 16384, 65536)
BATCH, BATCH_CONTEXT = 8, 16384
NAMES = ("fp16", "K4V4", "K8V4")
_CHUNK = 2048
_HEADS, _DIM, _LAYERS = 4, 128, 28

Cache = list[Any]
T = TypeVar("T")


class Line(NamedTuple):
    """One figure of the table; a bar is a least ratio, or with a minus a greatest one."""

    what: str
    where: str
    cache: str
    figure: str
    ratio: float | None = None
    bar: float | None = None

    @property
    def verdict(self) -> str:
        if self.bar is None or self.ratio is None:
            return ""
        return "met" if (self.ratio - abs(self.bar)) * self.bar >= 0 else "MISSED"

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.3f}"
        bar = "" if self.bar is None else f"{'<=' if self.bar < 0 else '>='} {abs(self.bar)}"
        return (
            f"{self.what:18}{self.where:>11} {self.cache:6}{ratio:>7} {bar:8}{self.verdict:7}"
            f"{self.figure}"
        )


def build_model() -> nn.Module:
    """Return a model of Qwen2.5-7B's shape, quantized to 8 bits."""
    args = qwen2.ModelArgs(
        model_type="qwen2",
        hidden_size=3584,
        num_hidden_layers=_LAYERS,
        intermediate_size=18944,
        num_attention_heads=28,
        rms_norm_eps=1e-6,
        vocab_size=152064,
        num_key_value_heads=_HEADS,
        tie_word_embeddings=False,
    )
    model = qwen2.Model(args)
    model.set_dtype(mx.float16)
    nn.quantize(model, group_size=64, bits=8)
    mx.eval(model.parameters())
    return model


def new_cache(name: str, model: nn.Module) -> Cache:
    """Return empty caches by the name of what is compared."""
    if name == "fp16":
        return list(make_prompt_cache(model))
    made: Cache = make_cache(model, key_bits=int(name[1]), value_bits=int(name[3]))
    return made


def fill(cache: Cache, context: int, batch: int = 1) -> int:
    """Append random tokens up to a context; returns the bytes that the allocator gave for them."""
    _settle()
    before = mx.get_active_memory()
    for start in range(0, context, _CHUNK):
        size = (batch, _HEADS, min(_CHUNK, context - start), _DIM)
        for layer in cache:
            layer.update_and_fetch(*(mx.random.normal(size).astype(mx.float16) for _ in range(2)))
        mx.eval([layer.state for layer in cache])
    _settle()
    return int(mx.get_active_memory() - before)


def _settle() -> None:
    gc.collect()
    mx.synchronize()
    mx.clear_cache()


def decode(model: nn.Module, cache: Cache) -> list[float]:
    """Return the seconds of each of `TOKENS` decoded tokens, which the cache keeps.

    On a copy the first tokens packed would pay for a copy of all codes, which nobody else does.
    """
    steps = generate_step(mx.array([1]), model, max_tokens=TOKENS + 1, prompt_cache=cache)
    next(steps)
    times = [time.perf_counter(), *(time.perf_counter() for _ in steps)]
    return [b - a for a, b in pairwise(times)]


def decode_batch(model: nn.Module, cache: Cache) -> float:
    """Return the tokens per second of decoding a batch, pipelined as mlx-lm does it."""

    def step(tokens: mx.array) -> mx.array:
        found = mx.argmax(model(tokens, cache=cache)[:, -1], axis=-1)[:, None]
        mx.async_eval(found)  # type: ignore[no-untyped-call]
        return found

    tokens = step(mx.ones((BATCH, 1), dtype=mx.int32))
    mx.eval(tokens)
    start = time.perf_counter()
    for _ in range(TOKENS):
        following = step(tokens)
        mx.eval(tokens)
        tokens = following
    mx.eval(tokens)
    return BATCH * TOKENS / (time.perf_counter() - start)


def prefill(model: nn.Module, cache: Cache, context: int) -> tuple[float, int]:
    """Return prompt tokens per second by chunks, and the peak of memory above the weights."""
    tokens = mx.random.randint(0, 100, (1, context))
    mx.eval(tokens)
    _settle()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    start = time.perf_counter()
    for at in range(0, context, _CHUNK):
        model(tokens[:, at : at + _CHUNK], cache=cache)
        mx.eval([layer.state for layer in cache])
    mx.synchronize()
    return context / (time.perf_counter() - start), mx.get_peak_memory() - before


def interleaved(trials: int, trial: Callable[[str], T]) -> dict[str, list[T]]:
    """Run one warm-up and then trials of each cache, in a new random order every round."""
    found: dict[str, list[T]] = {name: [] for name in NAMES}
    for round_ in range(trials + 1):
        for name in random.sample(NAMES, len(NAMES)):
            sample = trial(name)
            if round_:
                found[name].append(sample)
    return found


def compared(
    what: str, where: str, samples: dict[str, list[float]], bar: float, unit: str
) -> Iterator[Line]:
    """Return a line for each cache beside fp16."""
    base = samples["fp16"]
    for name in NAMES:
        middle = statistics.median(samples[name])
        ratios = [a / b for a, b in zip(samples[name], base, strict=True)]
        figure = f"{middle:10.1f} {unit}  [{min(ratios):.3f}, {max(ratios):.3f}]"
        if name == "fp16":
            yield Line(what, where, name, f"{middle:10.1f} {unit}")
        else:
            yield Line(what, where, name, figure, middle / statistics.median(base), bar)


def golden(_: nn.Module, __: int) -> Iterator[Line]:
    report = conformance.check()
    failed = [*report.codec_failures, *report.attention_failures]
    errors = ", ".join(f"{path} {error:.1e}" for path, error in report.largest_error.items())
    text = f"largest error: {errors}" if not failed else f"failed: {', '.join(failed)}"
    yield Line("golden vectors", "TF32 as is", "", text, float(not failed), 1.0)


def kernels(_: nn.Module, __: int) -> Iterator[Line]:
    bars = {("4096", "K4V4"): -1.0, ("16384", "K4V4"): -0.7, ("65536", "K4V4"): -0.5}
    bars["16384x8", "K4V4"] = -0.15
    for cell in profiled():
        bar = bars.get((cell.where, cell.cache))
        figure = f"{cell.ours:8.1f} us of {cell.stock:.1f} us  ({cell.names})"
        yield Line("kernels' time", cell.where, cell.cache, figure, cell.ours / cell.stock, bar)


def prompts(model: nn.Module, trials: int) -> Iterator[Line]:
    for context in PROMPTS:
        few = min(trials, 2 if context > BATCH_CONTEXT else 3)
        found = interleaved(few, lambda name: prefill(model, new_cache(name, model), context))  # noqa: B023  called at once
        speeds = {name: [speed for speed, _ in each] for name, each in found.items()}
        yield from compared("prompt", str(context), speeds, 0.95, "tok/s")
        peaks = {name: max(peak for _, peak in each) for name, each in found.items()}
        for name in NAMES:
            share = None if name == "fp16" else peaks[name] / peaks["fp16"]
            figure = f"{peaks[name] / 1e9:10.2f} GB above the weights"
            yield Line("prompt's peak", str(context), name, figure, share, share and -1.0)


def tokens(model: nn.Module, trials: int) -> Iterator[Line]:
    for context in CONTEXTS:
        held: dict[str, Cache] = {}
        sizes: dict[str, int] = {}
        for name in NAMES:
            held[name] = new_cache(name, model)
            sizes[name] = fill(held[name], context)
        found = interleaved(trials, lambda name: decode(model, held[name]))  # noqa: B023  called at once
        speeds = {name: [TOKENS / sum(each) for each in all_] for name, all_ in found.items()}
        bar = {32768: 1.05, 65536: 1.1}.get(context, 0.97)
        for line in compared("token", str(context), speeds, bar, "tok/s"):
            share = sizes[line.cache] / sizes["fp16"]
            yield line._replace(figure=f"{line.figure}  memory {share:.3f}")
        for name in NAMES[1:]:
            pauses = [max(each) - statistics.median(each) for each in found[name]]
            figure = f"{statistics.median(pauses) * 1e3:10.1f} ms, once in {TOKENS} tokens"
            yield Line("pause to compress", str(context), name, figure)
        held.clear()


def batches(model: nn.Module, trials: int) -> Iterator[Line]:
    held: dict[str, Cache] = {}
    for name in NAMES:
        held[name] = new_cache(name, model)
        fill(held[name], BATCH_CONTEXT, BATCH)
    speeds = interleaved(trials, lambda name: decode_batch(model, held[name]))
    yield from compared("token, batch", f"{BATCH_CONTEXT}x{BATCH}", speeds, 1.3, "tok/s")


def padded(model: nn.Module, trials: int) -> Iterator[Line]:
    held = {name: _merged(name, model) for name in NAMES}
    speeds = interleaved(trials, lambda name: decode_batch(model, held[name]))
    for line in compared("token, batch", f"9-16Kx{BATCH}", speeds, 1.3, "tok/s"):
        yield line._replace(bar=None)


def _merged(name: str, model: nn.Module) -> Cache:
    """Return a batch of sequences of several lengths, padded on the left."""
    single = []
    for i in range(BATCH):
        single.append(new_cache(name, model))
        fill(single[-1], BATCH_CONTEXT - 1000 * i)
    merged = [
        KVCache.merge(layers) if name == "fp16" else layers[0].merge(layers)
        for layers in map(list, zip(*single, strict=True))
    ]
    mx.eval([layer.state for layer in merged])
    return merged


PARTS: dict[str, Callable[[nn.Module, int], Iterator[Line]]] = {
    "golden": golden,
    "kernels": kernels,
    "prompt": prompts,
    "decode": tokens,
    "batch": batches,
    "padded": padded,
}
BARRED = [name for name in PARTS if name != "padded"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=BARRED)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    start = time.perf_counter()
    mx.random.seed(0)
    print(f"{conformance.device()}, attention {attention_path()}", flush=True)
    model = build_model()
    lines: list[Line] = []
    for name in given.only:
        for line in PARTS[name](model, given.trials):
            lines.append(line)
            print(line, flush=True)
            if given.json:
                given.json.write_text(json.dumps([each._asdict() for each in lines]))
    missed = sum(line.verdict == "MISSED" for line in lines)
    barred = sum(line.verdict != "" for line in lines)
    print(f"{barred - missed} of {barred} bars met, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
