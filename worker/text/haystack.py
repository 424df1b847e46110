"""Facts hidden at several depths of a text, and what can be asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """A sentence about somebody: what comes before the values, the values, and how it ends."""

    question: str
    answer: str
    end: str

    @property
    def sentence(self) -> str:
        return f"{self.question} {self.answer}{self.end}"


@dataclass(frozen=True)
class Needle:
    """A question about a haystack: the fact's words before its values, and the values.

    ``depth`` is the share of the haystack before the fact, from 0 to 1.
    """

    depth: float
    question: str
    answer: str


@dataclass(frozen=True)
class Haystack:
    """A text and what can be asked after it; ask each question right after the text alone."""

    text: str
    needles: tuple[Needle, ...]


def hide(
    facts: Sequence[Fact],
    depths: Sequence[float],
    background: Sequence[str],
    context: int,
    count_tokens: Callable[[str], int],
) -> Haystack:
    """Hide a fact at each depth of a background of sentences.

    ``text + " " + question + " " + answer`` takes at most ``context`` tokens as ``count_tokens``
    counts them, and falls short of it by a sentence or two. Raises ValueError when the context is
    too short to hold the facts, or the background to fill it.
    """
    start = count_tokens("")

    def size(sentence: str) -> int:
        return count_tokens(sentence) - start

    sizes = [size(fact.sentence) for fact in facts]
    room = context - start - max(sizes)  # question and answer are as long as a fact
    if room < 2 * sum(sizes):
        raise ValueError(f"a context of {context} tokens cannot hide {len(facts)} facts")
    hidden = dict(zip(sorted(depths), facts, strict=True))
    said = {depth: fact.sentence for depth, fact in hidden.items()}
    stack = _stack(background, said, room, size)
    asked = (Needle(depth, hidden[depth].question, hidden[depth].answer) for depth in depths)
    return Haystack(" ".join(stack), tuple(asked))


def _stack(
    background: Sequence[str], hidden: dict[float, str], room: int, size: Callable[[str], int]
) -> list[str]:
    """Pile sentences up to ``room`` tokens, each hidden one once its share of them lies before."""
    hay: list[str] = []
    used, free = 0, room - sum(map(size, hidden.values()))
    waiting = list(hidden.items())
    for sentence in background:
        while waiting and used >= waiting[0][0] * (room - size(waiting[0][1])):
            hay.append(waiting.pop(0)[1])
            used += size(hay[-1])
        free -= size(sentence)
        if free < 0:
            return hay + [fact for _, fact in waiting]
        hay.append(sentence)
        used += size(sentence)
    raise ValueError(f"a text of {used} tokens cannot fill a context of {room}")
