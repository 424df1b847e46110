"""Many queries over packed tokens, by MLX's own attention in the rotated space."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.turbo import TurboKVCache, prompt, stock, unpatch_mlx_lm
from worker.turbo.attention import portable_attention
from worker.turbo.prompt import prompt_attention, rotated


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    unpatch_mlx_lm()


def normal(random, *shape, bias=0.0, dtype=mx.float32):
    return (mx.array(random.standard_normal(shape)) + bias).astype(dtype)


def packed(lengths, bits, shape, dtype=mx.float32, **options):
    """Return a view whose newest tokens are the last of the lengths, and queries for them."""
    dim, batch, heads, groups = shape
    random = np.random.default_rng(dim + sum(lengths))
    cache = TurboKVCache(bits[1], bits[0], **options)
    bias = 4 * mx.array(random.standard_normal((1, heads, 1, dim)))
    for length in lengths:
        new = (batch, heads, length, dim)
        view, _ = cache.update_and_fetch(
            normal(random, *new, bias=bias, dtype=dtype), normal(random, *new, dtype=dtype)
        )
    return view, normal(random, batch, heads * groups, lengths[-1], dim, dtype=dtype)


def masked(kind, view, queries, random):
    batch, heads, length, _ = queries.shape
    if kind == "causal":
        return kind
    if kind is None:
        return None
    shape = {"rows": (length,), "padded": (batch, 1, length), "per head": (batch, heads, length)}
    seen = mx.array(random.random((*shape[kind], view.length)) < 0.7)
    return mx.where(seen, 0.0, -1e9) if kind == "rows" else seen


@pytest.mark.slow
@given(
    lengths=st.sampled_from([(40, 9), (300, 12), (200, 150, 33), (90, 1, 1, 40)]),
    bits=st.sampled_from([(8, 4), (4, 4), (3, 2), (0, 4), (6, 0)]),
    shape=st.sampled_from([(64, 1, 2, 2), (80, 2, 1, 3), (128, 2, 3, 1), (96, 1, 1, 7)]),
    kind=st.sampled_from(["causal", None, "rows", "padded", "per head"]),
    first=st.sampled_from([0, 4]),
    centring=st.sampled_from(["mean", "none"]),
    sinks=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_it_gives_what_the_reference_gives(  # noqa: PLR0917
    lengths, bits, shape, kind, first, centring, sinks
):
    options = {"first_tokens": first, "key_centring": centring, "tail_tokens": 16}
    view, queries = packed(lengths, bits, shape, **options)
    random = np.random.default_rng(0)
    mask = masked(kind, view, queries, random)
    term = normal(random, queries.shape[1]) if sinks else None
    found = prompt_attention(queries, view, 0.1, mask, term)
    expected = portable_attention(queries, view, 0.1, mask, term)
    np.testing.assert_allclose(np.array(found), np.array(expected), atol=2e-5)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_it_keeps_the_models_type_and_is_as_near_as_that_allows(dtype):
    view, queries = packed((300, 20), (4, 4), (64, 1, 2, 2), dtype)
    found = prompt_attention(queries, view, 0.125, "causal")
    expected = portable_attention(queries, view, 0.125, "causal")
    assert found.dtype == dtype
    error = mx.abs(found - expected).max().item()
    assert error < (0.006 if dtype == mx.float16 else 0.05)


def test_keys_and_values_in_the_rotated_space_are_the_stored_ones():
    view, _ = packed((300, 20), (4, 3), (64, 2, 2, 1))
    keys, values = rotated(view, mx.float32)
    stored_keys, stored_values = view.decoded()
    back = view.keys.codec.rotation.unrotate(keys) + view.centre.mean[:, :, None]
    np.testing.assert_allclose(np.array(back), np.array(stored_keys), atol=2e-5)
    back = view.values.codec.rotation.unrotate(values)
    np.testing.assert_allclose(np.array(back), np.array(stored_values), atol=2e-5)


@pytest.mark.parametrize("kind", ["causal", "per head"])
@pytest.mark.parametrize("bound", ["MOST_BYTES", "_MOST_SCORES"])
def test_pieces_are_joined_to_the_whole(monkeypatch, bound, kind):
    view, queries = packed((300, 40), (4, 4), (64, 2, 3, 2))
    random = np.random.default_rng(0)
    mask, sinks = masked(kind, view, queries, random), normal(random, 6)
    whole = prompt_attention(queries, view, 0.125, mask, sinks)
    calls = []
    counted = prompt.stock_attention
    monkeypatch.setattr(
        prompt, "stock_attention", lambda *a, **k: calls.append(1) or counted(*a, **k)
    )
    monkeypatch.setattr(prompt, bound, 1)
    found = prompt_attention(queries, view, 0.125, mask, sinks)
    assert len(calls) == (3 if bound == "MOST_BYTES" else 40)
    np.testing.assert_allclose(np.array(found), np.array(whole), atol=2e-5)


def test_what_lives_meanwhile_is_one_layer_or_the_bound(monkeypatch):
    monkeypatch.setattr(prompt, "MOST_BYTES", 1 << 20)
    view, queries = packed((6000, 16), (4, 4), (64, 1, 8, 1), mx.float16)
    mx.eval(
        view.keys.packed.codes, view.values.packed.codes, view.keys.raw, view.values.raw, queries
    )
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(prompt_attention(queries, view, 0.125, "causal"))
    all_heads = 2 * 8 * 6016 * 64 * 2
    assert mx.get_peak_memory() - before < all_heads


def test_it_does_not_go_through_the_hook_again(monkeypatch):
    view, queries = packed((300, 20), (4, 4), (64, 1, 2, 2))
    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", None)
    assert "attention" in stock.before
    mx.eval(prompt_attention(queries, view, 0.125, "causal"))


@pytest.mark.parametrize("length", [1, 4, 40])
@pytest.mark.parametrize("packed_tokens", [50, 300])
def test_sinks_are_one_more_term_of_the_softmax(length, packed_tokens):
    view, queries = packed((packed_tokens, length), (8, 8), (64, 1, 2, 2))
    sinks = mx.array([3.0, -1.0, 0.5, 8.0])
    found = mx.fast.scaled_dot_product_attention(
        queries, view, view, scale=0.125, mask="causal", sinks=sinks
    )
    expected = stock.stock_attention(
        queries, *view.decoded(), scale=0.125, mask="causal", sinks=sinks
    )
    np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-4)
