"""Which layers are heavy: each is compressed alone."""

from __future__ import annotations

import pytest
from mlx_lm.models.cache import CacheList, KVCache, make_prompt_cache

from tiny_models import tiny_model
from worker import registry
from worker.benchmarks import layers
from worker.refusal import RefusalError


class Words:
    """A tokenizer that gives every fifth number."""

    def encode(self, text):
        return [ord(letter) * 5 % 60 for letter in text]


def measured(model, make_cache, **params):
    asked = {"context": 200, "positions": 16, "text": "corpus"} | params
    return list(layers.run(model, Words(), make_cache, **asked))


def test_each_layer_with_a_plain_cache_is_told_apart():
    model = tiny_model("llama")

    def make_cache():
        return registry.load("caches", "quantized").make_cache(model, bits=4, group_size=64)

    found = measured(model, make_cache)
    assert [sample.labels for sample in found] == [{"layer": layer} for layer in range(4)]
    assert all(sample.metric == "layer_kl" and sample.value > 0 for sample in found)


def test_a_layer_that_stays_as_it_is_adds_nothing():
    model = tiny_model("llama")

    def make_cache():
        quantized = registry.load("caches", "quantized").make_cache(model, bits=4, group_size=64)
        return [KVCache(), *quantized[1:]]

    first, *others = measured(model, make_cache)
    assert first.value == pytest.approx(0, abs=1e-6)
    assert all(sample.value > first.value for sample in others)


def test_recurrent_layers_are_left_out():
    model = tiny_model("qwen3_5")

    def make_cache():
        return registry.load("caches", "quantized").make_cache(model, bits=4, group_size=64)

    kinds = [type(layer) for layer in make_prompt_cache(model)]
    assert len(measured(model, make_cache)) == kinds.count(KVCache) < len(kinds)


def test_lists_of_caches_are_refused(monkeypatch):
    monkeypatch.setattr(layers.fp16, "make_cache", lambda _: [CacheList(KVCache(), KVCache())])
    with pytest.raises(RefusalError, match="keep lists of caches"):
        measured(tiny_model("llama"), list)
