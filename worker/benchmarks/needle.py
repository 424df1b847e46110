"""Facts hidden at several depths of a long text, to be recalled exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from worker.generation import Caches, generate, prefill, rewind
from worker.record import Sample
from worker.refusal import RefusalError
from worker.text import corpus, passages
from worker.text.haystack import Haystack

EXACT = True
SECONDS = 5.0
DEFAULTS = {
    "context": 2048,
    "depths": [0.0, 0.25, 0.5, 0.75, 1.0],
    "texts": 1,
    "step": 2048,
    "text": "corpus",
}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    depths: list[float],
    texts: int,
    step: int,
    text: str,
) -> Iterator[Sample]:
    """Read a haystack with a fact at each depth, then ask for each fact in turn; ``texts`` times.

    Yields ``needle_accuracy`` 1 or 0 for each fact, labelled with its depth: 1 when greedy
    decoding continues the question with exactly the fact's values. The facts are hidden among
    sentences of ``text``: ``corpus``, ``english`` (which comes with us) or a file of the host.
    Raises RefusalError for a context too short for its facts, or too long for the text.
    """
    for trial in range(texts):
        haystack = _haystack(tokenizer, trial, context, depths, text)
        read = tokenizer.encode(haystack.text)
        cache = make_cache()
        prefill(model, read, cache, step)
        filled = rewind(cache, len(read))
        for needle in haystack.needles:
            question = tokenizer.encode(f"{haystack.text} {needle.question}")[len(read) :]
            answer = tokenizer.encode(f"{haystack.text} {needle.question} {needle.answer}")
            expected = answer[len(read) + len(question) :]
            cache = filled()
            if question[:-1]:
                prefill(model, question[:-1], cache)
            said = [token for token, _ in generate(model, question[-1], len(expected), cache)]
            labels: dict[str, str | float] = {"depth": needle.depth, "context": context}
            found = float(said == expected)
            yield Sample(metric="needle_accuracy", value=found, trial=trial, labels=labels)


def _haystack(tokenizer: Any, seed: int, context: int, depths: list[float], text: str) -> Haystack:
    def count(said: str) -> int:
        return len(tokenizer.encode(said))

    try:
        if text == passages.CORPUS:
            return corpus.needles(seed, context, depths, count)
        return passages.needles(seed, context, depths, count, passages.read(text))
    except ValueError as error:
        raise RefusalError(f"needle: {error}; take another context or text") from error
