"""What ``turbo-kv server`` gives a client: agreement with an fp16 server, memory, waiting.

``python -m worker.bench.serving [--model smollm2|reference] [--dtype float32] [--turns 50]
[flags of turbo-kv]``

Builds the wheel of ``packages/turbo_kv``, installs it and the ``openai`` client into a new virtual
environment, starts ``turbo-kv server`` and mlx-lm's own there, drives both and prints a table.
pip needs an index. Preload OpenBLAS on Linux: MLX's own BLAS is thirty times slower.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from worker.bench.quality import SMOLLM2
from worker.bench.served import Held, Messages, Server, Tokens, serving
from worker.models import REFERENCE, loading
from worker.text import corpus, passages

PACKAGE = Path(__file__).parents[2] / "packages" / "turbo_kv"
CLIENT = Path(__file__).parent / "openai_client.py"
_TEMPLATE = "{% for m in messages %}{{ m.content }} {% endfor %}"  # the reference model has none
_ANSWER, _LONG = 12, 1200  # tokens

Ask = Callable[[Messages], tuple[Tokens, str, int]]
Answers = list[Tokens]


def main() -> None:
    """Print the table; environment, model and states are deleted at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=("smollm2", "reference"), default="smollm2")
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        default="float32",
        help="of the weights: 16 bits round otherwise with each length and batch",
    )
    asked, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = _model(asked.model, folder / "model", asked.dtype)
        binaries = _environment(folder)
        settings = " ".join(flags) or "(defaults)"
        print(f"{asked.model} in {asked.dtype}, {asked.turns} turns, turbo-kv {settings}")
        said = _said(asked.model, 3 * asked.turns + 100)
        fp16 = [str(binaries / "mlx_lm.server")]
        states = folder / "states"
        turbo = [str(binaries / "turbo-kv"), "server", *flags, "--disk-cache", str(states)]
        _show(binaries / "python", (fp16, turbo), model, _turns(said, asked.turns), said[-80:])
        files = list(states.iterdir())
        size = sum(file.stat().st_size for file in files)
        _row("states on disk", f"{size / 1e6:.2f} MB in {len(files)} files")


def _model(name: str, folder: Path, dtype: str) -> Path:
    """Write a model in mlx-lm's format, with a chat template."""
    model, tokenizer = loading.load(SMOLLM2 if name == "smollm2" else str(REFERENCE))
    tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    if not tokenizer.chat_template:
        told = json.loads(settings.read_text()) | {"chat_template": _TEMPLATE}
        settings.write_text(json.dumps(told))
    config = dataclasses.asdict(model.args) | {"eos_token_id": tokenizer.eos_token_id}
    (folder / "config.json").write_text(json.dumps(config))
    model.set_dtype(getattr(mx, dtype))
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    return folder


def _environment(folder: Path) -> Path:
    """Build the wheel and install it with ``openai``; returns the environment's binaries."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(PACKAGE)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet"]
    started = time.perf_counter()
    extra = "" if sys.platform == "darwin" else "[cuda]" if mx.cuda.is_available() else "[cpu]"
    subprocess.run([*pip, "--disable-pip-version-check", f"{wheel}{extra}", "openai"], check=True)
    _row(f"installed {wheel.name}, openai", f"{time.perf_counter() - started:.0f} s")
    return binaries


def _said(model: str, count: int) -> list[str]:
    if model == "reference":
        return corpus.text(0, count).split(" . ")
    sentences = passages.sentences(passages.read("english"))
    return [sentences[i % len(sentences)] for i in range(count)]


def _turns(said: list[str], count: int) -> Iterator[tuple[int, str]]:
    """Yield how many messages a user takes back, which is an edit, and what is said then."""
    for turn in range(count):
        yield (4 if turn % 7 == 6 else 0), " ".join(said[2 * turn : 2 * turn + 2])


def _show(
    python: Path,
    commands: tuple[list[str], list[str]],
    model: Path,
    turns: Iterator[tuple[int, str]],
    others: list[str],
) -> None:
    fp16, turbo = commands
    clients = [_user(" ".join(others[8 * i : 8 * i + 8])) for i in range(8)]
    with serving(python, fp16, model) as server, _openai(python, server) as ask:
        talks, answers = _chat("fp16", server, ask, turns)
        alone = [server.ask(messages, _ANSWER)[0] for messages in clients]
        long = server.ask(clients[0], _LONG)[0]
        _agreement("fp16: 8 clients, beside each alone", alone, _together(server, clients))
        _row("fp16: first token cold, warm", _seconds(server, talks[-1], 2))
    with serving(python, turbo, model) as server, _openai(python, server) as ask:
        _agreement("turbo: chat, beside fp16", answers, _replay("turbo", server, ask, talks))
        _agreement("turbo: 8 clients, beside fp16 alone", alone, _together(server, clients))
        said = server.ask(clients[0], _LONG)[0]
        _agreement("turbo: a long answer, beside fp16", [long], [said])
        _dropped(server, clients[0])
        _row("turbo: first token cold, warm", _seconds(server, talks[-1], 2))
    with serving(python, turbo, model) as server:
        _row("turbo: first token from disk, warm", _seconds(server, talks[-1], 2))


def _user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


@contextmanager
def _openai(python: Path, server: Server) -> Iterator[Ask]:
    """Give a way to ask by the ``openai`` client, in its own environment."""
    command = [str(python), str(CLIENT), str(server.port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None  # noqa: S101  they are pipes
        assert client.stdout is not None  # noqa: S101
        wishes, answers = client.stdin, client.stdout

        def ask(messages: Messages) -> tuple[Tokens, str, int]:
            wishes.write(json.dumps({"messages": messages, "max_tokens": _ANSWER}) + "\n")
            wishes.flush()
            tokens, text, cached = json.loads(answers.readline())
            return [(token, lead) for token, lead in tokens], text, cached

        yield ask


def _chat(
    name: str, server: Server, ask: Ask, turns: Iterator[tuple[int, str]]
) -> tuple[list[Messages], Answers]:
    talk: Messages = []
    talks = []
    answers = []
    memory = []
    for back, text in turns:
        talk = [*talk[: len(talk) - back], *_user(text)]
        tokens, said, _ = ask(talk)
        talks.append(talk)
        answers.append(tokens)
        talk = [*talk, {"role": "assistant", "content": said}]
        memory.append(server.held())
    _memory(name, memory)
    return talks, answers


def _replay(name: str, server: Server, ask: Ask, talks: list[Messages]) -> Answers:
    """Ask what was asked, with the answers that were given then, so that texts stay the same."""
    memory, answers, kept = [], [], 0
    for talk in talks:
        tokens, _, cached = ask(talk)
        answers.append(tokens)
        kept += cached > 0
        memory.append(server.held())
    _memory(name, memory)
    _row(f"{name}: turns with a hit in the prefix cache", f"{kept} of {len(talks)}")
    return answers


def _together(server: Server, clients: list[Messages]) -> Answers:
    """Let 8 clients ask at once, each leaving when it has its answer while others go on."""

    def one(i: int) -> Tokens:
        time.sleep(0.2 * i)
        return server.ask(clients[i], _ANSWER)[0]

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(one, range(len(clients))))


def _dropped(server: Server, messages: Messages) -> None:
    """Drop a stream amid its answer and ask the same again."""
    before = server.ask(messages, _ANSWER)[0]
    with server.stream(messages, 400) as lines:
        next(line for line in lines if line.startswith(b"data:"))
    after = server.ask(messages, _ANSWER)[0]
    _agreement("turbo: after a dropped stream, beside before", [before], [after])


def _seconds(server: Server, talk: Messages, times: int) -> str:
    """Return the waits for a first token: the talk behind a new first word, then the same."""
    fresh = [*_user("Once more, from the start."), {"role": "assistant", "content": "Yes."}, *talk]
    return ", ".join(f"{server.first_token(fresh):.2f} s" for _ in range(times))


def _agreement(what: str, expected: Answers, found: Answers) -> None:
    """Print how many tokens come before the first that differs, of all, and how sure those were.

    Behind a token that differs an answer is another text. ``expected`` was that sure of its own.
    """
    equal = [_common(*pair) for pair in zip(expected, found, strict=True)]
    total = sum(map(len, expected))
    left = [one[same] for one, same in zip(expected, equal, strict=True) if same < len(one)]
    told = f"{sum(equal) / total:.1%} of {total} tokens, "
    told += f"{len(expected) - len(left)} of {len(expected)} answers whole"
    if left:
        told += f"; the others part at leads of {', '.join(f'{lead:.3f}' for _, lead in left)} nats"
    _row(what, told)


def _common(one: Tokens, other: Tokens) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a[0] != b[0]), min(len(one), len(other)))


def _memory(name: str, turns: list[Held]) -> None:
    """Print by tens of turns what the states of prompts take, a token, and what all else does."""
    shown = {turn: turns[turn - 1] for turn in range(10, len(turns) + 1, 10)} or {1: turns[0]}
    _row(f"{name}: after turns", ", ".join(map(str, shown)))
    held = shown.values()
    _row("  tokens in states", ", ".join(f"{each.tokens}" for each in held))
    _row("  bytes a token", ", ".join(f"{each.bytes / each.tokens:.0f}" for each in held))
    _row("  MB of states", _megabytes(each.bytes for each in held))
    _row("  MB of other arrays", _megabytes(each.active - each.bytes for each in held))
    _row("  MB resident beside arrays", _megabytes(each.resident - each.active for each in held))


def _megabytes(figures: Iterable[int]) -> str:
    return ", ".join(f"{each / 1e6:.1f}" for each in figures)


def _row(what: str, figure: str) -> None:
    print(f"{what:48} {figure}", flush=True)


if __name__ == "__main__":
    main()
