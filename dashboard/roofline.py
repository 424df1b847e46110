"""What memory bandwidth explains of decode speed, and what it does not.

A token cannot come faster than its bytes can be read: the weights once, and the KV cache at that
context. Utilization is the share of the bandwidth that a measured speed amounts to (Databricks,
"LLM Inference Performance Engineering").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, mean, median

from worker.environment.chips import CHIPS

# Bytes read for each token with 8-bit weights (8.5 bits each in groups of 64; the embedding of
# untied models excluded) and fp16 KV bytes for each token of context, from their config files.
EIGHT_BITS = {
    "qwen2.5-1.5b": (1.640e9, 28_672),
    "qwen2.5-3b": (3.279e9, 36_864),
    "qwen2.5-7b": (7.512e9, 57_344),
    "qwen3.5-27b": (27.2e9, 65_536),
}
GROUP_OVERHEAD = 0.5  # bits a weight for scale and bias

LOW, IMPOSSIBLE = 0.5, 1.0  # utilization below is suspicious, above cannot be
RISE = 1.03  # decode never gets faster with context by more than noise

USUAL = (0.75, 0.85)  # of the nominal bandwidth, where nothing was measured: research of others


@dataclass(frozen=True)
class Model:
    """``weights`` are the bytes read for each token, ``kv`` fp16 bytes for a token of context."""

    weights: float
    kv: float

    def bytes_per_token(self, context: int, share: float = 1.0) -> float:
        """Return what a token at ``context`` reads with a cache of a ``share`` of fp16's size."""
        return self.weights + self.kv * share * context


def known_model(name: str) -> Model | None:
    """Return a model's bytes by its hub id, None for models that are not in the table."""
    lower = name.lower()
    bits = re.search(r"(\d)-?bit", lower)
    found = next((value for key, value in EIGHT_BITS.items() if key in lower), None)
    if found is None or bits is None:
        return None
    weights, kv = found
    return Model(weights * (int(bits[1]) + GROUP_OVERHEAD) / (8 + GROUP_OVERHEAD), kv)


FP16_BITS = 16
SCALE_BITS = 0.125  # turbo's fp16 scale of each vector, at head dimension 128


def nominal_share(cache: str) -> float:
    """Return a cache's size as a share of fp16's by its parameters, where none was measured."""
    bits = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", cache)}
    kind = cache.partition("(")[0]
    if kind == "turbo":
        sizes = [
            bits[side] + SCALE_BITS if bits.get(side) else FP16_BITS
            for side in ("key_bits", "value_bits")
        ]
        return sum(sizes) / (2 * FP16_BITS)
    if "bits" in bits and kind != "turboquant_plus":  # which attends to a copy in 16 bits
        return (bits["bits"] + GROUP_OVERHEAD) / FP16_BITS
    return 1.0


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
        doubts.append("faster than the bandwidth allows")
    elif utilization < LOW:
        doubts.append(f"only {utilization:.0%} of the bandwidth")
    slower = [
        other.context
        for other in speeds
        if (other.device, other.cache, other.published)
        == (speed.device, speed.cache, speed.published)
        and other.context < speed.context
        and speed.tps > RISE * other.tps
    ]
    if slower:
        doubts.append(f"faster than at {min(slower)} tokens, where less is read")
    return tuple(doubts)


@dataclass(frozen=True)
class Line:
    """Seconds a token = ``start`` + ``slope`` * context, with standard errors where known."""

    start: float
    slope: float
    start_error: float | None
    slope_error: float | None


def fit(speeds: Iterable[Speed]) -> Line | None:
    """Fit the time per token over context by least squares; None for fewer than two contexts."""
    points = [(speed.context, 1 / speed.tps) for speed in speeds if speed.tps > 0]
    contexts, seconds = [c for c, _ in points], [s for _, s in points]
    if len(set(contexts)) < 2:  # noqa: PLR2004  a line needs two points
        return None
    slope, start = linear_regression(contexts, seconds)
    freedom = len(points) - 2
    if freedom < 1:
        return Line(start, slope, None, None)
    middle = mean(contexts)
    spread = sum((c - middle) ** 2 for c in contexts)
    residual = sum((s - start - slope * c) ** 2 for c, s in points) / freedom
    return Line(
        start,
        slope,
        (residual * (1 / len(points) + middle**2 / spread)) ** 0.5,
        (residual / spread) ** 0.5,
    )


@dataclass(frozen=True)
class Cost:
    """Where a cache's time goes at one context, in seconds a token, beside fp16.

    ``traffic`` is what fewer bytes save (negative), ``compute`` is everything else it adds.
    """

    context: int
    exact: float
    ours: float
    traffic: float
    compute: float


def cost(
    exact: Line, ours: Line, *, model: Model, share: float, bandwidth: float, context: int
) -> Cost:
    """Split the difference of two caches into traffic and compute at the measured bandwidth."""
    times = [line.start + line.slope * context for line in (exact, ours)]
    saved = model.kv * (1 - share) * context / bandwidth
    return Cost(context, times[0], times[1], -saved, times[1] - times[0] + saved)


def verdict(split: Cost) -> str:
    """Say in a sentence whether a cache's speed at a context is explained by traffic or compute."""
    ratio = split.exact / split.ours
    if split.compute > abs(split.traffic):
        cause = "compute or dispatch of the codec costs more than the traffic it saves"
    else:
        cause = "the traffic saved outweighs what the codec adds"
    return (
        f"{ratio:.0%} of fp16's speed: {_ms(split.ours)} instead of {_ms(split.exact)} a token, "
        f"{_ms(-split.traffic)} of traffic saved and {_ms(split.compute)} added: {cause}."
    )


@dataclass(frozen=True)
class Forecast:
    """Tokens/s to expect, from the efficiency of devices that were measured."""

    middle: float
    low: float
    high: float
    from_devices: int


def forecast(efficiencies: Sequence[float], bandwidth: float, size: float) -> Forecast:
    """Forecast decode with fp16 KV on a chip of nominal ``bandwidth`` for ``size`` bytes a token.

    ``efficiencies`` are speeds times bytes over nominal bandwidth of measured devices. Fewer than
    three say little, so the usual range of others is taken in.
    """
    known = [*efficiencies]
    taken = known if len(known) >= 3 else [*known, *USUAL]  # noqa: PLR2004
    rate = bandwidth / size
    return Forecast(rate * median(taken), rate * min(taken), rate * max(taken), len(known))


def chips() -> dict[str, float]:
    """Return the nominal bandwidth, in bytes/s, of each chip that is sold, by name and cores."""
    return {
        f"{chip.name}, {cores} GPU cores": chip.bandwidth * 1e9
        for chip in CHIPS
        for cores in chip.gpu_cores
    }


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
