"""mlx-lm's own commands with turbo caches: their tokens, our flags beside theirs, refusals."""

import importlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlx_lm
import pytest
from mlx_lm.generate import batch_generate
from mlx_lm.models.cache import make_prompt_cache

import architectures
import worker.models
from tiny_models import Tokenizer, tiny_model
from turbo_command import refused, turbo
from worker.turbo import TurboKVCache, make_cache, unpatch_mlx_lm, use
from worker.turbo.serving import tested

MODULES = {
    name: importlib.import_module(f"mlx_lm.{name}")
    for name in ("generate", "chat", "server", "cache_prompt")
}
REFERENCE = str(Path(worker.models.__file__).parent / "reference")
PROMPT = "the code of anna miller is four seven two nine ."


@pytest.fixture(autouse=True)
def mlx_lm_as_it_was(monkeypatch):
    for module in MODULES.values():
        for name in ("load", "load_prompt_cache"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr("sys.argv", ["turbo-kv"])
    yield
    unpatch_mlx_lm()


def text(capsys, run, *flags):
    run("generate", "--model", REFERENCE, "--prompt", PROMPT, "--max-tokens", "150", *flags)
    return capsys.readouterr().out.split("==========")[1]


def stock(monkeypatch):
    def run(command, *arguments):
        monkeypatch.setattr("sys.argv", [command, *arguments])
        MODULES[command].main()

    return run


@pytest.mark.slow
def test_generate_says_what_mlx_lm_says(capsys, monkeypatch):
    expected = text(capsys, stock(monkeypatch))
    assert text(capsys, turbo, "--key-bits", "8", "--value-bits", "8") == expected


@pytest.mark.slow
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
        (("--kv-bits", "4"), "--kv-bits is for other caches than ours"),
        (("--kv-b", "4"), "--kv-b is for other caches than ours"),
        (("--max-k", "16"), "--max-k is for other caches than ours"),
        (("--max-kv-size=16",), "--max-kv-size=16 is for other caches than ours"),
        (("--tail-tokens", "1"), "tail_tokens: 1; must be at least 2"),
        (("--boundary-layers", "-1"), "--boundary-layers cannot be negative"),
        (("--no-such-flag",), "unrecognized arguments: --no-such-flag"),
    ],
)
def test_wrong_flags_end_before_a_model_is_loaded(capsys, flags, told):
    assert told in refused(capsys, "generate", "--model", "no/such", *flags)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("batch", "--batch-size", "0"), "--batch-size: '0' is no whole number from 1"),
        (("batch", "--max-tokens", "-1"), "--max-tokens: '-1' is no whole number from 1"),
        (
            ("batch", "--seed", "-1"),
            "--seed: '-1' is no whole number from 0 to 1844674407370955161",
        ),
        (("server", "--context", "-5"), "--context: '-5' is no whole number from 1"),
        (("server", "--grace", "soon"), "--grace: 'soon' is no number of seconds"),
        (("generate", "--seed", "-1"), "--seed: '-1' is no whole number from 0 to"),
        (("vlm-generate", "--seed", "-1"), "--seed: '-1' is no whole number from 0 to"),
        (("generate", "-m", "0"), "-m: '0' is no whole number from 1"),
        (("generate", "--min-p", "2"), "--min-p: '2' is no number from 0 to 1"),
        (("vlm-server", "--prefill-step-size", "-1"), "--prefill-step-size: '-1' is no whole"),
        (("vlm-server", "--draft-model", "/none"), "/none: no such folder"),
        (("vlm-generate", "--max-tokens", "-3"), "--max-tokens: '-3' is no whole number from 0"),
        (("generate", "--xtc-threshold", "3"), "--xtc-threshold: '3' is no number from 0 to 0.5"),
        (("cache_prompt", "--prompt-cache-file", "a" * 300 + "/b"), "File name too long"),
        (("chat", "--prefill-step-size", "0"), "--prefill-step-size: '0' is no whole number"),
        (("server", "--decode-concurrency", "0"), "--decode-concurrency: '0' is no whole"),
        (("server", "--chat-template-args", "{"), "--chat-template-args: '{' is no JSON"),
        (("generate", "--chat-template-config", "[]"), "--chat-template-config: '[]' is no object"),
        (
            ("cache_prompt", "--prompt-cache-file", "no/such"),
            "--prompt-cache-file: 'no/such': there is no folder no",
        ),
    ],
)
def test_values_that_cannot_be_end_before_a_model_is_loaded(capsys, flags, told):
    assert told in refused(capsys, *flags)


def test_help_has_our_flags_and_those_of_mlx_lm(capsys):
    with pytest.raises(SystemExit) as ended:
        turbo("generate", "--help")
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--key-bits" in told
    assert "--draft-model" in told


def test_another_mlx_lm_is_warned_of(capsys, monkeypatch):
    monkeypatch.setattr(tested, "version", lambda _: "9.9")
    with pytest.warns(UserWarning, match="mlx-lm 9.9: turbo-kv was tested with"):
        refused(capsys, "generate", "--no-such-flag")


@pytest.mark.parametrize("command", ["generate", "server"])
def test_a_model_that_cannot_be_compressed_ends_a_command_with_the_reason(
    capsys, monkeypatch, command
):
    loaded = architectures.model("gemma2"), Tokenizer(), {}
    monkeypatch.setattr(MODULES[command], "load", lambda *_, **__: loaded)
    said = refused(capsys, command, "--model", "gemma2")
    assert "gemma2: its attention reads keys and values by itself" in said


@pytest.mark.parametrize("command", ["generate", "server"])
def test_a_model_that_is_not_there_ends_a_command(capsys, tmp_path, command):
    said = refused(capsys, command, "--model", str(tmp_path))
    assert f"{tmp_path}: cannot be loaded" in said
    assert "Traceback" not in said
    said = refused(capsys, command, "--model", str(tmp_path / "none"))
    assert f"{tmp_path}/none: no such folder; give a model's folder or a hub id" in said


def test_chat_says_what_mlx_lm_says(capsys, monkeypatch, tmp_path):
    model = with_template(tmp_path, "{% for m in messages %}{{ m.content }}{% endfor %}")
    asked = ("chat", "--model", model, "--max-tokens", "5")
    said = []
    for run in (stock(monkeypatch), lambda *flags: turbo(*flags, "--value-bits", "8")):
        lines = iter(
            [f"{PROMPT} " * 15 + "the code of anna miller is", " the code of anna miller is", "q"]
        )
        monkeypatch.setattr("builtins.input", lambda *_: next(lines))  # noqa: B023
        run(*asked)
        said.append(re.findall(r"[a-z ]{12,}", capsys.readouterr().out))
    assert said[0] == said[1]
    assert any("four seven two nine" in text for text in said[0])


@pytest.mark.parametrize(
    "flags",
    [
        ("cache_prompt", "--prompt", "and/or what", "--prompt-cache-file", "x"),
        ("server", "--chat-template", "{{ messages[0].content }}"),
        ("generate", "--prompt=--seed", "--max-tok", "5", "-m5"),
    ],
)
def test_flags_whose_names_begin_alike_are_not_taken_for_each_other(capsys, flags):
    assert "no/such" in refused(capsys, *flags, "--model", "./no/such")


def test_a_chat_ends_with_its_input(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    turbo("chat", "--model", REFERENCE)
    assert capsys.readouterr().err == ""


def test_what_mlx_lm_itself_fails_at_is_a_sentence_and_a_file_with_the_traceback(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        turbo("generate", "--model", REFERENCE, "--prompt", "")
    assert ended.value.code == 70
    (log,) = tmp_path.glob("turbo-kv-*.log")
    told = capsys.readouterr().err
    assert "turbo-kv generate: ValueError: " in told
    assert told.endswith(f"; {log} tells where\n")
    assert "Traceback" in log.read_text()


@pytest.mark.slow
def test_a_draft_model_leaves_the_tokens_as_they_are(capsys):
    bits = ("--key-bits", "8", "--value-bits", "8")
    plain = text(capsys, turbo, *bits)
    drafted = text(capsys, turbo, *bits, "--draft-model", REFERENCE, "--num-draft-tokens", "3")
    assert drafted == plain


def prompt_file(capsys, file, run=turbo, flags=()):
    asked = ("--model", REFERENCE, "--prompt", PROMPT * 12, "--prompt-cache-file", str(file))
    run("cache_prompt", *asked, *flags)
    capsys.readouterr()
    return file


@pytest.mark.slow
def test_mlx_lm_opens_a_prompt_file_after_the_import_alone(capsys, tmp_path):
    file = prompt_file(capsys, tmp_path / "prompt.safetensors")
    script = "import worker.turbo; from mlx_lm.generate import main; main()"
    asked = ("--model", REFERENCE, "--prompt-cache-file", str(file), "--prompt", PROMPT)
    done = subprocess.run(
        [sys.executable, "-c", script, *asked, "--max-tokens", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Generation: 5 tokens" in done.stdout


def test_a_prompt_file_of_other_flags_or_of_mlx_lm_itself_is_refused(capsys, monkeypatch, tmp_path):
    asked = ("generate", "--model", REFERENCE, "--prompt", PROMPT, "--prompt-cache-file")
    theirs = str(prompt_file(capsys, tmp_path / "theirs.safetensors", stock(monkeypatch)))
    ours = str(prompt_file(capsys, tmp_path / "ours.safetensors"))
    assert "made with --key-bits 8" in refused(capsys, *asked, ours, "--key-bits", "4")
    assert "nothing in it is compressed" in refused(capsys, *asked, theirs)
    assert "no prompt cache that can be read" in refused(capsys, *asked, str(tmp_path / "none"))


def with_template(folder, template):
    """Copy the reference model and give it a chat template; returns its path."""
    model = shutil.copytree(REFERENCE, folder / "model")
    config = model / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": template}))
    return str(model)


def lines_file(folder, *lines):
    file = folder / "prompts.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(file)


@pytest.mark.slow
def test_batch_answers_each_line_as_mlx_lm_does(capsys, tmp_path):
    prompts = [f"{PROMPT} " * times + "the code of anna miller is" for times in (1, 12, 30)]
    lines = [{"prompt": prompt, "max_tokens": 3 + i} for i, prompt in enumerate(prompts)]
    output = tmp_path / "answers.jsonl"
    asked = ("--model", REFERENCE, "--prompts", lines_file(tmp_path, *lines))
    turbo("batch", "--value-bits", "8", *asked, "--output", str(output))
    answers = {line["id"]: line for line in map(json.loads, output.read_text().splitlines())}
    model, tokenizer = mlx_lm.load(REFERENCE)
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    expected = batch_generate(model, tokenizer, ids, max_tokens=[3, 4, 5])
    assert [answers[i]["text"] for i in (1, 2, 3)] == expected.texts
    assert [answers[i]["tokens"] for i in (1, 2, 3)] == [3, 4, 5]
    assert "no new file can be written" in refused(capsys, "batch", *asked, "--output", str(output))


def test_batch_takes_messages_and_ids(capsys, tmp_path):
    model = with_template(tmp_path, "{% for m in messages %}{{ m.content }}{% endfor %}")
    lines = [{"messages": [{"role": "user", "content": PROMPT}], "id": "a", "max_tokens": 2}]
    turbo("batch", "--model", model, "--prompts", lines_file(tmp_path, *lines))
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (answer["id"], answer["tokens"]) == ("a", 2)


def test_batch_takes_what_json_takes_within_a_line(capsys, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "the\u2028code", "max_tokens": 1}\r\n\n', encoding="utf-8")
    turbo("batch", "--model", REFERENCE, "--prompts", str(file))
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert answer["tokens"] == 1


def test_batch_names_lines_that_no_model_could_be_asked(capsys, tmp_path):
    file = tmp_path / "prompts.jsonl"
    wrong = ['{"messages": ["x"]}', '{"messages": []}', '{"prompt": null}', "[" * 100_000]
    file.write_text("\n".join(wrong))
    told = refused(capsys, "batch", "--model", "no/such", "--prompts", str(file))
    assert all(f"line {number}: " in told for number in (1, 2, 3, 4))


def test_batch_names_all_lines_that_are_wrong_before_it_computes(capsys, tmp_path):
    wrong = [{"prompt": 1}, {}, {"prompt": "a", "max_tokens": 0}, {"prompt": PROMPT}]
    asked = ("batch", "--model", "no/such", "--prompts", lines_file(tmp_path, *wrong))
    said = refused(capsys, *asked)
    assert all(f"line {number}: " in said for number in (1, 2, 3))
    assert "line 4" not in said
    long = [{"prompt": "the " * 9000, "id": "long"}, {"prompt": "", "id": "empty"}]
    asked = ("batch", "--model", REFERENCE, "--prompts", lines_file(tmp_path, *long))
    said = refused(capsys, *asked)
    assert "id 'long': the prompt has 9001 tokens" in said
    assert "id 'empty': the prompt has no tokens" in said
