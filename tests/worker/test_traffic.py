"""Bytes per token count what decoding reads, and their rate is a share of the bandwidth."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx import nn

from worker.record import Sample
from worker.traffic import bytes_per_token, utilization


class Layer:
    nbytes = 100


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(10, 8)
        self.proj = nn.Linear(8, 8, bias=False)


class Untied(Tied):
    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(8, 10, bias=False)


class Mixture(Tied):
    def __init__(self):
        super().__init__()
        self.experts = nn.Linear(8, 8)


@pytest.mark.parametrize(
    ("model", "needed"),
    [
        (Tied(), 4 * (80 + 64) + 200),
        (Untied(), 4 * (64 + 80) + 200),
        (Mixture(), None),
    ],
)
def test_all_weights_and_the_cache_are_read_but_not_an_untied_embedding(model, needed):
    mx.eval(model.parameters())
    assert bytes_per_token(model, [Layer(), Layer()]) == needed


def test_utilization_is_bytes_a_second_over_bandwidth():
    samples = [
        Sample(metric="generation_tps", value=5.0, trial=-1, warmup=True),
        Sample(metric="generation_tps", value=10.0, trial=0),
        Sample(metric="tpot", value=0.1, trial=0),
    ]
    found = list(utilization(samples, 1000, 20_000.0))
    assert [(sample.value, sample.warmup) for sample in found] == [(0.25, True), (0.5, False)]
    assert {sample.metric for sample in found} == {"bandwidth_utilization"}
