"""What other programs do to a cache and to MLX while it is there; cases of public reports."""

import copy
import pickle
import subprocess
import sys
import threading

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.models.cache import KVCache

from tiny_models import tiny_model, tokens
from worker.turbo import (
    BatchTurboKVCache,
    NotFiniteError,
    StateError,
    TurboKVCache,
    make_cache,
    patch_mlx_lm,
    unpatch_mlx_lm,
)

DIM = 64


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    unpatch_mlx_lm()


def kv(length, seed=0, heads=2, batch=1):
    return mx.random.normal((batch, heads, length, DIM), key=mx.random.key(seed))


def pickled(cache):
    return pickle.loads(pickle.dumps(cache))  # noqa: S301  our own


def filled(length, **options):
    cache = TurboKVCache(**options)
    if length:
        cache.update_and_fetch(kv(length), kv(length, 1))
    return cache


def stored(cache):
    return [np.array(x) for x in cache.store.view().decoded()]


def in_a_thread(work):
    """Run it in a thread of its own, which ends; returns what it returned or raises its error."""
    found = {}

    def run():
        try:
            found["result"] = work()
        except BaseException as error:  # noqa: BLE001  raised again below
            found["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in found:
        raise found["error"]
    return found["result"]


def test_a_thread_goes_on_where_one_that_has_ended_began():
    model = tiny_model("llama, head dimension 80")
    ids = tokens(300)[0]
    mx.eval(ids)
    cache = [TurboKVCache(4, 3, seed=1234) for _ in model.layers]  # a codec that nobody built yet

    def read():
        model(ids[None], cache=cache)
        mx.eval([layer.state for layer in cache])

    def go_on():
        steps = generate_step(ids[:3], model, max_tokens=100, prompt_cache=cache)
        return [token for token, _ in steps]

    in_a_thread(read)
    assert len(in_a_thread(go_on)) == 100


@pytest.mark.parametrize("bits", [(4, 4), (0, 4), (8, 3)])
@pytest.mark.parametrize("lengths", [(5, 90), (300, 2), (0, 50, 130)])
def test_what_was_in_a_batch_comes_out_with_its_settings_and_joins_again(bits, lengths):
    caches = [filled(n, bits=bits[1], key_bits=bits[0], tail_tokens=32) for n in lengths]
    batch = caches[0].merge(caches)
    for row, cache in enumerate(caches):
        out = batch.extract(row)
        assert out.store.settings == cache.store.settings
        assert out.offset == cache.offset
        fresh = filled(40, bits=bits[1], key_bits=bits[0], tail_tokens=32)
        assert fresh.merge([fresh, out]).offset.tolist() == [40, out.offset]


def test_first_tokens_are_as_they_were_after_a_batch():
    caches = [filled(n, bits=2) for n in (300, 120)]
    batch = caches[0].merge(caches)
    batch.filter([1, 0])
    for row, cache in enumerate(reversed(caches)):
        for found, expected in zip(stored(batch.extract(row)), stored(cache), strict=True):
            np.testing.assert_array_equal(found[:, :, :4], expected[:, :, :4])


def test_a_prefix_hit_joins_a_fresh_request_in_the_generator():
    model = tiny_model("llama")
    model.make_cache = lambda: [TurboKVCache(4, 4, tail_tokens=16) for _ in model.layers]
    prompts = [tokens(60)[0].tolist(), tokens(80, 1)[0].tolist()]
    generator = BatchGenerator(model, completion_batch_size=4, prefill_batch_size=4)
    generator.insert(prompts[:1], [5])
    while responses := generator.next_generated():
        if responses[0].finish_reason:
            kept = (responses[0].prompt_cache, responses[0].all_tokens)
    uids = generator.insert(
        [[7, 8, 9], prompts[1]], [5, 5], caches=[kept[0], None], all_tokens=[kept[1], []]
    )
    found = dict.fromkeys(uids, 0)
    while responses := generator.next_generated():
        for response in responses:
            found[response.uid] += 1
    generator.close()
    assert list(found.values()) == [5, 5]


def test_a_short_sequence_is_stored_beside_a_long_one_as_well_as_alone():
    bias, x = 100 * kv(1, 9, heads=1), kv(200, heads=1, batch=2)

    def error(lengths):
        caches = [TurboKVCache(4) for _ in lengths]
        for row, (cache, length) in enumerate(zip(caches, lengths, strict=True)):
            cache.update_and_fetch(
                x[row : row + 1, :, :length] + bias, x[row : row + 1, :, :length]
            )
        batch = caches[0].merge(caches)
        for at in range(100, 200):
            new = x[: len(lengths), :, at : at + 1]
            batch.update_and_fetch(new + bias, new)
        keys = batch.extract(0).store.view().decoded()[0]
        return mx.abs(keys[:, :, 5:55] - (x[:1, :, 100:150] + bias)).mean().item()

    assert error([5, 90]) < 1.2 * error([5])


def test_mlxs_attention_keeps_its_names_for_others():
    patch_mlx_lm()
    x = kv(5)
    attention = mx.fast.scaled_dot_product_attention
    found = attention(q=x, k=x, v=x, scale=1.0)
    assert mx.allclose(found, attention(x, x, x, scale=1.0, mask=None, sinks=None))


def test_a_wrapper_that_came_later_stays_in_place():
    patch_mlx_lm()
    ours, calls = mx.fast.scaled_dot_product_attention, []

    def theirs(*args, **options):
        calls.append(args)
        return ours(*args, **options)

    mx.fast.scaled_dot_product_attention = theirs
    try:
        cache = filled(0)
        views = cache.update_and_fetch(kv(200), kv(200))
        assert mx.fast.scaled_dot_product_attention is theirs
        mx.eval(mx.fast.scaled_dot_product_attention(kv(200), *views, scale=1.0, mask="causal"))
        assert len(calls) == 1
        unpatch_mlx_lm()
        assert mx.fast.scaled_dot_product_attention is theirs
        assert mx.fast.scaled_dot_product_attention(kv(3), kv(3), kv(3), scale=1.0).shape == (
            1,
            2,
            3,
            64,
        )
        with pytest.raises(TypeError):
            mx.fast.scaled_dot_product_attention(kv(1), *views, scale=1.0)
        patch_mlx_lm()
        mx.eval(mx.fast.scaled_dot_product_attention(kv(1), *views, scale=1.0))
    finally:
        mx.fast.scaled_dot_product_attention = ours


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("layer", [0, 2, 3])
@pytest.mark.parametrize("touch", ["state", "append"])
def test_a_chunk_that_is_bad_in_one_layer_is_refused_in_all(bad, layer, touch):
    caches = make_cache(FourLayers())
    feed(caches, 200)
    before = [stored(cache) for cache in caches]
    feed(caches, 300, {layer: bad})
    with pytest.raises(NotFiniteError):
        used(caches, touch)
    assert [cache.offset for cache in caches] == [200] * 4
    for cache, expected in zip(caches, before, strict=True):
        for found, array in zip(stored(cache), expected, strict=True):
            np.testing.assert_array_equal(found, array)
    feed(caches, 300)
    assert [c.offset for c in caches] == [500] * 4
    assert all(mx.isfinite(x).all() for cache in caches for x in cache.store.view().decoded())


def test_a_first_chunk_that_is_bad_leaves_an_empty_cache():
    caches = make_cache(FourLayers())
    feed(caches, 300, {3: float("nan")})
    with pytest.raises(NotFiniteError):
        mx.eval([cache.state for cache in caches])
    assert all(cache.empty() and cache.offset == 0 for cache in caches)


def test_layers_stay_in_step_when_one_decoded_something_bad():
    caches = make_cache(FourLayers())
    feed(caches, 90)
    feed(caches, 1, {2: float("nan")})
    with pytest.raises(NotFiniteError):
        decode(caches, 300)
    assert len({cache.offset for cache in caches}) == 1
    for cache in caches:
        cache.trim(cache.offset - 90)
    feed(caches, 200)
    assert all(mx.isfinite(x).all() for cache in caches for x in cache.store.view().decoded())


def test_a_step_that_packs_twice_is_refused_in_all_layers_as_one():
    caches = make_cache(FourLayers(), tail_tokens=8)
    feed(caches, 200)
    feed(caches, 6)
    before = [stored(cache) for cache in caches]
    feed(caches, 8, {2: float("nan")})
    with pytest.raises(NotFiniteError):
        mx.eval([cache.state for cache in caches])
    assert {cache.offset for cache in caches} == {214}
    for cache, expected in zip(caches, before, strict=True):
        cache.trim(8)
        for found, array in zip(stored(cache), expected, strict=True):
            np.testing.assert_array_equal(found, array)


def test_what_is_bad_in_another_cache_is_not_this_ones_fault():
    ours, theirs = make_cache(FourLayers()), make_cache(FourLayers())
    feed(ours, 200)
    feed(theirs, 300, {1: float("nan")})
    mx.eval([cache.state for cache in ours])
    feed(ours, 1)
    with pytest.raises(NotFiniteError):
        mx.eval([cache.state for cache in theirs])
    assert [c.offset for c in ours + theirs] == [201] * 4 + [0] * 4


def test_what_is_bad_in_a_batch_stays_with_its_sequence():
    keys, values = kv(300, batch=3), kv(300, 1, batch=3)
    spoilt = mx.where(mx.arange(3)[:, None, None, None] == 1, float("nan"), keys)
    good, bad = (BatchTurboKVCache.merge([TurboKVCache() for _ in range(3)]) for _ in "gb")
    queries = kv(300, 2, heads=4, batch=3)
    for cache, k in ((good, keys), (bad, spoilt)):
        cache.update_and_fetch(k, values)
    masks = [cache.make_mask(1) for cache in (good, bad)]
    found = [
        np.array(
            mx.fast.scaled_dot_product_attention(
                queries[:, :, :1],
                *cache.update_and_fetch(k[:, :, :1], values[:, :, :1]),
                scale=0.125,
                mask=mask,
            )
        )
        for cache, k, mask in zip((good, bad), (keys, spoilt), masks, strict=True)
    ]
    np.testing.assert_array_equal(found[0][[0, 2]], found[1][[0, 2]])
    assert np.isnan(found[1][1]).all()
    bad.filter([0, 2])
    assert all(mx.isfinite(x).all() for x in bad.store.view().decoded())


def used(caches, touch):
    if touch == "state":
        mx.eval([cache.state for cache in caches])
    else:
        feed(caches, 1)


def decode(caches, steps):
    for _ in range(steps):
        feed(caches, 1)


class FourLayers:
    layers = (None,) * 4


def feed(caches, length, bad=None):
    for at, cache in enumerate(caches):
        keys = kv(length, at)
        if at in (bad or {}):
            keys[0, 1, length // 2, 5] = bad[at]
        cache.update_and_fetch(keys, kv(length, at + 10))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("kind", ["one", "batch"])
def test_a_copy_of_any_kind_goes_its_own_way(copied, kind):
    cache = filled(150, bits=4)
    if kind == "batch":
        cache = cache.merge([cache, filled(20, bits=4)])
    rows = 2 if kind == "batch" else 1
    before = stored(cache)
    other = copied(cache)
    for _ in range(100):
        other.update_and_fetch(kv(1, batch=rows), kv(1, batch=rows))
    assert [cache.store.length, other.store.length] == [150, 250]
    for found, expected in zip(stored(cache), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_a_pickle_is_hooked_where_it_is_opened(tmp_path):
    path = tmp_path / "cache.pickle"
    path.write_bytes(pickle.dumps(filled(150)))
    script = f"""
import pickle, mlx.core as mx
cache = pickle.load(open({str(path)!r}, "rb"))
views = cache.update_and_fetch(mx.ones((1, 2, 1, 64)), mx.ones((1, 2, 1, 64)))
print(mx.fast.scaled_dot_product_attention(mx.ones((1, 2, 1, 64)), *views, scale=1.0).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(1, 2, 1, 64)"


def changed(state, path, value):
    *parents, last = path
    state = {**state}
    at = state
    for part in parents:
        at[part] = list(at[part]) if isinstance(at[part], list) else {**at[part]}
        at = at[part]
    at[last] = value
    return state


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("mean",), None),
        (("mean",), mx.zeros((1, 2, 32))),
        (("layout", "packed"), 5000),
        (("layout", "packed"), -3),
        (("layout", "packed"), None),
        (("layout", "packed"), 2.0),
        (("layout", "tail"), 90),
        (("layout", "first"), 9),
        (("layout", "padding"), mx.zeros(7)),
        (("sides", 0, "scales"), None),
        (("sides", 0, "along"), None),
        (("sides", 1, "codes"), mx.zeros((1, 2, 300, 3), dtype=mx.uint32)),
        (("sides", 1, "raw"), mx.zeros((1, 3, 100, 64))),
        (("sides",), None),
        (("settings", "value_bits"), 5),
        (("settings",), None),
        (("version",), 1),
    ],
)
def test_a_state_that_lies_is_refused_and_the_cache_kept(path, value):
    cache = filled(150, bits=4)
    state, before = cache.state, stored(cache)
    with pytest.raises(StateError):
        cache.state = changed(state, path, value)
    with pytest.raises(StateError):
        TurboKVCache.from_state(changed(state, path, value))
    assert cache.offset == 150
    for found, expected in zip(stored(cache), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_state_of_the_format_before_says_what_to_do():
    cache = filled(150)
    with pytest.raises(StateError, match="version 1 wrote this state, this one is of version 2"):
        cache.state = {**cache.state, "version": 1}


def test_kv_bits_beside_a_turbo_cache_are_refused():
    model = tiny_model("llama")
    for boundary in (0, 1):
        cache = make_cache(model, boundary_layers=boundary)
        steps = generate_step(
            tokens(50)[0], model, max_tokens=3, prompt_cache=cache, kv_bits=4, quantized_kv_start=0
        )
        with pytest.raises(ValueError, match="kv_bits=4 .* leave kv_bits out"):
            list(steps)


def test_boundary_layers_are_what_mlx_lm_makes_in_all_else():
    kept = make_cache(FourLayers(), boundary_layers=1)[0]
    assert isinstance(kept, KVCache)
    kept.update_and_fetch(kv(10), kv(10))
    assert kept.merge([kept]).size() == 10


def test_the_delegated_mode_is_not_silently_something_else_in_a_batch():
    (cache, *_) = make_cache(FourLayers(), mode="delegated")
    with pytest.raises(ValueError, match="has no batches"):
        cache.merge([cache])


@pytest.mark.slow
@given(
    steps=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=60),
    bits=st.sampled_from([(4, 4), (0, 4), (8, 0)]),
    options=st.sampled_from(
        [
            {"tail_tokens": 2, "first_tokens": 0},  # four compressions amid one step
            {"tail_tokens": 3},
            {"tail_tokens": 8},
            {"tail_tokens": 16},
            {"tail_tokens": 12, "compress_from": 50},
        ]
    ),
    prompt=st.sampled_from([1, 30, 200]),
)
@settings(max_examples=50, deadline=None)
def test_rejected_drafts_leave_no_trace(steps, bits, options, prompt):
    """What is stored is what single tokens would have stored, bit for bit."""
    drafted, plain = (TurboKVCache(bits[1], bits[0], **options) for _ in "dp")
    tokens = kv(prompt + 500)
    for cache in (drafted, plain):
        cache.update_and_fetch(tokens[:, :, :prompt], tokens[:, :, :prompt])
    at = prompt
    for length, wanted in steps:
        accepted = min(length, wanted)
        right, wrong = tokens[:, :, at : at + accepted], kv(length - accepted + 1, at)[:, :, 1:]
        new = mx.concatenate([right, wrong], axis=2)
        drafted.update_and_fetch(new, new)
        drafted.trim(length - accepted)
        for i in range(accepted):
            plain.update_and_fetch(right[:, :, i : i + 1], right[:, :, i : i + 1])
        at += accepted
        assert drafted.store.layout == plain.store.layout
    for found, expected in zip(stored(drafted), stored(plain), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@given(length=st.integers(2, 8), before=st.integers(85, 110), tail=st.sampled_from([2, 5, 8, 96]))
@settings(max_examples=25, deadline=None)
def test_drafts_see_what_single_tokens_would_see(length, before, tail):
    drafted, plain = (TurboKVCache(4, 4, tail_tokens=tail) for _ in "dp")
    keys, values, queries = kv(200), kv(200, 1), kv(200, 2, heads=4)

    def attend(cache, start, stop):
        part = slice(start, stop)
        views = cache.update_and_fetch(keys[:, :, part], values[:, :, part])
        return mx.fast.scaled_dot_product_attention(
            queries[:, :, part], *views, scale=0.125, mask="causal"
        )

    for at in range(before):
        attend(drafted, at, at + 1)
        attend(plain, at, at + 1)
    found = attend(drafted, before, before + length)
    singles = [attend(plain, at, at + 1) for at in range(before, before + length)]
    expected = mx.concatenate(singles, axis=2)
    np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-5)
