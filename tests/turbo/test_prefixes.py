"""The cache of prompts with a folder behind it: what it gives, what it keeps, what it survives."""

import copy
import fcntl
import resource
import shutil
import tempfile
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import (
    KVCache,
    RotatingKVCache,
    save_prompt_cache,
    trim_prompt_cache,
)

from tiny_models import VOCABULARY, tiny_model
from worker.models import REFERENCE, loading
from worker.text import corpus
from worker.turbo import make_cache, unpatch_mlx_lm
from worker.turbo.serving.folder import Folder
from worker.turbo.serving.prefixes import Prefixes

GB = 10**9


@pytest.fixture(autouse=True)
def mlx_as_it_was():
    yield
    unpatch_mlx_lm()


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


@pytest.fixture(scope="module")
def reference():
    return loading.load(str(REFERENCE))


def ids(count, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, count).tolist()


def read(model, tokens, cache=None):
    """Let a model read tokens; returns its cache."""
    cache = make_cache(model, key_bits=4) if cache is None else cache
    mx.eval(model(mx.array([tokens]), cache=cache))
    return cache


def same(one, other):
    """Tell whether two prompt caches hold the same numbers."""
    pairs = [dict(tree_flatten([layer.state for layer in cache])) for cache in (one, other)]
    assert pairs[0].keys() == pairs[1].keys()
    return all(np.array_equal(*(np.asarray(pair[name]) for pair in pairs)) for name in pairs[0])


def kept(folder, model, *prompts):
    """Save the states of prompts; returns a cache of prompts that a restart would have."""
    prefixes = Prefixes(10, Folder(folder, GB))
    for prompt in prompts:
        prefixes.insert_cache("model", prompt, read(model, prompt))
    prefixes.close()
    return Prefixes(10, Folder(folder, GB))


def files(folder):
    return sorted(folder.glob("turbo-kv-*.safetensors"))


def test_a_restart_gives_the_very_state_back(model, tmp_path):
    prompt = ids(300)
    prefixes = kept(tmp_path, model, prompt)
    cache, rest = prefixes.fetch_nearest_cache("model", [*prompt, 5, 6])
    assert rest == [5, 6]
    assert same(cache, read(model, prompt))


edits = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 200), st.booleans()), min_size=1, max_size=6
)


@pytest.mark.slow
@settings(max_examples=10)
@given(edits)
def test_a_hit_is_the_very_state_that_an_earlier_prompt_left(model, turns):
    """Each turn keeps so many tokens of the conversation, adds some, and may follow a restart."""
    with tempfile.TemporaryDirectory() as name:
        prefixes = Prefixes(99, Folder(Path(name), GB))
        talk, left = ids(150, seed=1), []
        for i, (stay, more, restart) in enumerate(turns):
            talk = talk[: max(stay, 1)] + ids(more, seed=i)
            if restart:
                prefixes.close()
                prefixes = Prefixes(99, Folder(Path(name), GB))
            found, rest = prefixes.fetch_nearest_cache("model", talk)
            held = len(talk) - len(rest)
            assert held > best(talk, left) - 128
            assert not held or any(same(found, state) for state in trimmed(left, talk[:held]))
            cache = read(model, rest, found)
            left.append((talk, copy.deepcopy(cache)))
            prefixes.insert_cache("model", talk, cache)


def best(talk, left):
    """Count the tokens that the best of the states serves, of those worth a file."""
    shared = [common(tokens, talk) for tokens, _ in left if len(tokens) > 127]
    return min(max(shared, default=0), len(talk) - 1)


def common(one, other):
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def trimmed(left, prefix):
    for tokens, cache in left:
        if tokens[: len(prefix)] == prefix:
            state = copy.deepcopy(cache)
            trim_prompt_cache(state, len(tokens) - len(prefix))
            yield state


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_hit_answers_what_a_fresh_prompt_answers(reference, tmp_path, seed):
    """Where a prompt was cut decides what is packed when, so a near tie may fall otherwise."""
    model, tokenizer = reference
    told = corpus.text(seed, 30).split(" . ")
    prefixes = Prefixes(10, Folder(tmp_path, GB))
    rng = np.random.default_rng(seed)
    compared = 0
    for turn in range(4):
        told[rng.integers(len(told)) :] = corpus.text(10 * seed + turn, 12).split(" . ")
        prompt = tokenizer.encode(" . ".join(told))
        cache, rest = prefixes.fetch_nearest_cache("model", prompt)
        cache = cache or make_cache(model)
        said = [token for token, _ in answer(model, rest, cache)]
        fresh = answer(model, prompt, make_cache(model))
        clear = [token for token, _ in takewhile(lambda step: step[1] > NEAR, fresh)]
        assert said[: len(clear)] == clear
        compared += len(clear)
        prefixes.insert_cache("model", prompt + said, cache)
        if turn % 2:
            prefixes.close()
            prefixes = Prefixes(10, Folder(tmp_path, GB))
    assert compared >= 8


NEAR = 0.1  # nats between the two likeliest tokens


def answer(model, prompt, cache):
    """Return eight tokens, each with how much likelier it was than the next."""
    steps = generate_step(mx.array(prompt), model, max_tokens=8, prompt_cache=cache)
    return [(int(token), clearness(logprobs)) for token, logprobs in steps]


def clearness(logprobs):
    second, first = mx.sort(logprobs)[-2:].tolist()
    return first - second


def test_a_prompt_whose_state_is_whole_still_has_a_token_to_ask(model):
    prefixes = Prefixes(10)
    prompt = ids(300)
    prefixes.insert_cache("model", prompt, read(model, prompt))
    cache, rest = prefixes.fetch_nearest_cache("model", prompt)
    assert rest == prompt[-1:]
    assert cache[0].offset == 299
    prefixes.insert_cache("window", [1, 2, 3], [full_window()])
    assert prefixes.fetch_nearest_cache("window", [1, 2, 3]) == (None, [1, 2, 3])


def full_window():
    cache = RotatingKVCache(2)
    for _ in range(3):
        cache.update_and_fetch(mx.zeros((1, 1, 1, 8)), mx.zeros((1, 1, 1, 8)))
    return cache


def test_the_longer_state_of_a_conversation_replaces_the_shorter_on_disk(model, tmp_path):
    prompt = ids(400)
    kept(tmp_path, model, prompt[:300])
    (first,) = files(tmp_path)
    kept(tmp_path, model, prompt)
    (second,) = files(tmp_path)
    assert first != second


def test_the_longest_unused_state_makes_room(model, tmp_path):
    prompts = [ids(300, seed) for seed in range(3)]
    size = sum(layer.nbytes for layer in read(model, prompts[0]))
    folder = Folder(tmp_path, int(2.5 * size))
    for prompt in prompts[:2]:
        folder.save("0" * 16, prompt, read(model, prompt))
    folder.load(folder.find("0" * 16, prompts[0]))
    folder.save("0" * 16, prompts[2], read(model, prompts[2]))
    assert [folder.find("0" * 16, prompt) is None for prompt in prompts] == [False, True, False]


def test_a_state_larger_than_the_limit_is_not_written(model, tmp_path, caplog):
    Folder(tmp_path, 1000).save("0" * 16, ids(300), read(model, ids(300)))
    assert files(tmp_path) == []
    assert "too large" in caplog.text


def test_two_that_write_at_once_keep_to_the_limit_together(model, tmp_path, monkeypatch):
    old, *both = [ids(300, seed) for seed in range(3)]
    caches = [read(model, prompt) for prompt in both]
    limit = int(2.5 * sum(layer.nbytes for layer in caches[0]))
    one, other = (Folder(tmp_path, limit) for _ in range(2))
    one.save("0" * 16, old, read(model, old))
    place = "worker.turbo.serving.folder.save_prompt_cache"

    def amid(*asked):
        monkeypatch.setattr(place, save_prompt_cache)
        other.save("0" * 16, both[1], caches[1])
        save_prompt_cache(*asked)

    monkeypatch.setattr(place, amid)
    one.save("0" * 16, both[0], caches[0])
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= limit
    assert [one.find("0" * 16, prompt) is None for prompt in (old, *both)] == [True, False, False]


def test_what_a_killed_server_left_is_cleared_away_and_what_another_writes_is_not(model, tmp_path):
    left, written = (tmp_path / f"turbo-kv-partial-9-{name * 32}" for name in "ab")
    left.touch()
    with written.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept(tmp_path, model, ids(300))
        assert (left.exists(), written.exists()) == (False, True)


def test_states_of_other_models_and_settings_are_not_found(model, tmp_path):
    folder = Folder(tmp_path, GB)
    folder.save("0" * 16, ids(300), read(model, ids(300)))
    assert folder.find("0" * 16, ids(300)) is not None
    assert folder.find("1" * 16, ids(300)) is None


@pytest.mark.parametrize("damage", ["one bit", "cut", "no head", "empty"])
def test_a_damaged_file_is_skipped_with_a_word(model, tmp_path, caplog, damage):
    prompt = ids(300)
    kept(tmp_path, model, prompt)
    (file,) = files(tmp_path)
    content = bytearray(file.read_bytes())
    content[-9] ^= 4
    damaged = {"one bit": content, "cut": content[:-100], "no head": b"\xff" * 90, "empty": b""}
    file.write_bytes(damaged[damage])
    prefixes = Prefixes(10, Folder(tmp_path, GB))
    for _ in range(2):
        assert prefixes.fetch_nearest_cache("model", [*prompt, 1]) == (None, [*prompt, 1])
    assert [record.message.endswith("skipped: damaged") for record in caplog.records] == [True]


def test_a_foreign_file_is_skipped_with_a_word_and_stays(model, tmp_path, caplog):
    (tmp_path / "notes.txt").write_text("mine")
    prompt = ids(300)
    prefixes = kept(tmp_path, model, prompt)
    assert prefixes.fetch_nearest_cache("model", [*prompt, 1])[1] == [1]
    assert "notes.txt in the disk cache skipped: foreign" in caplog.text
    Folder(tmp_path, 1)._make_room(0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_no_request(model, tmp_path, caplog):
    prompt = ids(300)
    prefixes = Prefixes(10, Folder(tmp_path, GB))
    with files_of_at_most(20_000):
        prefixes.insert_cache("model", prompt, read(model, prompt))
        prefixes.close()
    assert "a state was not saved" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert prefixes.fetch_nearest_cache("model", [*prompt, 1])[1] == [1]


def test_a_folder_that_goes_away_costs_no_request(model, tmp_path, caplog):
    prompt = ids(300)
    prefixes = Prefixes(10, Folder(tmp_path / "gone", GB))
    shutil.rmtree(tmp_path / "gone")
    assert prefixes.fetch_nearest_cache("model", prompt) == (None, prompt)
    prefixes.insert_cache("model", prompt, read(model, prompt))
    prefixes.close()
    assert "cannot be read" in caplog.text


def test_two_servers_use_each_others_states(model, tmp_path):
    one, other = (Prefixes(10, Folder(tmp_path, GB)) for _ in range(2))
    prompt = ids(300)
    one.insert_cache("model", prompt, read(model, prompt))
    one.close()
    cache, rest = other.fetch_nearest_cache("model", [*prompt, 1])
    assert rest == [1]
    assert same(cache, read(model, prompt))


def test_a_state_that_another_server_deletes_amid_a_look_is_a_miss(model, tmp_path, caplog):
    prompt = ids(300)
    folder = Folder(tmp_path, GB)
    folder.save("0" * 16, prompt, read(model, prompt))
    state = folder.find("0" * 16, prompt)
    state.path.unlink()
    assert folder.load(state) is None
    assert caplog.messages == []


def test_a_state_is_written_in_a_quiet_second_when_it_has_grown_by_a_quarter(model, tmp_path):
    prefixes = Prefixes(10, Folder(tmp_path, GB))
    prompt = ids(400)

    def quiet(tokens):
        prefixes.insert_cache("model", tokens, read(model, tokens))
        for _ in range(9):
            prefixes.idle()
        before = files(tmp_path)
        prefixes.idle()
        return before, files(tmp_path)

    before, after = quiet(prompt[:300])
    assert (len(before), len(after)) == (0, 1)
    assert quiet(prompt[:350]) == (after, after)
    before, later = quiet(prompt)
    assert before == after
    assert later != after


def test_no_more_states_wait_for_the_disk_than_memory_keeps(model, tmp_path):
    prefixes = Prefixes(2, Folder(tmp_path, GB))
    for seed in range(3):
        prefixes.insert_cache("model", ids(200, seed), read(model, ids(200, seed)))
    assert len(files(tmp_path)) == 1
    prefixes.trim_to(n_bytes=0)
    assert len(files(tmp_path)) == 3


def test_short_prompts_are_not_written(model, tmp_path):
    kept(tmp_path, model, ids(100))
    assert files(tmp_path) == []


def test_caches_of_other_kinds_are_kept_too(tmp_path):
    cache = [KVCache(), full_window()]
    cache[0].update_and_fetch(mx.ones((1, 1, 200, 8)), mx.ones((1, 1, 200, 8)))
    folder = Folder(tmp_path, GB)
    folder.save("0" * 16, ids(200), cache)
    state = folder.find("0" * 16, [*ids(200), 1])
    assert not state.trimmable
    assert folder.find("0" * 16, ids(199)) is None
    assert same(folder.load(state), cache)


def test_images_in_a_prompt_are_part_of_its_name(model, tmp_path):
    prompt = [-(2**59)] * 300
    folder = Folder(tmp_path, GB)
    folder.save("0" * 16, prompt, read(model, ids(300)))
    assert folder.find("0" * 16, [*prompt, 1]).serves(np.array(prompt)) == 300


def test_files_are_for_their_owner_alone(model, tmp_path):
    kept(tmp_path / "states", model, ids(300))
    assert (tmp_path / "states").stat().st_mode & 0o777 == 0o700
    assert files(tmp_path / "states")[0].stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_used_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Folder(tmp_path / "file", GB)
