"""Decode and prefill speed against mlx-lm's fp16 cache on a GPU, interleaved in one process.

    MLX_ENABLE_TF32=0 python -m worker.turbo.bench.gpu_decode [--contexts 512 4096] [--json FILE]

The model has the shape of Qwen2.5-7B and random 8-bit weights, so nothing is downloaded. The
caches are filled with random keys and values up to the context; a trial then decodes 72 tokens with
mlx-lm's own `generate_step` on a copy, one compression of the turbo cache among them.
Ratios are of medians, to fp16; the brackets hold the range of a trial's ratio to the fp16 trial
beside it.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.generate import generate_step
from mlx_lm.models import qwen2
from mlx_lm.models.cache import make_prompt_cache

from worker.turbo import attention_path, make_cache

TOKENS = 72  # as many as the turbo cache packs at once
CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_CHUNK = 2048
_HEADS, _DIM, _LAYERS = 4, 128, 28


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


def caches() -> dict[str, Callable[[nn.Module], list[Any]]]:
    """Return what is compared, by name."""
    return {
        "fp16": lambda model: list(make_prompt_cache(model)),
        "K4V4": lambda model: make_cache(model, key_bits=4, value_bits=4),
        "K8V4": lambda model: make_cache(model, key_bits=8, value_bits=4),
        "K16V4": lambda model: make_cache(model, key_bits=0, value_bits=4),
        "delegated": lambda model: make_cache(model, key_bits=4, value_bits=4, mode="delegated"),
        "quantized": lambda model: [
            layer.to_quantized(group_size=64, bits=4) for layer in make_prompt_cache(model)
        ],
    }


def fill(cache: list[Any], context: int) -> int:
    """Append random tokens up to a context; returns the bytes that the allocator gave for them."""
    gc.collect()
    mx.synchronize()
    before = mx.get_active_memory()
    for start in range(0, context, _CHUNK):
        size = (1, _HEADS, min(_CHUNK, context - start), _DIM)
        for layer in cache:
            layer.update_and_fetch(*(mx.random.normal(size).astype(mx.float16) for _ in range(2)))
            mx.eval(layer.state)
    gc.collect()
    mx.synchronize()
    return int(mx.get_active_memory() - before)


def decode(model: nn.Module, filled: list[Any]) -> float:
    """Return the tokens per second of one trial on a copy of a filled cache."""
    cache = copy.deepcopy(filled)
    mx.eval([layer.state for layer in cache])
    steps = generate_step(mx.array([1]), model, max_tokens=TOKENS + 1, prompt_cache=cache)
    next(steps)
    start = time.perf_counter()
    for _ in steps:
        pass
    mx.synchronize()
    return TOKENS / (time.perf_counter() - start)


def prefill(model: nn.Module, cache: list[Any], context: int) -> float:
    """Return the prompt tokens per second of reading a random prompt by chunks."""
    tokens = mx.random.randint(0, 100, (1, context))
    mx.eval(tokens)
    start = time.perf_counter()
    for at in range(0, context, _CHUNK):
        model(tokens[:, at : at + _CHUNK], cache=cache)
        mx.eval([layer.state for layer in cache])
    return context / (time.perf_counter() - start)


def interleaved(
    names: list[str], trials: int, trial: Callable[[str], float]
) -> dict[str, list[float]]:
    """Run one warm-up and then trials of each, in a new random order every round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(trials + 1):
        for name in random.sample(names, len(names)):
            sample = trial(name)
            if round_:
                found[name].append(sample)
    return found


def decode_cell(model: nn.Module, context: int, trials: int, names: list[str]) -> dict[str, Any]:
    """Measure every cache at one context."""
    made, held, failed = {}, {}, {}
    for name in names:
        made[name] = caches()[name](model)
        try:
            held[name] = fill(made[name], context)
            decode(model, made[name])
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            failed[name] = repr(error)[:300]
            del made[name]
    samples = interleaved(list(made), trials, lambda name: decode(model, made[name]))
    return {"context": context, "kind": "decode", "tps": samples, "bytes": held, "failed": failed}


def prefill_cell(model: nn.Module, context: int, trials: int, names: list[str]) -> dict[str, Any]:
    """Measure reading a prompt with every cache."""
    names = [name for name in names if name != "quantized"]
    samples = interleaved(
        names, trials, lambda name: prefill(model, caches()[name](model), context)
    )
    return {"context": context, "kind": "prefill", "tps": samples, "bytes": {}, "failed": {}}


def show(cell: dict[str, Any]) -> None:
    """Print one line a cache."""
    base = cell["tps"]["fp16"]
    for name, samples in cell["tps"].items():
        ratios = [a / b for a, b in zip(samples, base, strict=True)]
        held = cell["bytes"].get(name)
        share = held / cell["bytes"]["fp16"] if held else float("nan")
        print(
            f"{cell['kind']:8}{cell['context']:7} {name:10}{statistics.median(samples):10.1f} tok/s"
            f"{statistics.median(samples) / statistics.median(base):8.3f}x"
            f"  [{min(ratios):.3f}, {max(ratios):.3f}]  memory {share:.3f}",
            flush=True,
        )
    for name, error in cell["failed"].items():
        print(f"{cell['kind']:8}{cell['context']:7} {name:10} failed: {error}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, nargs="*", default=CONTEXTS)
    parser.add_argument("--prefill", type=int, nargs="*", default=(4096,))
    parser.add_argument("--trials", type=int, default=7)
    parser.add_argument("--caches", nargs="*", default=list(caches()))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    mx.random.seed(0)
    model = build_model()
    print(f"{mx.default_device()}, attention {attention_path()}", flush=True)
    cells = []
    for context in given.contexts:
        cells.append(decode_cell(model, context, given.trials, given.caches))
        show(cells[-1])
        if given.json:
            given.json.write_text(json.dumps(cells))
    for context in given.prefill:
        cells.append(prefill_cell(model, context, min(given.trials, 3), given.caches))
        show(cells[-1])
        if given.json:
            given.json.write_text(json.dumps(cells))


if __name__ == "__main__":
    main()
