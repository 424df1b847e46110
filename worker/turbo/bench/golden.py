"""Write the golden vectors: `python -m worker.turbo.bench.golden`.

Everything expected is computed here in float64 NumPy, without MLX's operations: the rotation as a
matrix, the nearest level by distance, the bit stream as one large integer, attention as a full
softmax. Vectors with a coordinate so near a decision boundary that float32 could fall on either
side are drawn again: the codes of the others have to agree bit for bit everywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from worker.turbo.codebook import codebook
from worker.turbo.conformance import (
    ATTENTION_CASES,
    CODEC_CASES,
    FIRST,
    GOLDEN,
    TAIL,
    AttentionCase,
)
from worker.turbo.packing import words
from worker.turbo.rotation import rotation
from worker.turbo.settings import KEY_SCALE, VALUE_SCALE
from worker.turbo.state import VERSION

Array = np.ndarray[Any, Any]
SEED, VECTORS, MARGIN = 42, 6, 2e-6


def matrix(dim: int) -> Array:
    """R of `Rotation`, the Hadamard matrix by Sylvester's construction."""
    turn = rotation(dim, SEED)
    if turn.matrix is not None:
        return np.array(turn.matrix, dtype=np.float64)
    hadamard = np.ones((1, 1))
    while len(hadamard) < dim:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    return np.array(np.array(turn.signs)[:, None] * hadamard / np.sqrt(dim))


class Quantised(NamedTuple):
    """Codes, scales and what is kept along a direction (both rounded to fp16), decoded vectors."""

    codes: Array
    scales: Array
    along: Array
    decoded: Array


def quantise(x: Array, bits: int, rule: str, direction: Array) -> Quantised:
    """Quantise vectors less their part along a rotated unit vector, or along zero."""
    levels = codebook(x.shape[-1], bits).centroids.astype(np.float64)
    turn = matrix(x.shape[-1])
    y = x @ turn
    held = np.sum(y * direction, axis=-1)
    rest = y - held[..., None] * direction
    norm = np.linalg.norm(rest, axis=-1, keepdims=True)
    unit = rest / norm
    codes = np.argmin(np.abs(unit[..., None] - levels), axis=-1)
    level = levels[codes]
    product = np.sum(unit * level, axis=-1)
    gains = {"unbiased": 1 / product, "matched_norm": 1 / np.linalg.norm(level, axis=-1)}
    scales = (norm[..., 0] * gains[rule]).astype(np.float16)
    there = scales.astype(np.float64) * np.sum(level * direction, axis=-1)
    along = (held - there).astype(np.float16)
    decoded = scales[..., None].astype(np.float64) * level + along[..., None] * direction
    return Quantised(codes, scales, along, decoded @ turn.T)


def packed(codes: Array, bits: int) -> Array:
    stream = sum(int(code) << (i * bits) for i, code in enumerate(codes))
    count = words(len(codes), bits)
    return np.array([(stream >> (32 * i)) & 0xFFFFFFFF for i in range(count)], dtype=np.uint32)


def clear_vectors(random: np.random.Generator, dim: int, bits: int, direction: Array) -> Array:
    """Vectors whose rotated coordinates all keep away from the boundaries."""
    edges = codebook(dim, bits).boundaries.astype(np.float64)
    found: list[Array] = []
    while len(found) < VECTORS:
        x = (random.standard_normal(dim) * 3).astype(np.float16).astype(np.float64)
        y = x @ matrix(dim)
        rest = y - np.sum(y * direction) * direction
        unit = rest / np.linalg.norm(rest)
        if np.abs(unit[:, None] - edges).min() > MARGIN:
            found.append(x)
    return np.array(found)


def attention(case: AttentionCase, random: np.random.Generator) -> dict[str, Array]:
    """Make inputs, and the output over what a cache that was fed them once keeps."""
    heads, queries, length, dim = 2, 4, case.length, case.dim
    bias = 8 * random.standard_normal((heads, 1, dim))
    keys = (random.standard_normal((heads, case.tokens, dim)) + bias).astype(np.float16)
    values = random.standard_normal((heads, case.tokens, dim)).astype(np.float16)
    q = random.standard_normal((queries, length, dim)).astype(np.float16)
    k, v = keys.astype(np.float64), values.astype(np.float64)
    old = slice(FIRST, case.tokens - length - TAIL // 4)
    if case.key_bits:
        mean = k[:, old].mean(axis=1, keepdims=True)
        direction = mean @ matrix(dim) / np.linalg.norm(mean, axis=-1, keepdims=True)
        k[:, old] = quantise(k[:, old] - mean, case.key_bits, KEY_SCALE, direction).decoded + mean
    v[:, old] = quantise(v[:, old], case.value_bits, VALUE_SCALE, np.zeros(dim)).decoded
    grouped = q.astype(np.float64).reshape(heads, -1, length, dim)
    scores = np.einsum("hgld,hnd->hgln", grouped, k) / np.sqrt(dim)
    hidden = np.arange(case.tokens) > np.arange(case.tokens - length, case.tokens)[:, None]
    scores[..., hidden] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    out = np.einsum("hgln,hnd->hgld", weights, v).reshape(queries, length, dim)
    return {"keys": keys, "values": values, "queries": q, "out": out.astype(np.float32)}


def main() -> None:
    random = np.random.Generator(np.random.PCG64(7))
    arrays: dict[str, Array] = {}
    for dim, bits in CODEC_CASES:
        direction = random.standard_normal(dim)
        direction = (direction / np.linalg.norm(direction)).astype(np.float32)
        x = clear_vectors(random, dim, bits, direction.astype(np.float64))
        found = quantise(x, bits, KEY_SCALE, direction.astype(np.float64))
        name = f"codec/{dim}/{bits}"
        arrays[f"{name}/vectors"] = x.astype(np.float16)
        arrays[f"{name}/direction"] = direction
        arrays[f"{name}/codes"] = np.array([packed(row, bits) for row in found.codes])
        arrays[f"{name}/scales"] = found.scales
        arrays[f"{name}/along"] = found.along
    for case in ATTENTION_CASES:
        for part, array in attention(case, random).items():
            arrays[f"{case.name}/{part}"] = array
    arrays["version"] = np.array(VERSION)
    np.savez_compressed(GOLDEN, allow_pickle=False, **arrays)
    print(f"{GOLDEN}: {len(arrays)} arrays, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
