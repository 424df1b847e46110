"""mlx-lm's server with turbo caches, over plain HTTP, beside mlx-lm's own."""

import json
import shutil
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from tiny_models import of
from turbo_server import FACT, REFERENCE, TURBO, Server, serving
from worker.text import corpus


@pytest.fixture(scope="module")
def turbo():
    with serving(TURBO) as server:
        yield server


@pytest.fixture(scope="module")
def stock():
    with serving([sys.executable, "-m", "mlx_lm", "server"]) as server:
        yield server


def said(answered):
    status, answer = answered
    assert status == 200, answer
    return answer["choices"][0]["text"]


def cached(answered):
    return answered[1]["usage"]["prompt_tokens_details"]["cached_tokens"]


def prompts(count):
    """Return texts that end in a question whose answer stands in them, each another."""
    names = ["anna miller", "john smith", "mary jones", "peter brown"]
    told = [corpus.text(i, 12 + 2 * i) + f" the code of {names[i % 4]} is" for i in range(count)]
    return [f"the code of {names[i % 4]} is {word(i)} . {text}" for i, text in enumerate(told)]


def word(i):
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return " ".join(digits[(i + 3 * j) % 10] for j in range(4))


@pytest.mark.slow
def test_a_prompt_is_answered_again_from_the_prefix_cache(turbo):
    cold, warm = (turbo.ask(FACT * 20) for _ in range(2))
    assert said(cold) == said(warm)
    assert cached(cold) == 0
    assert cached(warm) > 200


def test_a_client_may_ask_which_models_there_are_where_none_was_fetched(turbo):
    with urllib.request.urlopen(f"http://127.0.0.1:{turbo.port}/v1/models") as answer:
        (model,) = json.load(answer)["data"]
    assert model["id"] == REFERENCE


@pytest.mark.slow
def test_eight_clients_that_come_and_go_get_what_mlx_lm_says(turbo, stock):
    asked = [(prompt, 4) for prompt in prompts(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: said(turbo.ask(*each)), asked * 2))
    expected = [said(stock.ask(*each)) for each in asked]
    assert answers == expected * 2


@pytest.mark.slow
def test_a_conversation_with_edits_is_answered_as_by_mlx_lm(turbo, stock):
    told = (corpus.text(50, 30) + " ").split(" . ")
    for turn in range(4):
        told[len(told) - 3 :] = corpus.text(60 + turn, 4).split(" . ")
        prompt = " . ".join(told) + f" the code of anna miller is {word(turn)} ."
        prompt += " the code of anna miller is"
        ours, theirs = turbo.ask(prompt, 4), stock.ask(prompt, 4)
        assert said(ours) == said(theirs)
        assert (cached(ours) > 150) == (turn > 0)


def test_a_dropped_stream_disturbs_nobody(turbo):
    body = {"prompt": FACT * 5, "max_tokens": 3000, "stream": True}
    stream = turbo.open("completions", body)
    assert stream.readline().startswith((b"data: ", b": keepalive"))
    stream.close()
    assert "four seven two nine" in said(turbo.ask(FACT * 9 + "the code of anna miller is"))


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "told"),
    [("the " * 9000, "the model's context has room for 8192"), ("", "no tokens")],
)
def test_a_prompt_that_cannot_be_asked_is_refused_and_nothing_else_disturbed(
    turbo, prompt, told, stream
):
    body = {"prompt": FACT * 5, "max_tokens": 40, "stream": True}
    with turbo.open("completions", body) as other:
        status, answer = turbo.ask(prompt, stream=stream)
        assert (status, told in answer["error"]) == (400, True)
        assert other.read().rstrip().endswith(b"data: [DONE]")


HUGE = 10**400  # of JSON, but no float
WRONG = [
    ({"prompt": ["a", "b"]}, "prompt: give one text"),
    ({"prompt": None}, "prompt: give one text"),
    ({"prompt": "a", "stop": 3, "seed": -1}, "stop: give a text, or a list of texts; seed: give"),
    ({"prompt": "a", "stop": [3]}, "stop: give a text"),
    ({"prompt": "a", "seed": 1 << 70}, "seed: give a number from 0"),
    ({"prompt": "a", "top_k": 1_000_000, "temperature": 1.0}, "top_k: 1000000; the model has"),
    ({"prompt": "a", "logit_bias": {"9999999": 5.0}}, "the model has no tokens 9999999"),
    ({"prompt": "a", "logit_bias": {"-9999999": 5.0}}, "the model has no tokens -9999999"),
    ({"prompt": "a", "logit_bias": {"5": None}}, "logit_bias: give an object"),
    ({"prompt": "a", "logit_bias": {"5": HUGE}}, "logit_bias: give an object"),
    ({"prompt": "a", "temperature": HUGE}, "cannot be sampled"),
    (
        {"prompt": "a", "temperature": 1.0, "xtc_probability": 1.0, "xtc_threshold": 0.9},
        "cannot be sampled",
    ),
    (
        {"prompt": "a", "repetition_penalty": 1.1, "repetition_context_size": 1 << 40},
        "cannot be sampled",
    ),
    ({"prompt": "\ud800"}, "cannot be made a prompt"),
    ({"prompt": "a", "stream": True, "stream_options": 5}, "stream_options: give an object"),
    ({"messages": []}, "at least one message"),
    ({"messages": ["a"]}, "messages[0]: give an object with a role"),
    ({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": 3}, "an object"),
]


@pytest.mark.parametrize(("body", "told"), WRONG)
def test_a_wrong_request_is_answered_with_400_and_the_next_one_as_ever(turbo, body, told):
    path = "chat/completions" if "messages" in body else "completions"
    status, answer = turbo.post(path, {"max_tokens": 3, **body})
    assert (status, told in answer["error"]) == (400, True), answer
    assert said(turbo.ask("the code", 1))


@pytest.mark.slow
def test_a_bias_for_a_token_that_the_tokenizer_alone_knows_is_refused(tmp_path):
    model = shutil.copytree(REFERENCE, tmp_path / "model")
    known = json.loads((model / "tokenizer.json").read_text())
    known["added_tokens"] += [
        {**known["added_tokens"][0], "id": 1664 + i, "content": f"<extra{i}>"} for i in range(40)
    ]
    (model / "tokenizer.json").write_text(json.dumps(known))
    with serving(TURBO, "--model", str(model)) as server:
        status, answer = server.ask("a", logit_bias={"1663": 1.0, "1700": 1e30})
        assert (status, answer["error"]) == (400, "logit_bias: the model has no tokens 1700")


@pytest.mark.parametrize("body", [b"\xff\xfe\0", b"[" * 100_000])
def test_a_body_that_is_no_json_is_answered_with_400(turbo, body):
    link = HTTPConnection("127.0.0.1", turbo.port)
    link.request("POST", "/v1/completions", body)
    answer = link.getresponse()
    assert (answer.status, "no JSON in UTF-8" in json.load(answer)["error"]) == (400, True)
    link.close()


BROKEN = """
from mlx_lm import server
from worker.turbo.__main__ import main

def broken(*_):
    raise RuntimeError("a fault of its own")

server.ResponseGenerator._make_state_machine = broken
main()
"""


@pytest.mark.slow
def test_a_server_that_can_answer_nobody_any_more_ends():
    server = Server([sys.executable, "-c", BROKEN, "server"])
    assert server.ask("the code")[0] >= 400
    server.reading.join()
    assert server.process.wait() == 70
    server.process.stderr.close()


@pytest.mark.slow
def test_an_answer_ends_where_the_context_does():
    with serving(TURBO, "--context", "64") as server:
        status, answer = server.ask("the " * 59, 500)
        assert (status, answer["usage"]["completion_tokens"]) == (200, 4)
        assert answer["choices"][0]["finish_reason"] == "length"
        assert server.ask("the " * 70)[0] == 400


@pytest.mark.slow
def test_a_draft_model_leaves_the_answers_as_they_are(turbo, stock):
    prompt = prompts(1)[0]
    for asked in (prompt, f"{prompt} {word(0)} . the code of anna miller is"):
        plain = said(stock.ask(asked, 4))
        assert said(turbo.ask(asked, 4, draft_model=REFERENCE)) == plain
        assert said(turbo.ask(asked, 4)) == plain


def test_tool_calls_pass_through(turbo, stock, tmp_path):
    model = scripted_model(tmp_path, ["<tool_call>", CALL, "</tool_call>", "<eos>"])
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    asked = [{"role": "user", "content": "ask"}], 6
    answers = [server.ask(*asked, model=model, tools=tools) for server in (turbo, stock)]
    ours, theirs = (answer["choices"][0] for _, answer in answers)
    (call,) = ours["message"]["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert ours["finish_reason"] == theirs["finish_reason"] == "tool_calls"
    assert theirs["message"]["tool_calls"][0]["function"] == call["function"]


CALL = '{"name":"add","arguments":{"a":1}}'


def scripted_model(folder, words):
    """Write a model in mlx-lm's format that answers any prompt with these words; returns where."""
    vocabulary = ["<unk>", "ask", *words]
    size, width = len(vocabulary), 64
    config = {
        "model_type": "llama",
        "hidden_size": width,
        "num_hidden_layers": 2,
        "intermediate_size": 8,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "rms_norm_eps": 1e-5,
        "vocab_size": size,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "eos_token_id": size - 1,
    }
    weights = dict(tree_flatten(of(config).parameters()))
    adding = [name for name in weights if "o_proj" in name or "down_proj" in name]
    weights |= {name: mx.zeros_like(weights[name]) for name in adding}  # layers add nothing
    weights["model.embed_tokens.weight"] = mx.eye(size, width)
    weights["lm_head.weight"] = mx.eye(size, width, k=-1)  # each word is followed by the next
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(vocabulary)))
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<eos>",
        "unk_token": "<unk>",
        "chat_template": "{# <tool_call> tool_call.name #}ask",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return str(folder)


def tokenizer(vocabulary):
    special = [name for name in vocabulary if name.startswith("<")]
    ids = {name: i for i, name in enumerate(vocabulary)}
    model = {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": ids[name], "content": name, "special": True, **flags} for name in special]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": model,
    }


@pytest.mark.slow
def test_a_server_that_starts_again_has_its_prefixes_from_disk(tmp_path):
    flags = ("--disk-cache", str(tmp_path), "--disk-cache-size", "1GB")
    prompt = FACT * 20
    first = Server(TURBO, *flags)
    cold = first.ask(prompt, 4)
    first.stop()
    with serving(TURBO, *flags) as second, serving(TURBO, *flags, "--key-bits", "4") as other:
        warm = second.ask(prompt, 4)
        assert said(warm) == said(cold)
        assert cached(warm) > 150
        assert cached(other.ask(prompt, 4)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--disk-cache", "/dev/null/folder"), "--disk-cache /dev/null/folder: cannot be written"),
        (("--disk-cache", ".", "--disk-cache-size", "much"), "give a size such as"),
        (("--no-such-flag",), "unrecognized arguments"),
    ],
)
def test_a_server_that_cannot_work_does_not_start(flags, told):
    done = subprocess.run(
        [*TURBO, "--model", REFERENCE, *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
