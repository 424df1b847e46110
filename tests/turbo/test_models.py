import copy
from pathlib import Path

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from mlx_lm.generate import (
    BatchGenerator,
    batch_generate,
    generate_step,
    speculative_generate_step,
)
from mlx_lm.models.cache import KVCache, LRUPromptCache, make_prompt_cache

import worker.models
from decoded_cache import DecodedCache
from tiny_models import CONFIGS, Tokenizer, tiny_model, tokens
from worker.turbo import (
    TurboKVCache,
    compact_turbo_cache,
    describe,
    make_cache,
    make_turbo_cache,
    unpatch_mlx_lm,
)

REFERENCE = Path(worker.models.__file__).parent / "reference"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    unpatch_mlx_lm()


def with_kind(model, kind, **settings):
    """Return the model's caches with the plain ones replaced."""
    caches = make_prompt_cache(model)
    return [kind(**settings) if type(c) is KVCache else c for c in caches]


def logits(model, cache, count=300):
    """Run a long prompt, single tokens, a chunk of four and a longer one."""
    ids, at, parts = tokens(count), 0, []
    for length in (200, *[1] * 60, 4, count - 264):
        parts.append(model(ids[:, at : at + length], cache=cache))
        at += length
    return np.array(mx.concatenate(parts, axis=1)[0])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("bits", [(4, 4), (0, 3)])
def test_every_architecture_attends_to_exactly_what_was_stored(name, bits):
    model = tiny_model(name)
    settings = {"bits": bits[1], "key_bits": bits[0], "tail_tokens": 32}
    found = logits(model, with_kind(model, TurboKVCache, **settings))
    expected = logits(model, with_kind(model, DecodedCache, **settings))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_is_near_fp16_and_smaller(name):
    model = tiny_model(name)
    stock, turbo = make_prompt_cache(model), make_cache(model, key_bits=8, value_bits=6)
    error = np.abs(logits(model, turbo) - logits(model, stock))
    assert error.mean() < 0.03
    plain = [s.nbytes for s, t in zip(stock, turbo, strict=True) if isinstance(t, TurboKVCache)]
    packed = [t.nbytes for t in turbo if isinstance(t, TurboKVCache)]
    assert len(plain) == describe(turbo)["turbo_layers"] > 0
    assert sum(packed) < 0.6 * sum(plain)


def generated(model, cache, prompt, count=40):
    steps = generate_step(prompt, model, max_tokens=count, prompt_cache=cache)
    return [token for token, _ in steps]


def test_the_seeds_quick_starts_work_with_the_import_changed():
    model = tiny_model("qwen2")
    prompt = tokens(200)[0]
    first = [TurboKVCache(bits=4, key_bits=4) for _ in range(len(model.model.layers))]
    assert len(generated(model, first, prompt)) == 40
    second = make_turbo_cache(model, bits=4)
    generated(model, second, prompt, 1)
    compact_turbo_cache(second)
    assert len(generated(model, second, prompt[:5])) == 40
    assert describe(second)["compressed_tokens"] > 190


def test_the_seeds_quick_starts_run_through_mlx_lms_own_load_and_generate(capsys):
    model, tokenizer = mlx_lm.load(str(REFERENCE))
    first = [TurboKVCache(bits=4, key_bits=4) for _ in range(len(model.model.layers))]
    text = mlx_lm.generate(
        model, tokenizer, prompt="Hello!", max_tokens=120, prompt_cache=first, verbose=True
    )
    assert text.strip() in capsys.readouterr().out
    assert describe(first)["compressed_tokens"] > 0
    second = make_turbo_cache(model, bits=4)
    mlx_lm.generate(model, tokenizer, prompt="Hello!", max_tokens=1, prompt_cache=second)
    compact_turbo_cache(second)
    assert describe(second)["raw_tokens"] == second[0].store.settings.first_tokens
    mlx_lm.generate(model, tokenizer, prompt="Continue.", max_tokens=20, prompt_cache=second)
    assert describe(second)["raw_tokens"] > 0


def test_speculative_decoding_gives_the_tokens_of_plain_decoding():
    model, draft = tiny_model("llama"), tiny_model("llama", seed=1)
    prompt = tokens(150)[0]

    def speculated(draft):
        caches = [*make_cache(model, key_bits=8), *make_prompt_cache(draft)]
        steps = speculative_generate_step(
            prompt, model, draft, num_draft_tokens=3, max_tokens=120, prompt_cache=caches
        )
        return [int(token) for token, *_ in steps], caches

    plain = generated(model, make_cache(model, key_bits=8), prompt, 120)
    for drafting in (draft, model):
        found, caches = speculated(drafting)
        assert describe(caches)["compressed_tokens"] > 0
        assert found == plain


def near_fp16(model):
    return make_cache(model, key_bits=8, value_bits=8)


PROMPTS = [tokens(count, seed=count)[0].tolist() for count in (7, 250, 120, 33)]


@pytest.mark.parametrize("name", ["llama", "qwen3_5"])
def test_batch_generation_gives_what_single_generation_gives(name):
    model = tiny_model(name)
    caches = [near_fp16(model) for _ in PROMPTS]
    found = batch_generate(
        model,
        Tokenizer(),
        PROMPTS,
        caches,
        max_tokens=60,
        return_token_ids=True,
        return_prompt_caches=True,
    )
    for prompt, ids, cache in zip(PROMPTS, found.token_ids, found.caches, strict=True):
        expected = generated(model, near_fp16(model), mx.array(prompt), 60)
        assert ids == expected
        assert cache[-1].offset == len(prompt) + 60


def test_sequences_join_and_leave_a_running_batch():
    model = tiny_model("llama")
    counts = [5, 70, 30, 50]
    expected = [
        generated(model, near_fp16(model), mx.array(prompt), count)
        for prompt, count in zip(PROMPTS, counts, strict=True)
    ]
    model.make_cache = lambda: [TurboKVCache(8, 8) for _ in model.layers]
    generator = BatchGenerator(model, completion_batch_size=3, prefill_batch_size=2)
    found = {uid: [] for uid in generator.insert(PROMPTS, counts)}
    while responses := generator.next_generated():
        for response in responses:
            found[response.uid].append(response.token)
    generator.close()
    assert list(found.values()) == expected


def test_histories_merge_and_come_out_again_unchanged():
    model = tiny_model("llama")
    caches = [near_fp16(model) for _ in PROMPTS]
    for prompt, cache in zip(PROMPTS, caches, strict=True):
        model(mx.array([prompt]), cache=cache)
    before = [np.array(a) for cache in caches for a in cache[0].store.arrays]
    batch = caches[0][0].merge([cache[0] for cache in caches])
    batch.filter([3, 1])
    for index, original in enumerate([caches[3][0], caches[1][0]]):
        alone = batch.extract(index)
        assert alone.offset == original.offset
        for found, kept in zip(
            alone.store.view().decoded(), original.store.view().decoded(), strict=True
        ):
            np.testing.assert_allclose(np.array(found), np.array(kept), atol=0.05)
    after = [np.array(a) for cache in caches for a in cache[0].store.arrays]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_servers_prompt_cache_hands_out_copies():
    model = tiny_model("llama")
    history, store = tokens(200)[0].tolist(), LRUPromptCache()
    cache = near_fp16(model)
    model(mx.array([history]), cache=cache)
    store.insert_cache("model", history, cache)
    fetched, rest = store.fetch_nearest_cache("model", history[:150])
    assert (fetched[0].offset, len(rest)) == (149, 1)
    expected = generated(model, near_fp16(model), mx.array(history[:150]), 20)
    assert generated(model, copy.deepcopy(fetched), mx.array(rest), 20) == expected
    assert cache[0].offset == 200


def test_a_batchs_state_makes_the_same_batch_again():
    model = tiny_model("llama")
    caches = [near_fp16(model) for _ in PROMPTS]
    for prompt, cache in zip(PROMPTS, caches, strict=True):
        model(mx.array([prompt]), cache=cache)
    batch = [caches[0][i].merge([cache[i] for cache in caches]) for i in range(len(caches[0]))]
    again = [type(layer).from_state(layer.state) for layer in batch]
    ids = tokens(len(PROMPTS)).reshape(-1, 1)
    expected, found = model(ids, cache=batch), model(ids, cache=again)
    np.testing.assert_array_equal(np.array(found), np.array(expected))
    assert again[0].offset.tolist() == [len(prompt) + 1 for prompt in PROMPTS]
    assert [layer.trim(1) for layer in again] == [1] * len(again)


def test_prompts_padded_on_the_right_are_read_as_if_alone():
    model = tiny_model("llama")
    caches = [near_fp16(model) for _ in PROMPTS]
    batch = [caches[0][i].merge([cache[i] for cache in caches]) for i in range(len(caches[0]))]
    longest = max(map(len, PROMPTS))
    padding = [longest - len(prompt) for prompt in PROMPTS]
    ids = mx.array([prompt + [0] * pad for prompt, pad in zip(PROMPTS, padding, strict=True)])
    for layer in batch:
        layer.prepare(lengths=[len(prompt) for prompt in PROMPTS], right_padding=padding)
    for start in range(0, longest, 100):
        model(ids[:, start : start + 100], cache=batch)
    for layer in batch:
        layer.finalize()
    found = model(mx.full((len(PROMPTS), 1), 3), cache=batch)
    for row, (prompt, cache) in enumerate(zip(PROMPTS, caches, strict=True)):
        expected = model(mx.array([[*prompt, 3]]), cache=cache)[0, -1]
        np.testing.assert_allclose(np.array(found[row, -1]), np.array(expected), atol=0.05)
