"""Print what each setting of the turbo cache costs in divergence: what the defaults were chosen by.

    python -m worker.bench.turbo_settings [--model M] [--text T] [--contexts N,N] [SWEEP ...]

M, T and the figures are those of `worker.bench.quality`. A sweep changes one setting and leaves all
others at their defaults. The scale rules and uniform levels are no settings: they are put in the
place of what the cache has, after it has passed its golden vectors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from worker.bench import quality
from worker.caches import fp16
from worker.turbo import codebook, codec, fused, make_cache, store
from worker.turbo.codec import ScaleRule
from worker.turbo.conformance import require

K4V4 = {"key_bits": 4, "value_bits": 4}
SIDES = {"K4": (4, 0), "K3": (3, 0), "K2": (2, 0), "V4": (0, 4), "V3": (0, 3), "V2": (0, 2)}
UNIFORM = {"K8V8": (8, 8), "K6V6": (6, 6), "K4V4": (4, 4), "K3V3": (3, 3)}

Row = tuple[str, dict[str, Any], dict[str, ScaleRule], bool]


def first_tokens() -> Iterator[Row]:
    for count in (0, 1, 2, 4, 8, 16):
        yield f"K4V4, first_tokens {count}", K4V4 | {"first_tokens": count}, {}, False


def tail() -> Iterator[Row]:
    for count in (8, 16, 32, 64, 96, 128, 192, 384):
        yield f"K4V4, tail_tokens {count}", K4V4 | {"tail_tokens": count}, {}, False


def scales() -> Iterator[Row]:
    for name, (keys, values) in SIDES.items():
        for rule in get_args(ScaleRule):
            given = {"key_bits": keys, "value_bits": values}
            yield f"{name}, {rule}", given, {"KEY_SCALE": rule, "VALUE_SCALE": rule}, False


def levels() -> Iterator[Row]:
    for name, (keys, values) in UNIFORM.items():
        given = {"key_bits": keys, "value_bits": values}
        yield f"{name}, as they are", given, {}, False
        yield f"{name}, uniform (integers)", given, {}, True


SWEEPS = {"first_tokens": first_tokens, "tail": tail, "scales": scales, "levels": levels}


def main() -> None:
    asked = _arguments()
    require()  # while the scales and levels are what they have to be
    model, tokenizer = quality.opened(asked.model)
    print(f"{asked.model}, text {asked.text}, {asked.positions} positions, KL divergence, top-1")
    for context in map(int, asked.contexts.split(",")):
        count = context + asked.positions + 1
        tokens = quality.tokens_of(asked.model, tokenizer, asked.text, count)
        exact = quality.answers(model, tokens, context, fp16.make_cache(model))
        truth = np.array(tokens[context + 1 :])
        for sweep in asked.sweeps:
            for row in SWEEPS[sweep]():
                _measure(model, tokens, context, row, exact, truth)


def _measure(
    model: Any,
    tokens: list[int],
    context: int,
    row: Row,
    exact: mx.array,
    truth: NDArray[np.int64],
) -> None:
    name, given, rules, uniform = row
    started = time.perf_counter()
    with instead(rules, uniform=uniform):
        ours = quality.answers(model, tokens, context, make_cache(model, **given))
    seconds = time.perf_counter() - started
    print(f"{context:5} {name:28} {quality.row(exact, ours, truth)} ({seconds:.0f} s)", flush=True)


@contextmanager
def instead(rules: dict[str, ScaleRule], *, uniform: bool) -> Iterator[None]:
    """Put scale rules, and levels at equal distances, in the place of the cache's own."""
    held = {name: vars(store)[name] for name in rules}
    exponents, kernels = dict(codebook.EXPONENTS), uniform and fused.enabled()
    vars(store).update(rules)
    if kernels:  # they are kept by their bits, with the levels they had
        fused.enable(kernels=False)
    if uniform:
        codebook.EXPONENTS.update(dict.fromkeys(exponents, (1,)))
    _forget()
    try:
        yield
    finally:
        vars(store).update(held)
        codebook.EXPONENTS.update(exponents)
        if kernels:
            fused.enable(kernels=True)
        _forget()


def _forget() -> None:
    for cached in (codebook.codebook, codebook.polynomial, codec.codec):
        cached.cache_clear()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", default=list(SWEEPS))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", default="tune")
    parser.add_argument("--contexts", default="1024,4096")
    parser.add_argument("--positions", type=int, default=1024)
    asked = parser.parse_args()
    if unknown := set(asked.sweeps) - set(SWEEPS):
        parser.error(f"no such sweep: {', '.join(sorted(unknown))}; there are {', '.join(SWEEPS)}")
    return asked


if __name__ == "__main__":
    main()
