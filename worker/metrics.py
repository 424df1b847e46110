"""Every metric: its unit, which direction is better, and how large a change matters.

Adding a metric is one line here; nothing else changes. A table has its columns in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Literal

#: What a metric is about; reasons spoil the figures of some kinds (``worker.machine.reasons``).
Kind = Literal["speed", "bandwidth", "energy", "bytes", "quality"]


@dataclass(frozen=True)
class Metric:
    """What a metric means; ``tolerance`` is the relative change that a gate lets pass.

    A ``detail`` is stored and shown by pages, and is no column of the table after a run.
    """

    unit: str
    better: Literal["higher", "lower"]
    description: str
    tolerance: float = 0.02
    kind: Kind = "speed"
    detail: bool = False

    @property
    def exact(self) -> bool:
        """Whether the same build gives the same figure again."""
        return self.kind in {"bytes", "quality"}


METRICS: dict[str, Metric] = {
    "generation_tps": Metric(
        "tokens/s", "higher", "decode speed after the prompt, every token counted"
    ),
    "prompt_tps": Metric("tokens/s", "higher", "prefill speed"),
    "kv_bytes": Metric(
        "bytes", "lower", "resident bytes of the cache, by the allocator", 0.0, "bytes"
    ),
    "kv_saving": Metric(
        "", "higher", "share of the bytes of fp16 KV that is saved, measured", 0.0, "bytes"
    ),
    "kl_divergence": Metric(
        "nats", "lower", "mean over positions, from fp16 KV on the same host", 0.1, "quality"
    ),
    "top1_agreement": Metric("", "higher", "same most likely token as fp16 KV", 0.005, "quality"),
    "greedy_prefix": Metric(
        "tokens", "higher", "greedy tokens before the first that differs", 0.1, "quality"
    ),
    "needle_accuracy": Metric("", "higher", "facts recalled exactly", 0.0, "quality"),
    "needle_agreement": Metric(
        "", "higher", "same answer as with fp16 KV to the same question", 0.005, "quality"
    ),
    "perplexity": Metric("", "lower", "held-out text, read through the cache", 0.005, "quality"),
    "read_bandwidth": Metric("bytes/s", "higher", "reading one large array", 0.02, "bandwidth"),
    "ttft": Metric("s", "lower", "time to the first token, prefill included", detail=True),
    "tpot": Metric("s", "lower", "time per generated token", detail=True),
    "joules_per_token": Metric(
        "J", "lower", "energy per token, when a meter is there", 0.05, "energy", detail=True
    ),
    "kv_bytes_claimed": Metric(
        "bytes", "lower", "bytes that the cache says it holds", 0.0, "bytes", detail=True
    ),
    "peak_memory": Metric(
        "bytes", "lower", "peak of the allocator while measuring", 0.02, "bytes", detail=True
    ),
    "nll": Metric(
        "nats/token", "lower", "of one chunk of held-out text", 0.005, "quality", detail=True
    ),
    "kl": Metric("nats", "lower", "from fp16 KV, of one step", 0.1, "quality", detail=True),
    "layer_kl": Metric(
        "nats", "lower", "from fp16 KV, one layer compressed", 0.1, "quality", detail=True
    ),
    "logit_cosine": Metric(
        "", "higher", "cosine similarity of logits to fp16 KV", 0.005, "quality", detail=True
    ),
    "copy_bandwidth": Metric(
        "bytes/s", "higher", "copying one large array", 0.02, "bandwidth", detail=True
    ),
    "triad_bandwidth": Metric(
        "bytes/s", "higher", "a + s * b over large arrays", 0.02, "bandwidth", detail=True
    ),
    "gemv_bandwidth": Metric(
        "bytes/s",
        "higher",
        "quantized matrix times vector, weights in turn",
        0.02,
        "bandwidth",
        detail=True,
    ),
    "nominal_fraction": Metric(
        "",
        "higher",
        "read bandwidth over that of the specification",
        0.02,
        "bandwidth",
        detail=True,
    ),
    "bandwidth_utilization": Metric(
        "", "higher", "bytes needed per second over nominal bandwidth", detail=True
    ),
}


def typical(metric: str, values: Sequence[float]) -> float:
    """Sum up the samples of one metric: speeds have outliers and take the median, quality the mean.

    Scores of quality are shares of successes or means over positions, so they add up.
    """
    known = METRICS.get(metric)
    return mean(values) if known and known.kind == "quality" else median(values)
