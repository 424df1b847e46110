"""Questions to long texts with images in them (MM-NIAH), each answered as with fp16 KV or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.caches import fp16
from worker.generation import Caches, resident
from worker.models.vision import Vision
from worker.process.journal import Journal
from worker.record import Sample
from worker.refusal import RefusalError
from worker.text import mm_niah
from worker.text.mm_niah import Question

EXACT = True
SECONDS = 60.0
DEFAULTS = {
    "context": 1000,
    "file": "~/mm_niah_val/annotations/retrieval-text.jsonl",
    "questions": 0,
    "tokens": 32,
}
LOADER = "vision"
RESUMABLE = True

#: Speed is that after the first token.
LEAST_TOKENS = 2


def run(
    model: Any,
    vision: Vision,
    make_cache: Callable[[], Caches],
    journal: Journal,
    *,
    context: int,
    file: str,
    questions: int,
    tokens: int,
) -> Iterator[Sample]:
    """Answer the questions of the bucket ``context``, at most ``questions`` of them (0: all).

    Yields for each question ``needle_accuracy``, ``generation_tps`` over ``tokens`` greedy tokens,
    ``kv_bytes``, and against fp16 KV in the same process ``needle_agreement`` (1 for the same
    answer) and ``kv_saving``; the last two not for fp16 KV itself. Speed is timed meanwhile, so the
    allocator is left as it is, and a buffer may count for two pages more than it needs. What the
    journal has is not measured again. Raises RefusalError for a file that is not MM-NIAH's.
    """
    if tokens < LEAST_TOKENS:
        raise RefusalError(f"tokens: {tokens} give no speed; take at least {LEAST_TOKENS}")
    chosen = _chosen(Path(file).expanduser(), context)[: questions or None]
    for make in (make_cache, lambda: fp16.make_cache(model)):
        _answer(vision, Question("", ("warm up",), "", 1, 0.0), tokens, make)
    for trial, question in enumerate(chosen):
        known = journal.done(question.id)
        if known is None:
            measured = _measured(model, vision, make_cache, question, tokens, trial)
            known = journal.keep(question.id, measured)
        yield from known


@dataclass(frozen=True)
class _Answer:
    """What was said, how fast (tokens a second), and the bytes that the cache then held."""

    text: str
    speed: float
    size: int
    kinds: tuple[type, ...]


def _chosen(file: Path, context: int) -> list[Question]:
    found = [q for q in mm_niah.questions(file) if mm_niah.bucket(q.length) == context]
    if not found:
        buckets = ", ".join(map(str, mm_niah.BUCKETS))
        raise RefusalError(
            f"MM-NIAH: no question of about {context} tokens in {file}; contexts are {buckets}, "
            "and a file need not have all"
        )
    return found


def _measured(
    model: Any,
    vision: Vision,
    make_cache: Callable[[], Caches],
    question: Question,
    tokens: int,
    trial: int,
) -> Iterator[Sample]:
    ours = _answer(vision, question, tokens, make_cache)
    figures = {
        "needle_accuracy": mm_niah.score(question.answer, ours.text),
        "generation_tps": ours.speed,
        "kv_bytes": float(ours.size),
    }
    if ours.kinds != tuple(map(type, fp16.make_cache(model))):
        exact = _answer(vision, question, tokens, lambda: fp16.make_cache(model))
        same = mm_niah.normal(ours.text) == mm_niah.normal(exact.text)
        figures |= {"needle_agreement": float(same), "kv_saving": 1 - ours.size / exact.size}
    labels: dict[str, str | int | float] = {
        "question": question.id,
        "depth": question.depth,
        "length": question.length,
    }
    for metric, value in figures.items():
        yield Sample(metric=metric, value=value, trial=trial, labels=labels)


def _answer(
    vision: Vision, question: Question, tokens: int, make_cache: Callable[[], Caches]
) -> _Answer:
    arrays = vision.read(question.parts)
    # The harness holds the last cache made, for its record: let that be an empty one meanwhile.
    make_cache().clear()
    before = resident()
    cache = make_cache()
    kinds = tuple(map(type, cache))
    said = list(vision.generate(arrays, tokens, cache))
    size = resident() - before
    (_, first), (_, last) = said[0], said[-1]
    speed = (len(said) - 1) / (last - first)
    return _Answer(vision.text([token for token, _ in said]), speed, size, kinds)
