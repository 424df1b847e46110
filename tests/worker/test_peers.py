"""Other implementations as caches: they attend in stock mlx-lm models to what they store."""

from __future__ import annotations

import copy
import re
import sys
from types import ModuleType

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models import base
from mlx_lm.models.cache import KVCache, make_prompt_cache

from tiny_models import tiny_model, tokens
from worker import registry
from worker.caches import _peer_attention
from worker.refusal import RefusalError

PEERS = {
    "rotated_affine": [{}, {"bits": 3}, {"key_centring": "none"}, {"rotation": "none"}],
    "mlx_vlm": [{"raw_last_layers": 0}, {"bits": 3.5}, {"key_bits": 8, "value_bits": 3}],
}


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    base.quantized_scaled_dot_product_attention = _peer_attention.stock_attention


def made(name, model, **params):
    defaults = registry.entries("caches")[name].defaults
    return registry.load("caches", name).make_cache(model, **(defaults | params))


def logits(model, cache):
    """Run a prompt, single tokens and a chunk of four."""
    ids, at, parts = tokens(100), 0, []
    for length in (60, *[1] * 20, 4):
        parts.append(model(ids[:, at : at + length], cache=cache))
        at += length
    return np.array(mx.concatenate(parts, axis=1)[0])


def remembered(cache):
    """Let a cache keep all that it is given; return where."""
    given, update = [], cache.update_and_fetch

    def remember(*keys_and_values):
        given.append(keys_and_values)
        return update(*keys_and_values)

    cache.update_and_fetch = remember
    return given


def decoding(peer, given):
    """Return a cache with which stock attention sees what a peer stores of these, decoded.

    What the model makes here would differ in its last digits, and some of that be rounded to
    another code.
    """
    given = iter(given)

    def stored(cache):
        if hasattr(cache, "dequantize"):
            return cache.dequantize(*cache.state)
        keys, values = (
            mx.dequantize(*side, group_size=cache.group_size, bits=cache.bits)
            for side in cache.keys_and_values()
        )
        if cache.rotation == "dense":
            back = registry.load("caches", "rotated_affine")._rotation(keys.shape[-1]).T
            keys, values = keys @ back, values @ back
        return keys if cache.mean is None else keys + cache.mean, values

    class Decoded(KVCache):
        def update_and_fetch(self, keys, values):
            self.offset += keys.shape[2]
            peer.update_and_fetch(*next(given))
            return stored(peer)

    return Decoded()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params"), [(name, params) for name, cases in PEERS.items() for params in cases]
)
def test_a_peer_attends_to_exactly_what_it_stores(name, params):
    model = tiny_model("llama")
    cache = made(name, model, **params)
    given = [remembered(layer) for layer in cache]
    found = logits(model, cache)
    oracle = [
        layer if type(layer) is KVCache else decoding(layer, what)
        for layer, what in zip(made(name, model, **params), given, strict=True)
    ]
    np.testing.assert_allclose(found, logits(model, oracle), atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3_5"])
def test_at_8_bits_a_peer_is_near_fp16_and_smaller_and_leaves_recurrent_layers(name, architecture):
    model = tiny_model(architecture)
    stock, cache = make_prompt_cache(model), made(name, model, bits=8)
    error = np.abs(logits(model, cache) - logits(model, stock))
    assert error.mean() < 0.03
    changed = [
        (s, c) for s, c in zip(stock, cache, strict=True) if type(s) is KVCache is not type(c)
    ]
    assert changed
    assert all(c.nbytes < 0.6 * s.nbytes for s, c in changed)
    assert registry.load("caches", name).describe(cache)["compressed_tokens"] == 84


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_can_be_rewound_and_copied(name):
    model = tiny_model("llama")
    cache, ids = made(name, model), tokens(50)
    model(ids, cache=cache)
    kept = copy.deepcopy(cache)
    expected = model(ids[:, :3], cache=cache)
    for layer in cache:
        assert layer.trim(3) == 3
    np.testing.assert_array_equal(model(ids[:, :3], cache=cache), expected)
    np.testing.assert_array_equal(model(ids[:, :3], cache=kept), expected)


def test_rotated_affine_comes_back_from_its_state():
    model = tiny_model("llama")
    cache, ids = made("rotated_affine", model), tokens(50)
    model(ids, cache=cache)
    again = [type(layer).from_state(layer.state) for layer in copy.deepcopy(cache)]
    found, expected = model(ids[:, :1], cache=again), model(ids[:, :1], cache=cache)
    np.testing.assert_array_equal(found, expected)


def test_mlx_vlms_own_choice_leaves_the_last_layer_as_it_is():
    kinds = [type(layer).__name__ for layer in made("mlx_vlm", tiny_model("llama"))]
    assert kinds == ["MlxVlmCache"] * 3 + ["KVCache"]


def test_other_quantized_caches_are_attended_to_as_before():
    model = tiny_model("llama")
    ids, found = tokens(40), []
    for install in (lambda: None, _peer_attention.install):
        install()
        quantized = [layer.to_quantized(64, 8) for layer in make_prompt_cache(model)]
        found.append(np.array(model(ids, cache=quantized)))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("name", "params", "problem"),
    [
        ("rotated_affine", {"rotation": "haar"}, "rotation: 'haar'; allowed: dense, none"),
        ("rotated_affine", {"group_size": 128}, "do not divide a head of 64; choose another"),
        ("mlx_vlm", {"bits": 0.3}, "requires kv_bits >= 1"),
    ],
)
def test_parameters_that_a_peer_cannot_use_are_refused(name, params, problem):
    model = tiny_model("llama")
    with pytest.raises(RefusalError, match=problem):
        model(tokens(8), cache=made(name, model, **params))


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("turboquant_plus", "git+https://github.com/TheTom/mlx.git@feature/turboquant-plus"),
        ("turboquant_mlx", "turboquant-mlx-full==0.30.0"),
        ("mlx_turboquant", "mlx-turboquant==0.0.2"),
        ("mlx_optiq", "mlx-optiq==0.7.7"),
    ],
)
def test_an_absent_package_is_named_with_the_command_that_installs_it(monkeypatch, name, package):
    for module in ("turboquant_mlx", "mlx_turboquant", "optiq"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"worker.caches.{name}", raising=False)
    with pytest.raises(RefusalError, match=re.escape(f"-m pip install {package}")):
        registry.load("caches", name)


def test_the_reference_fork_is_used_where_it_is_installed(monkeypatch):
    class TurboKVCache(KVCache):
        """What the fork's class shows of itself from outside."""

        def __init__(self, bits, key_bits):
            if bits > 4:
                raise ValueError(f"Unsupported bits={bits}")
            super().__init__()
            self.asked = (bits, key_bits)

    fork = ModuleType("mlx.nn.layers.turbo_kv_cache")
    fork.TurboKVCache = TurboKVCache
    monkeypatch.setitem(sys.modules, fork.__name__, fork)
    monkeypatch.delitem(sys.modules, "worker.caches.turboquant_plus", raising=False)
    model = tiny_model("llama")
    cache = made("turboquant_plus", model, key_bits=0, boundary_layers=1)
    assert [getattr(layer, "asked", None) for layer in cache] == [None, (4, 0), (4, 0), None]
    assert cache[0].is_trimmable()
    assert not copy.deepcopy(cache)[1].is_trimmable()
    with pytest.raises(RefusalError, match="Unsupported bits=5"):
        made("turboquant_plus", model, bits=5)
    monkeypatch.delitem(sys.modules, "worker.caches.turboquant_plus")
