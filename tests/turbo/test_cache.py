import copy
import gc

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.models.cache import (
    KVCache,
    load_prompt_cache,
    make_prompt_cache,
    save_prompt_cache,
    trim_prompt_cache,
)

from worker.turbo import (
    NotFiniteError,
    StateError,
    TurboKVCache,
    compact_turbo_cache,
    describe,
    make_cache,
    unpatch_mlx_lm,
)

FINE = {"bits": 8, "key_bits": 8}  # so that a comparison with fp16 can be tight
DIM = 64


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    unpatch_mlx_lm()


class Stream:
    """Random keys with a large bias, values and queries, fed to a turbo cache and to fp16."""

    def __init__(self, cache, seed=0, shape=(1, 2, DIM), groups=2, dtype=mx.float32):
        self.random = np.random.default_rng(seed)
        self.cache, self.stock, self.dtype = cache, KVCache(), dtype
        self.shape, self.groups = shape, groups
        self.bias = 4 * self.random.standard_normal((1, shape[1], 1, shape[2]))

    def normal(self, heads, length):
        batch, _, dim = self.shape
        return self.random.standard_normal((batch, heads, length, dim))

    def feed(self, length, mask="own"):
        """Return the attention over the turbo cache and that over fp16."""
        _, heads, dim = self.shape
        keys = mx.array(self.normal(heads, length) + self.bias).astype(self.dtype)
        values = mx.array(self.normal(heads, length)).astype(self.dtype)
        queries = mx.array(self.normal(heads * self.groups, length)).astype(self.dtype)
        if isinstance(mask, str) and mask == "own":
            mask = self.cache.make_mask(length, return_array=False, window_size=None)
        return [
            mx.fast.scaled_dot_product_attention(
                queries, *cache.update_and_fetch(keys, values), scale=dim**-0.5, mask=mask
            )
            for cache in (self.cache, self.stock)
        ]


def assert_near(found, expected, atol=0.03):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(
        np.array(found.astype(mx.float32)), np.array(expected.astype(mx.float32)), atol=atol
    )


@pytest.mark.slow
@given(
    steps=st.lists(st.sampled_from([1, 1, 1, 2, 5, 8, 40, 60, 150, 300]), min_size=1, max_size=6),
    bits=st.sampled_from([(8, 8), (0, 8), (8, 0), (6, 8)]),
    first=st.sampled_from([0, 4]),
    shape=st.sampled_from([(64, 1, 2, 2), (80, 2, 1, 4), (128, 1, 2, 1), (96, 2, 2, 3)]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_attention_over_the_cache_is_near_that_over_fp16(steps, bits, first, shape, seed):
    dim, batch, heads, groups = shape
    cache = TurboKVCache(bits[1], bits[0], tail_tokens=16, first_tokens=first, seed=seed)
    stream = Stream(cache, seed, (batch, heads, dim), groups)
    for length in steps:
        assert_near(*stream.feed(length), atol=0.08)
    assert cache.offset == sum(steps)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32])
def test_the_result_has_the_type_of_the_queries(dtype):
    stream = Stream(TurboKVCache(**FINE), dtype=dtype)
    for length in (200, 1, 3):
        assert_near(*stream.feed(length), atol=0.06)


@pytest.mark.parametrize("kind", ["bool", "additive", "per head", "rows"])
def test_any_mask_means_what_it_means_to_mlx(kind):
    stream = Stream(TurboKVCache(**FINE, first_tokens=4), shape=(2, 2, DIM))
    stream.feed(200)
    shape = {"bool": (2, 1, 5, 205), "per head": (2, 4, 5, 205), "rows": (5, 205)}
    visible = np.random.default_rng(1).random(shape.get(kind, (2, 1, 5, 205))) < 0.5
    mask = mx.array(visible)
    if kind == "additive":
        mask = mx.where(mask, mx.array(0.0), mx.array(-mx.inf))
    assert_near(*stream.feed(5, mask))


def test_a_tile_that_a_mask_hides_entirely_does_not_count():
    stream = Stream(TurboKVCache(**FINE, tail_tokens=8))
    stream.feed(9000)
    mask = mx.arange(9001) >= 8998
    assert_near(*stream.feed(1, mask[None]))


@pytest.mark.slow
@given(
    before=st.sampled_from([20, 96, 97, 200, 300]),
    count=st.integers(0, 320),
    first=st.sampled_from([0, 5]),
)
@settings(max_examples=30, deadline=None)
def test_after_a_trim_the_cache_goes_on_as_if_the_tokens_had_not_been(before, count, first):
    cache = TurboKVCache(**FINE, first_tokens=first)
    stream = Stream(cache)
    stream.feed(before)
    assert cache.trim(count) == stream.stock.trim(count) == min(count, before)
    assert cache.offset == stream.stock.offset
    for length in (1, 60, 1, 120, 2):
        assert_near(*stream.feed(length))


@pytest.mark.parametrize("edge", [47, 48, 49, 96, 97, 144, 145])
def test_trim_is_exact_at_the_edges_of_tail_and_batch(edge):
    stream = Stream(TurboKVCache(**FINE))
    for _ in range(edge):
        stream.feed(1)
    for count in (1, 2, 47, 48):
        assert stream.cache.trim(count) == stream.stock.trim(count)
        assert_near(*stream.feed(1))


def test_packed_codes_are_the_only_copy_of_old_tokens():
    stream = Stream(TurboKVCache(bits=4), shape=(1, 2, 128), dtype=mx.float16)
    stream.feed(2048)
    for _ in range(100):
        stream.feed(1)
    found = describe([stream.cache])
    assert found["compressed_tokens"] + found["raw_tokens"] == 2148
    assert found["raw_tokens"] <= 96
    assert found["kv_bytes"] < 0.32 * stream.stock.nbytes
    assert found["kv_bytes"] == sum(a.nbytes for a in stream.cache.store.arrays)


def test_nothing_is_packed_before_the_deferred_length():
    stream = Stream(TurboKVCache(**FINE, compress_from=400))
    stream.feed(390)
    assert describe([stream.cache])["compressed_tokens"] == 0
    assert_near(*stream.feed(8), atol=0)
    stream.feed(8)
    assert describe([stream.cache])["compressed_tokens"] > 300


def test_compacting_packs_the_tail_too():
    stream = Stream(TurboKVCache(**FINE))
    stream.feed(150)
    compact_turbo_cache([stream.cache])
    assert describe([stream.cache])["raw_tokens"] == stream.cache.store.settings.first_tokens
    assert_near(*stream.feed(1))


def test_a_large_key_bias_costs_nothing_when_keys_are_centred():
    error = {}
    for centring in ("mean", "none"):
        stream = Stream(TurboKVCache(bits=4, key_centring=centring))
        stream.bias = stream.bias * 10
        stream.feed(300)
        found, expected = stream.feed(1)
        error[centring] = mx.abs(found - expected).mean().item()
    assert error["mean"] < 0.1 * error["none"]


@pytest.mark.parametrize("bits", [(4, 4), (0, 3), (8, 0)])
def test_a_prompt_cache_survives_mlx_lms_own_files(tmp_path, bits):
    stream = Stream(TurboKVCache(bits[1], bits[0], first_tokens=3, seed=7))
    stream.feed(200)
    stream.feed(3)
    empty = TurboKVCache(4)
    save_prompt_cache(str(tmp_path / "c.safetensors"), [stream.cache, empty])
    loaded, untouched = load_prompt_cache(str(tmp_path / "c.safetensors"))
    assert (loaded.store.settings, loaded.offset) == (stream.cache.store.settings, 203)
    assert untouched.empty()
    state = copy.deepcopy(stream.random.bit_generator.state)
    expected, _ = stream.feed(60)
    stream.random.bit_generator.state = state
    stream.cache = loaded
    found, _ = stream.feed(60, mask="causal")
    assert_near(found, expected, atol=0)


@pytest.mark.slow
@given(
    steps=st.lists(st.sampled_from([1, 5, 60, 97, 150]), min_size=1, max_size=5),
    bits=st.sampled_from([(4, 4), (0, 3), (8, 0), (2, 6)]),
    options=st.fixed_dictionaries(
        {
            "first_tokens": st.sampled_from([0, 4]),
            "compress_from": st.sampled_from([0, 120]),
            "key_centring": st.sampled_from(["mean", "none"]),
            "seed": st.integers(0, 1000),
        }
    ),
    dtype=st.sampled_from([mx.float16, mx.bfloat16, mx.float32]),
)
@settings(max_examples=25, deadline=None)
def test_what_comes_back_from_a_state_goes_on_as_the_cache_would(steps, bits, options, dtype):
    stream = Stream(TurboKVCache(bits[1], bits[0], **options), dtype=dtype)
    for length in steps:
        stream.feed(length)
    again = TurboKVCache.from_state(stream.cache.state)
    assert again.store.settings == stream.cache.store.settings
    assert (again.offset, again.nbytes) == (stream.cache.offset, stream.cache.nbytes)
    kept = copy.deepcopy(stream.random.bit_generator.state)
    expected = [stream.feed(length)[0] for length in (1, 100, 2)]
    stream.random.bit_generator.state, stream.cache = kept, again
    for length, exact in zip((1, 100, 2), expected, strict=True):
        assert_near(stream.feed(length)[0], exact, atol=0)


def test_a_copy_goes_its_own_way():
    stream = Stream(TurboKVCache(**FINE))
    stream.feed(150)
    kept = copy.deepcopy(stream.cache)
    before = [np.array(a) for a in kept.store.arrays]
    for length in (100, 1, 1):
        stream.feed(length)
    assert kept.offset == 150
    for array, expected in zip(kept.store.arrays, before, strict=True):
        np.testing.assert_array_equal(np.array(array), expected)


def test_a_state_of_another_seed_or_version_is_refused_and_the_cache_kept():
    stream = Stream(TurboKVCache(4, seed=1))
    stream.feed(120)
    other = TurboKVCache(4, seed=2)
    with pytest.raises(StateError, match="seed=1"):
        other.state = stream.cache.state
    with pytest.raises(StateError, match="version"):
        stream.cache.state = {**stream.cache.state, "version": 99}
    with pytest.raises(StateError, match="damaged"):
        stream.cache.state = {**stream.cache.state, "sides": 3}
    assert (other.offset, stream.cache.offset) == (0, 120)
    stream.feed(1)


def fill(cache, keys):
    """Push the same tokens until the first of them leave the tail."""
    for _ in range(4):
        cache.update_and_fetch(keys, mx.ones_like(keys))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("length", [48, 200])
def test_what_is_not_finite_is_refused_and_the_cache_kept(bad, length):
    stream = Stream(TurboKVCache(**FINE))
    stream.feed(90)
    keys = mx.zeros((1, 2, length, DIM))
    keys[0, 0, 0, 0] = bad
    for _ in range(2):
        with pytest.raises(NotFiniteError):
            fill(stream.cache, keys)
        stream.cache.trim(stream.cache.offset - 90)
        assert_near(*stream.feed(1))
        stream.cache.trim(1)
        stream.stock.trim(1)


@pytest.mark.parametrize(
    "wrong", [{"bits": 5}, {"bits": 0, "key_bits": 0}, {"tail_tokens": 1}, {"first_tokens": -1}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"not offered|both 0|at least 2|negative"):
        TurboKVCache(**wrong)


def test_keys_that_do_not_fit_are_refused_and_the_cache_kept():
    stream = Stream(TurboKVCache(4))
    stream.feed(10)
    with pytest.raises(ValueError, match="do not fit"):
        stream.cache.update_and_fetch(mx.zeros((1, 3, 1, DIM)), mx.zeros((1, 3, 1, DIM)))
    assert stream.cache.offset == 10


@pytest.mark.parametrize("dim", [63, 4])
def test_a_head_dimension_that_cannot_be_rotated_is_refused_and_the_cache_kept(dim):
    cache, kv = TurboKVCache(4), mx.zeros((1, 1, 200, dim))
    with pytest.raises(ValueError, match="must be even"):
        cache.update_and_fetch(kv, kv)
    assert cache.empty()
    Stream(cache).feed(200)
    assert cache.offset == 200


@pytest.mark.slow
@pytest.mark.parametrize("array", [False, True])
def test_blocks_of_a_long_prompt_see_what_they_should(array):
    stream = Stream(TurboKVCache(**FINE))
    stream.feed(200)
    mask = stream.cache.make_mask(1100, return_array=array)
    assert_near(*stream.feed(1100, mask))


@pytest.mark.slow
def test_a_long_prompt_never_makes_its_whole_matrix_of_scores():
    cache, heads, length, chunks = TurboKVCache(4), 4, 1024, 8
    for _ in range(chunks):
        kv = mx.random.normal((1, 1, length, DIM)).astype(mx.float16)
        view, _ = cache.update_and_fetch(kv, kv)
    queries = mx.random.normal((1, heads, length, DIM)).astype(mx.float16)
    mx.eval(queries, cache.state)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(mx.fast.scaled_dot_product_attention(queries, view, view, scale=0.125, mask="causal"))
    matrix = 4 * heads * length * chunks * length
    assert mx.get_peak_memory() - before < 0.6 * matrix


def test_unhooked_mlx_refuses_a_view_instead_of_guessing():
    cache = TurboKVCache(4)
    kv = mx.zeros((1, 1, 4, DIM))
    view, _ = cache.update_and_fetch(kv, kv)
    unpatch_mlx_lm()
    with pytest.raises(TypeError):
        mx.fast.scaled_dot_product_attention(kv, view, view, scale=1.0)


class FourLayers:
    layers = (None,) * 4


@pytest.mark.parametrize(("boundary", "kinds"), [(0, "TTTT"), (1, "KTTK")])
def test_boundary_layers_stay_as_the_model_makes_them(boundary, kinds):
    caches = make_cache(FourLayers(), boundary_layers=boundary)
    assert "".join(type(cache).__name__[0] for cache in caches) == kinds


def test_layers_may_have_bits_of_their_own():
    caches = make_cache(FourLayers(), key_bits=3, value_bits=2, layer_bits=[(1, 8, 4), (3, 6, 6)])
    told = [cache.store.settings for cache in caches]
    assert [(one.key_bits, one.value_bits) for one in told] == [(3, 2), (8, 4), (3, 2), (6, 6)]
    assert describe(caches)["layer_bits"] == [[3, 2], [8, 4], [3, 2], [6, 6]]
    assert "layer_bits" not in describe(make_cache(FourLayers()))
    again = [TurboKVCache.from_state(copy.deepcopy(cache).state) for cache in filled(caches)]
    assert [cache.store.settings for cache in again] == told


def filled(caches):
    for cache in caches:
        cache.update_and_fetch(*[mx.random.normal((1, 1, 200, DIM))] * 2)
    return caches


@pytest.mark.parametrize(("boundary", "layer"), [(0, 4), (1, 0)])
def test_bits_of_a_layer_that_is_not_compressed_are_refused(boundary, layer):
    with pytest.raises(ValueError, match=f"layer_bits: layer {layer} is not compressed"):
        make_cache(FourLayers(), boundary_layers=boundary, layer_bits=[(layer, 8, 8)])


def test_compressing_no_layer_at_all_is_refused():
    with pytest.raises(ValueError, match="no layer to compress"):
        make_cache(FourLayers(), boundary_layers=2)


def test_mlx_lms_own_trim_works_on_a_whole_prompt_cache():
    caches = make_cache(FourLayers())
    for cache in caches:
        Stream(cache).feed(120)
    assert trim_prompt_cache(caches, 100) == 100
    assert len(make_prompt_cache(FourLayers())) == len(caches)


def test_delegated_mode_attends_to_a_decoded_prompt_and_saves_nothing():
    delegated, compact = (
        make_cache(FourLayers(), key_bits=4, value_bits=4, mode=mode)
        for mode in ("delegated", "compact")
    )
    stream = Stream(delegated[0], dtype=mx.float16)
    stream.feed(300)
    found, expected = stream.feed(1)
    assert 0 < mx.abs(found - expected).max().item() < 0.5
    assert describe(delegated)["mode"] == "delegated"
    assert describe(delegated)["attention_path"] == "stock"
    assert delegated[0].nbytes > stream.stock.nbytes
    again = type(delegated[0]).from_state(delegated[0].state)
    assert again.offset == 301
    assert delegated[0].trim(40) == 40
    assert_near(*Stream(compact[0]).feed(5), atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [(0, 4), (8, 4), (6, 0), (4, 4), (3, 2)])
@pytest.mark.parametrize("dim", [64, 80])
def test_nbytes_is_what_the_allocator_holds(bits, dim):
    def filled():
        cache = TurboKVCache(bits[1], bits[0])
        for length in (512, 512, 1, 1):
            new = mx.random.normal((1, 32, length, dim)).astype(mx.float16)
            cache.update_and_fetch(new, new)
            mx.eval(cache.state)
        return cache

    filled()  # what all caches of a process share
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    cache = filled()
    mx.clear_cache()
    assert mx.get_active_memory() - before == pytest.approx(cache.nbytes, rel=0.01)
