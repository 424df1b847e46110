import importlib
import json
import socket
import subprocess
import sys
import urllib.request
from http.client import HTTPConnection
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import mlx.core as mx
import pytest
from fastapi import HTTPException
from mlx_vlm import generate
from mlx_vlm.generate.ar import BatchGenerator
from mlx_vlm.models import gemma3
from mlx_vlm.models.cache import KVCache, make_prompt_cache
from mlx_vlm.server import generation

import architectures
from decoded_cache import DecodedCache
from ports import free_port
from tiny_vision import IMAGE_TOKENS, TEXT, VISION, save
from turbo_command import refused, turbo
from worker.turbo import (
    TurboKVCacheLite,
    compact_turbo_cache,
    describe,
    make_cache,
    unpatch_mlx_lm,
    use,
)
from worker.turbo.serving import tested, vision

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


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return str(save(tmp_path_factory.mktemp("vision") / "model"))


PROMPT = "the code of anna miller is four . " * 30


@pytest.fixture(autouse=True)
def mlx_vlm_as_it_was(monkeypatch):
    for module in map(importlib.import_module, vision.MODULES.values()):
        monkeypatch.setattr(module, "load", module.load)
    utils = importlib.import_module("mlx_vlm.utils")
    monkeypatch.setattr(utils, "load_image", utils.load_image)
    monkeypatch.setattr("sys.argv", ["turbo-kv"])


def test_generate_says_what_mlx_vlm_says_and_compresses(saved, capsys, monkeypatch):
    asked = ("--model", saved, "--prompt", PROMPT, "--max-tokens", "8", "--temperature", "0")
    monkeypatch.setattr("sys.argv", ["mlx_vlm", *asked])
    importlib.import_module("mlx_vlm.generate.dispatch").main()
    expected = capsys.readouterr().out
    made = []
    monkeypatch.setattr(vision, "use", lambda model, **bits: made.append(use(model, **bits)))
    turbo("vlm-generate", *asked, "--key-bits", "8", "--value-bits", "8")
    assert capsys.readouterr().out == expected
    assert expected.strip()
    assert len(made) == 1


@pytest.mark.parametrize("name", sorted(vision.MODULES))
def test_without_mlx_vlm_its_commands_say_how_to_get_it(capsys, monkeypatch, name):
    def missing(package):
        if package == "mlx-vlm":
            raise PackageNotFoundError
        return tested.VERSIONS[package]

    monkeypatch.setattr(tested, "version", missing)
    told = refused(capsys, name, "--model", "no/such")
    assert "mlx-vlm is not installed: pip install mlx-vlm==" in told


def test_another_mlx_vlm_is_warned_of(capsys, monkeypatch):
    monkeypatch.setattr(
        tested, "version", lambda name: "9.9" if name == "mlx-vlm" else tested.VERSIONS[name]
    )
    with pytest.warns(UserWarning, match="mlx-vlm 9.9: turbo-kv was tested with"):
        refused(capsys, "vlm-server", "--reload")


@pytest.mark.parametrize("name", sorted(vision.MODULES))
def test_a_model_whose_attention_cannot_read_packed_keys_ends_a_command(capsys, monkeypatch, name):
    loaded = SimpleNamespace(language_model=architectures.model("gemma2")), None
    module = importlib.import_module(vision.MODULES[name])
    monkeypatch.setattr(module, "load", lambda *_, **__: loaded)
    told = refused(capsys, name, "--model", "gemma2", "--prompt", "a")
    assert "its attention reads keys and values by itself" in told


def test_a_request_for_such_a_model_is_answered_with_400_and_the_reason(capsys, monkeypatch):
    loaded = SimpleNamespace(language_model=architectures.model("gemma2")), None
    monkeypatch.setattr(generation, "load", lambda *_, **__: loaded)
    refused(capsys, "vlm-server", "--model", "gemma2")
    with pytest.raises(HTTPException) as answer:
        generation.load_model_resources("gemma2", None)
    assert answer.value.status_code == 400
    assert "its attention reads keys and values by itself" in answer.value.detail


@pytest.mark.parametrize("name", sorted(vision.MODULES))
def test_a_model_that_is_not_there_ends_a_command(capsys, tmp_path, name):
    told = refused(capsys, name, "--model", str(tmp_path))
    assert f"{tmp_path}: cannot be loaded" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("name", "value"), [("APC_ENABLED", "true"), ("KV_BITS", "abc"), ("MAX_KV_SIZE", "1")]
)
def test_a_server_is_refused_where_the_environment_asks_for_caches_of_mlx_vlm(
    capsys, monkeypatch, name, value
):
    monkeypatch.setenv("KV_KEY_BITS", "0.0")
    monkeypatch.setenv(name, value)
    assert f"{name} of the environment" in refused(capsys, "vlm-server")


def test_a_port_that_is_taken_ends_the_server_before_a_model_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = refused(capsys, "vlm-server", "--model", "no/such", "--port", port)
    assert f"--host 127.0.0.1 --port {port}: cannot listen there" in told


def test_a_server_that_starts_itself_anew_is_refused(capsys):
    assert "--reload: " in refused(capsys, "vlm-server", "--reload")


def picture(address):
    part = {"type": "image_url", "image_url": {"url": address}}
    return {"messages": [{"role": "user", "content": [part]}]}


#: Parts of requests that cannot be answered.
WRONG = (
    {"logit_bias": {"99999": 1}},
    {"logit_bias": {"-1": 1}},
    {"logit_bias": {"a": 1}},
    {"logit_bias": {"2": "much"}},
    {"logit_bias": [2]},
    {"repetition_penalty": -1},
    {"messages": []},
    {"temperature": 1, "top_k": 999_999},
    picture("/no/such.png"),
    picture("data:image/png;base64,AAAA"),
)


def test_an_image_that_cannot_be_loaded_ends_generate(saved, capsys):
    asked = ("--model", saved, "--prompt", "a", "--image", "/no/such.png")
    assert "Failed to load image from /no/such.png" in refused(capsys, "vlm-generate", *asked)


@pytest.mark.slow
def test_the_server_answers_with_turbo_caches_on_this_machine_alone(saved):
    port = str(free_port())
    run = [sys.executable, "-m", "worker.turbo", "vlm-server", "--model", saved, "--port", port]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as server:
        try:
            listens = next(line for line in server.stderr if "Uvicorn running" in line)
            answers = [chat(port, saved) for _ in range(2)]
            changed = status_of(port, "PATCH", "/v1/settings", {"apc_enabled": True})
            wrong = [
                status_of(port, "POST", "/v1/chat/completions", {**asked(saved), **each})
                for each in WRONG
            ]
        finally:
            server.terminate()
            server.communicate()
    assert server.returncode == 0
    assert wrong == [400] * len(WRONG)
    assert f"http://127.0.0.1:{port} " in listens
    assert changed == 405
    assert [each["usage"]["completion_tokens"] for each in answers] == [24, 24]
    assert answers[0]["choices"][0]["message"] == answers[1]["choices"][0]["message"]


def status_of(port, method, path, body):
    link = HTTPConnection("127.0.0.1", int(port))
    link.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    status = link.getresponse().status
    link.close()
    return status


def asked(model):
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": model, "temperature": 0, "max_tokens": 24, "messages": messages}


def chat(port, model):
    """Ask for 24 tokens, of which some are said when the prompt's are packed."""
    body = asked(model)
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), kind)
    with urllib.request.urlopen(request) as answer:  # noqa: S310  http, as it stands above
        return json.load(answer)
