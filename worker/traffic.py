"""What memory bandwidth explains of decoding: bytes that each token must read, over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlx.utils import tree_flatten

from worker.generation import Caches, claimed_bytes
from worker.record import Sample

# Layers of which a token reads only some: how many bytes is not known from their sizes.
SPARSE = ("switch_mlp", "experts")


def bytes_per_token(model: Any, cache: Caches) -> int | None:
    """Return the bytes that one decoded token reads: all weights, and the cache.

    An embedding that is not also the output layer is read for one row only. None for a mixture
    of experts, and for a cache that does not tell its bytes. After "LLM Inference Performance
    Engineering" (Databricks).
    """
    weights = dict(tree_flatten(model.parameters()))
    if any(part in name for name in weights for part in SPARSE):
        return None
    held = claimed_bytes(cache)
    if held is None:
        return None
    untied = any("lm_head" in name for name in weights)
    read = [array for name, array in weights.items() if not (untied and "embed_tokens" in name)]
    return int(sum(array.nbytes for array in read) + held)


def utilization(
    samples: Iterable[Sample], needed: int | None, bandwidth: float
) -> Iterator[Sample]:
    """Yield ``bandwidth_utilization`` of each decoded trial: bytes a second over bandwidth."""
    if needed is None:
        return
    for sample in samples:
        if sample.metric == "generation_tps":
            value = sample.value * needed / bandwidth
            yield sample.model_copy(update={"metric": "bandwidth_utilization", "value": value})
