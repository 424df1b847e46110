import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import pytest
from mlx_vlm import generate
from mlx_vlm.generate.ar import BatchGenerator
from mlx_vlm.models import gemma3
from mlx_vlm.models.cache import KVCache, make_prompt_cache

from decoded_cache import DecodedCache
from tiny_vision import IMAGE_TOKENS, TEXT, VISION, save
from worker.turbo import (
    TurboKVCacheLite,
    compact_turbo_cache,
    describe,
    make_cache,
    unpatch_mlx_lm,
    use,
)

IMAGE_TOKEN, VOCABULARY = 100, 128


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    unpatch_mlx_lm()


@pytest.fixture(scope="module")
def model():
    """Return a random gemma with four layers, every second with a sliding window."""
    mx.random.seed(3)
    config = gemma3.ModelConfig(
        text_config=gemma3.TextConfig(**TEXT | {"vocab_size": VOCABULARY}),
        vision_config=gemma3.VisionConfig(**VISION),
        model_type="gemma3",
        vocab_size=VOCABULARY,
        image_token_index=IMAGE_TOKEN,
        hidden_size=TEXT["hidden_size"],
        eos_token_id=[],
    )
    made = gemma3.Model(config)
    mx.eval(made.parameters())
    return made


class Detokenizer:
    """Ids are their own text."""

    def reset(self):
        self.last_segment = ""

    def add_token(self, token, **_):
        self.last_segment = f"{token} "

    def finalize(self):
        self.last_segment = ""


class Stopping:
    """Nothing stops the generation but the number of tokens."""

    def reset(self, _):
        pass

    def add_eos_token_ids(self, _):
        pass

    def __call__(self, _):
        return False


def picture_prompt(model, cache, count, length=200):
    """Let mlx-vlm's own generate read an image among text and go on; returns the text."""
    ids = mx.random.randint(0, IMAGE_TOKEN, (1, length), key=mx.random.key(5))
    ids[:, 3 : 3 + IMAGE_TOKENS] = IMAGE_TOKEN
    tokenizer = SimpleNamespace(stopping_criteria=Stopping())
    result = generate(
        model,
        SimpleNamespace(tokenizer=tokenizer, detokenizer=Detokenizer()),
        prompt="",
        input_ids=ids,
        pixel_values=mx.random.normal((1, 3, 112, 112), key=mx.random.key(6)),
        mask=mx.ones(ids.shape, dtype=mx.int32),
        prompt_cache=cache,
        max_tokens=count,
    )
    return result.text


def with_kind(model, kind):
    caches = make_prompt_cache(model.language_model)
    return [kind(4, 8) if isinstance(c, KVCache) else c for c in caches]


def test_mlx_vlms_generate_attends_to_exactly_what_was_stored(model):
    turbo = make_cache(model.language_model, key_bits=8, value_bits=4)
    expected = picture_prompt(model, with_kind(model, DecodedCache), 60)
    assert picture_prompt(model, turbo, 60) == expected
    assert describe(turbo)["turbo_layers"] == 2
    assert describe(turbo)["compressed_tokens"] > 100


def test_the_seeds_quick_start_for_mlx_vlm_works(model):
    cache = make_prompt_cache(model.language_model)
    for index in [i for i, c in enumerate(cache) if isinstance(c, KVCache)]:
        cache[index] = TurboKVCacheLite(cache[index], bits=4, key_bits=4)
    picture_prompt(model, cache, 1)
    compact_turbo_cache(cache)
    assert describe(cache)["raw_tokens"] == 4
    assert len(picture_prompt(model, cache, 20).split()) == 20


@pytest.fixture
def told(model):
    """Give a way to tell the model to make turbo caches, until the test is over."""

    def tell(**settings):
        use(model.language_model, **settings)
        return model

    yield tell
    model.language_model.__dict__.pop("make_cache", None)


def test_mlx_vlm_makes_turbo_caches_itself_once_the_language_model_was_told(model, told):
    expected = picture_prompt(model, make_cache(model.language_model, key_bits=4), 40)
    assert picture_prompt(told(key_bits=4), None, 40) == expected


def batched(model, joins=6):
    """Let mlx-vlm's continuous batching answer two prompts, and a third from that step on."""
    tokenizer = SimpleNamespace(stopping_criteria=Stopping())
    processor = SimpleNamespace(tokenizer=tokenizer, detokenizer=Detokenizer())
    generator = BatchGenerator(model.language_model, processor, max_tokens=30)
    texts = [mx.random.randint(0, 100, (n,), key=mx.random.key(n)) for n in (150, 40, 90)]
    given = [model.get_input_embeddings(text[None]).inputs_embeds for text in texts]
    waiting = [(text.tolist(), {"inputs_embeds": x}) for text, x in zip(texts, given, strict=True)]
    said, kinds = {}, set()
    for step in range(100):
        if step in (0, joins):
            count = 2 if step == 0 else 1
            prompts, options = zip(*[waiting.pop(0) for _ in range(count)], strict=True)
            generator.insert([*prompts], prompt_kwargs=[*options])
        _, responses = generator.next()
        for response in responses:
            said.setdefault(response.uid, []).append(int(response.token))
        held = [part.prompt_cache for part in vars(generator).values() if hasattr(part, "uids")]
        kinds |= {type(layer).__name__ for cache in held for layer in cache}
        if step > joins and not responses:
            break
    return said, kinds


def test_mlx_vlms_batches_say_what_they_say_without_us_while_nothing_is_packed(model, told):
    expected, _ = batched(model)
    said, kinds = batched(told(first_tokens=300, tail_tokens=400))
    assert said == expected
    assert "BatchTurboKVCache" in kinds


@pytest.mark.slow
def test_mlx_vlms_batches_attend_to_packed_tokens(model, told):
    expected, _ = batched(model)
    said, kinds = batched(told(key_bits=8, value_bits=8, tail_tokens=16))
    assert "BatchTurboKVCache" in kinds
    assert {uid: len(tokens) for uid, tokens in said.items()} == dict.fromkeys(range(3), 30)
    assert [said[uid][:5] for uid in range(3)] == [expected[uid][:5] for uid in range(3)]


README = Path(__file__).parents[2] / "packages" / "turbo_kv" / "README.md"


@pytest.mark.slow
def test_mlx_vlms_server_answers_with_turbo_caches_by_the_lines_of_the_readme(tmp_path):
    (lines,) = [part for part in README.read_text().split("```") if "mlx_vlm.server" in part]
    named = "import sys, worker.turbo; sys.modules['turbo_kv'] = worker.turbo\n"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    given = ["--model", str(save(tmp_path / "model")), "--host", "127.0.0.1", "--port", port]
    command = [sys.executable, "-c", named + lines.removeprefix("python"), *given]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            next(line for line in server.stderr if "Uvicorn running" in line)
            answers = [chat(port, tmp_path / "model") for _ in range(2)]
        finally:
            server.terminate()
            server.communicate()
    assert [each["usage"]["completion_tokens"] for each in answers] == [24, 24]
    assert answers[0]["choices"][0]["message"] == answers[1]["choices"][0]["message"]


def chat(port, model):
    """Ask for 24 tokens, of which some are said when the prompt's are packed."""
    said = {"role": "user", "content": "the code of anna miller is four . " * 30}
    body = {"model": str(model), "temperature": 0, "max_tokens": 24, "messages": [said]}
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), kind)
    with urllib.request.urlopen(request) as answer:  # noqa: S310  http, as it stands above
        return json.load(answer)
