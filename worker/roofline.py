"""What decode speed memory bandwidth allows by model, cache and device, and what is doubtful by it.

A token cannot come faster than its bytes can be read: the weights once, and the KV cache at that
context. Utilization is the share of the bandwidth that a speed amounts to (Databricks, "LLM
Inference Performance Engineering").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker import registry
from worker.machine.environment.chips import CHIPS

# Bytes read for each token with 8-bit weights (8.5 bits each in groups of 64; the embedding of
# untied models excluded) and fp16 KV bytes for each token of context, from their config files.
EIGHT_BITS = {
    "qwen2.5-1.5b": (1.640e9, 28_672),
    "qwen2.5-3b": (3.279e9, 36_864),
    "qwen2.5-7b": (7.512e9, 57_344),
    "qwen3.5-27b": (27.2e9, 65_536),
}
# The bundled model: all of its fp16 weights, tied embedding included, and one key-value head of 64
# in each of 6 layers.
REFERENCE = (2_791_680, 1_536)
GROUP_OVERHEAD = 0.5  # bits a weight for scale and bias; for the scale of llama.cpp's Q8_0 and Q4_0

LOW, IMPOSSIBLE = 0.5, 1.0  # utilization below is suspicious, above cannot be
TOO_FAST = "faster than the bandwidth allows"
RISE = 1.03  # decode never gets faster with context by more than noise


@dataclass(frozen=True)
class Model:
    """``weights`` are the bytes read for each token, ``kv`` fp16 bytes for a token of context."""

    weights: float
    kv: float

    def bytes_per_token(self, context: int, share: float = 1.0) -> float:
        """Return what a token at ``context`` reads with a cache of a ``share`` of fp16's size."""
        return self.weights + self.kv * share * context


def known_model(name: str) -> Model | None:
    """Return a model's bytes by its name, None for models that are not in the table."""
    if name == "reference":
        return Model(*REFERENCE)
    lower = name.lower()
    bits = re.search(r"(\d)-?bit|q(\d)_0", lower)
    found = next((value for key, value in EIGHT_BITS.items() if key in lower), None)
    if found is None or bits is None:
        return None
    weights, kv = found
    width = int(bits[1] or bits[2]) + GROUP_OVERHEAD
    return Model(weights * width / (8 + GROUP_OVERHEAD), kv)


FP16_BITS = 16


def nominal_share(cache: str) -> float:
    """Return a cache's size as a share of fp16's by its parameters, where none was measured."""
    kind, _, params = cache.partition("(")
    known = registry.entries("caches").get(kind)
    bits = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", params)}
    sides = [
        bits[name] + scales if bits[name] else FP16_BITS
        for name, scales in (known.widths.items() if known else ())
        if name in bits
    ]
    return sum(sides) / len(sides) / FP16_BITS if sides else 1.0


@dataclass(frozen=True)
class Speed:
    """Decode speed in tokens/s of one device with one cache at one context."""

    device: str
    cache: str
    context: int
    tps: float
    low: float
    high: float
    share: float = 1.0
    published: bool = False


@dataclass(frozen=True)
class Explained:
    """A speed beside what bandwidth (bytes/s) would allow, and what is suspicious about it."""

    speed: Speed
    bytes: float
    predicted: float
    utilization: float
    suspicious: tuple[str, ...]


def explain(
    speeds: Sequence[Speed], model: Model, bandwidths: Mapping[str, float]
) -> list[Explained]:
    """Compare each speed with the roofline of its device; devices of unknown bandwidth drop out."""
    found = []
    for speed in speeds:
        if speed.device in bandwidths:
            size = model.bytes_per_token(speed.context, speed.share)
            predicted = bandwidths[speed.device] / size
            utilization = speed.tps / predicted
            doubts = _doubts(speed, utilization, speeds)
            found.append(Explained(speed, size, predicted, utilization, doubts))
    return found


def _doubts(speed: Speed, utilization: float, speeds: Iterable[Speed]) -> tuple[str, ...]:
    doubts = []
    if utilization > IMPOSSIBLE:
        doubts.append(TOO_FAST)
    elif utilization < LOW:
        doubts.append(f"only {utilization:.0%} of the bandwidth")
    line = [
        other
        for other in speeds
        if (other.device, other.cache, other.published)
        == (speed.device, speed.cache, speed.published)
    ]
    slower = [s.context for s in line if s.context < speed.context and speed.tps > RISE * s.tps]
    faster = [s.context for s in line if s.context > speed.context and s.tps > RISE * speed.tps]
    if slower:
        doubts.append(f"faster than at {min(slower)} tokens, where less is read")
    if faster:
        doubts.append(f"slower than at {max(faster)} tokens, where more is read")
    return tuple(doubts)


def chips() -> dict[str, float]:
    """Return the nominal bandwidth, in bytes/s, of each chip that is sold, by name and cores."""
    return {
        f"{chip.name}, {cores} GPU cores": chip.bandwidth * 1e9
        for chip in CHIPS
        for cores in chip.gpu_cores
    }


def nominal(device: str) -> float | None:
    """Return a device's specified bandwidth in bytes/s, None for an unknown chip.

    Published figures name no cores; the chip's largest bandwidth is taken then.
    """
    name = device.partition(" (")[0]
    found = [
        bandwidth
        for chip, bandwidth in chips().items()
        if name.startswith(chip) or chip.startswith(f"{name},")
    ]
    return max(found, default=None)
