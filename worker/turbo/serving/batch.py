"""``turbo-kv batch``: many prompts from a file of JSON lines, by mlx-lm's batch generation."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import mlx.core as mx
import mlx_lm
from jinja2 import TemplateError
from mlx_lm.generate import BatchGenerator
from mlx_lm.sample_utils import make_sampler

from .arguments import positive, seed
from .askable import wrong_messages
from .models import LoadError, require_room, turbo_loading

_SHOWN = 10  # of the lines that are wrong


@dataclass(frozen=True)
class Prompt:
    """A line of the file: ``id``, text or messages, the tokens that it may get."""

    id: Any
    text: str | None
    messages: list[Any] | None
    max_tokens: int


def main(arguments: list[str], settings: dict[str, Any]) -> None:
    """Answer each line of a file with a line, in the order in which answers end.

    A line is an object with ``prompt`` (taken as it is) or ``messages`` (put through the chat
    template), and, if wished, ``id`` (else the number of its line) and ``max_tokens``. Its answer
    has ``id``, ``text``, ``tokens`` and ``finish_reason``.

    Raises LoadError for lines that cannot be answered, before anything is generated.
    """
    asked = _parser().parse_args(arguments)
    prompts = _read(asked.prompts, asked.max_tokens)
    load = turbo_loading(mlx_lm.load, settings)
    options = {"trust_remote_code": asked.trust_remote_code}
    model, tokenizer, _ = load(
        asked.model, adapter_path=asked.adapter_path, return_config=True, **options
    )
    tokens = _all_tokens(asked.prompts, prompts, tokenizer, model.context)
    if asked.seed is not None:
        mx.random.seed(asked.seed)
    with ExitStack() as stack:
        output = stack.enter_context(_new(asked.output)) if asked.output else sys.stdout
        for answer in _answers(model, tokenizer, prompts, tokens, asked):
            print(json.dumps(answer, ensure_ascii=False), file=output, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="turbo-kv batch", description="Answer many prompts")
    parser.add_argument("--model", required=True, help="a folder or a hub id")
    parser.add_argument("--adapter-path")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--prompts", required=True, type=Path, metavar="FILE", help="JSON lines")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file (default: stdout)")
    parser.add_argument(
        "--max-tokens", type=positive, default=128, help="where a line says nothing"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=32, help="prompts at once (default: 32)"
    )
    parser.add_argument("--temp", type=float, default=0.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=seed)
    return parser


def _read(file: Path, max_tokens: int) -> list[Prompt]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{file}: cannot be read: {error}") from error
    prompts, wrong = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                prompts.append(_prompt(number, json.loads(line), max_tokens))
            except (RecursionError, ValueError) as error:
                wrong.append(f"line {number}: {error}")
    _refuse(file, wrong)
    return prompts


def _prompt(number: int, line: Any, max_tokens: int) -> Prompt:
    if not isinstance(line, dict) or ("prompt" in line) == ("messages" in line):
        raise ValueError('must be an object with either "prompt" or "messages"')
    text, messages = line.get("prompt"), line.get("messages")
    if "prompt" in line and not isinstance(text, str):
        raise ValueError('"prompt" is a text')
    if "messages" in line and (wrong := wrong_messages(messages)):
        raise ValueError("; ".join(wrong))
    wanted = line.get("max_tokens", max_tokens)
    if type(wanted) is not int or wanted < 1:
        raise ValueError(f"max_tokens must be a number from 1, not {wanted!r}")
    return Prompt(line.get("id", number), text, messages, wanted)


def _refuse(file: Path, wrong: list[str]) -> None:
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        told = "; ".join([*wrong[:_SHOWN], *more])
        raise LoadError(f"{file}: {told}; nothing was generated: mend the file")


def _all_tokens(
    file: Path, prompts: list[Prompt], tokenizer: Any, context: int | None
) -> list[list[int]]:
    tokens, wrong = [], []
    for prompt in prompts:
        try:
            tokens.append(_tokens(prompt, tokenizer, context))
        except (TemplateError, LookupError, TypeError, ValueError) as error:
            wrong.append(f"id {prompt.id!r}: {error}")
    _refuse(file, wrong)
    return tokens


def _tokens(prompt: Prompt, tokenizer: Any, context: int | None) -> list[int]:
    if prompt.messages is None:
        tokens = list(tokenizer.encode(prompt.text))
    else:
        tokens = list(tokenizer.apply_chat_template(prompt.messages, add_generation_prompt=True))
    require_room(tokens, context)
    return tokens


def _new(file: Path) -> TextIO:
    try:
        return file.open("x", encoding="utf-8")
    except OSError as error:
        raise LoadError(f"{file}: no new file can be written: {error}") from error


def _answers(
    model: Any,
    tokenizer: Any,
    prompts: list[Prompt],
    tokens: list[list[int]],
    asked: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    generator = BatchGenerator(
        model,
        stop_tokens=[[token] for token in tokenizer.eos_token_ids],
        sampler=make_sampler(asked.temp, top_p=asked.top_p),
        completion_batch_size=asked.batch_size,
        prefill_batch_size=min(8, asked.batch_size),
    )
    wanted = [
        min(prompt.max_tokens, require_room(each, model.context))
        for prompt, each in zip(prompts, tokens, strict=True)
    ]
    uids = generator.insert(tokens, max_tokens=wanted) if tokens else []
    asking = dict(zip(uids, prompts, strict=True))
    said: dict[int, list[int]] = {uid: [] for uid in uids}
    while responses := generator.next_generated():
        for response in responses:
            if response.finish_reason != "stop":
                said[response.uid].append(response.token)
            if response.finish_reason is not None:
                ids = said.pop(response.uid)
                yield {
                    "id": asking[response.uid].id,
                    "text": tokenizer.decode(ids),
                    "tokens": len(ids),
                    "finish_reason": response.finish_reason,
                }
    generator.close()
