"""Print what each scale costs the reference model: KL divergence from fp16 KV, one side compressed.

    python -m worker.turbo.bench.scales

Held-out text of the model's corpus, 1024 tokens read, 256 more teacher-forced in steps of 8; the
mean over positions, in nats. `bench/codec.py` has the same choice on Gaussian vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import mlx.core as mx
import numpy as np
from mlx_lm import load
from mlx_lm.models.cache import make_prompt_cache

from worker.text import corpus
from worker.turbo import make_cache, store
from worker.turbo.codec import ScaleRule
from worker.turbo.conformance import require

MODEL = Path(__file__).parents[2] / "models" / "reference"
CONTEXT, POSITIONS, STEP = 1024, 256, 8


def log_probabilities(model: Any, tokens: mx.array, cache: list[Any]) -> mx.array:
    model(tokens[:, :CONTEXT], cache=cache)
    parts = []
    for start in range(CONTEXT, CONTEXT + POSITIONS, STEP):
        parts.append(model(tokens[:, start : start + STEP], cache=cache).astype(mx.float32))
        mx.eval(parts[-1])
    logits = mx.concatenate(parts, axis=1)[0]
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def main() -> None:
    require()  # while the scales are what they have to be
    model, tokenizer, *_ = load(str(MODEL))
    words: list[int] = tokenizer.encode(corpus.text(seed=5, sentences=400))
    tokens = mx.array(words)[None, : CONTEXT + POSITIONS]
    exact = log_probabilities(model, tokens, make_prompt_cache(model))
    print("keys, values   " + "".join(f"{rule:>15}" for rule in get_args(ScaleRule)))
    for key_bits, value_bits in [(4, 0), (3, 0), (2, 0), (0, 4), (0, 3), (0, 2)]:
        line = f"{key_bits or 16:4}, {value_bits or 16:<9}"
        for rule in get_args(ScaleRule):
            vars(store).update(KEY_SCALE=rule, VALUE_SCALE=rule)
            cache = make_cache(model, key_bits=key_bits, value_bits=value_bits)
            ours = log_probabilities(model, tokens, cache)
            kl = mx.sum(mx.exp(exact) * (exact - ours), axis=-1)
            line += f"{np.mean(np.array(kl), dtype=np.float64):15.6f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
