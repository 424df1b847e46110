"""mlx-lm's own commands with turbo caches: their tokens, our flags beside theirs, refusals."""

import importlib
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from mlx_lm.models.cache import make_prompt_cache

import architectures
import worker.models
from tiny_models import tiny_model
from worker.turbo import TurboKVCache, commands, make_cache, unpatch_mlx_lm, use

MODULES = {
    name: importlib.import_module(f"mlx_lm.{name}")
    for name in ("generate", "chat", "server", "cache_prompt")
}
REFERENCE = str(Path(worker.models.__file__).parent / "reference")
PROMPT = "the code of anna miller is four seven two nine ."


@pytest.fixture(autouse=True)
def mlx_lm_as_it_was(monkeypatch):
    for module in MODULES.values():
        monkeypatch.setattr(module, "load", module.load)
    monkeypatch.setattr("sys.argv", ["turbo-kv"])
    yield
    unpatch_mlx_lm()


def text(capsys, run, *flags):
    run("generate", "--model", REFERENCE, "--prompt", PROMPT, "--max-tokens", "150", *flags)
    return capsys.readouterr().out.split("==========")[1]


def turbo(*arguments):
    commands.main(list(arguments))


def stock(monkeypatch):
    def run(command, *arguments):
        monkeypatch.setattr("sys.argv", [command, *arguments])
        MODULES["generate"].main()

    return run


def test_generate_says_what_mlx_lm_says(capsys, monkeypatch):
    expected = text(capsys, stock(monkeypatch))
    assert text(capsys, turbo, "--key-bits", "8", "--value-bits", "8") == expected


def test_a_prompt_file_is_written_and_opened_again(capsys, tmp_path):
    file = str(tmp_path / "prompt.safetensors")
    prompt = PROMPT * 12
    turbo("cache_prompt", "--model", REFERENCE, "--prompt", prompt, "--prompt-cache-file", file)
    capsys.readouterr()
    said = text(capsys, turbo, "--prompt-cache-file", file)
    assert said.strip()


def test_a_model_makes_turbo_caches_after_it_was_told_to(monkeypatch):
    model = tiny_model("llama")
    use(model, key_bits=4)
    assert all(isinstance(layer, TurboKVCache) for layer in make_prompt_cache(model))
    monkeypatch.setattr(model, "make_cache", lambda: make_cache(model))
    assert all(isinstance(layer, TurboKVCache) for layer in make_prompt_cache(model))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--key-bits", "5"), "key_bits: 5 is not offered"),
        (("--layer-bits", "0,5,4"), "key_bits: 5 is not offered"),
        (("--layer-bits", "0,8"), "'0,8' is not LAYER,KEYS,VALUES"),
        (("--kv-bits", "4"), "--kv-bits is for mlx-lm's own caches"),
        (("--tail-tokens", "1"), "tail_tokens: 1; must be at least 2"),
    ],
)
def test_wrong_flags_end_before_a_model_is_loaded(capsys, flags, told):
    with pytest.raises(SystemExit) as ended:
        turbo("generate", "--model", "no/such", *flags)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_model_that_cannot_be_compressed_ends_the_command_with_the_reason(capsys, monkeypatch):
    loaded = architectures.model("gemma2"), None, {}
    monkeypatch.setattr(MODULES["generate"], "load", lambda *_, **__: loaded)
    with pytest.raises(SystemExit) as ended:
        turbo("generate", "--model", "gemma2", "--prompt", "a")
    assert ended.value.code == 2
    assert "gemma2: its attention reads keys and values by itself" in capsys.readouterr().err


def test_the_server_answers_again_from_its_prefix_cache():
    command = [sys.executable, "-m", "worker.turbo", "server", "--model", REFERENCE, "--port"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*command, str(port)], stderr=subprocess.PIPE, text=True)
    try:
        assert any("Starting httpd at 127.0.0.1" in line for line in server.stderr)
        cold, warm = (completed(port, f"{PROMPT} " * 20) for _ in range(2))
    finally:
        server.terminate()
        server.communicate()
    assert cold["choices"][0]["text"] == warm["choices"][0]["text"]
    assert cold["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert warm["usage"]["prompt_tokens_details"]["cached_tokens"] > 200


def completed(port, prompt):
    asked = json.dumps({"prompt": prompt, "max_tokens": 8, "temperature": 0}).encode()
    address = f"http://127.0.0.1:{port}/v1/completions"
    request = urllib.request.Request(address, asked, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:  # noqa: S310  http, as it stands above
        return json.load(answer)
