"""The text that a benchmark reads: the corpus, the English text that comes with us, or a file."""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from worker.refusal import RefusalError
from worker.text import lexicon
from worker.text.haystack import Fact, Haystack, hide

#: The sentences of `corpus`, which the bundled reference model was trained on.
CORPUS = "corpus"
#: "A Scandal in Bohemia" by A. Conan Doyle (1891), in the public domain.
ENGLISH = "english"
#: What Python says of itself (``help("topics")``): technical English, some 100,000 tokens, on every
#: host, and not the same in each version of Python.
PYDOC = "pydoc"
_ENGLISH_FILE = Path(__file__).parent / "english.txt"


def read(name: str) -> str:
    """Return ``english``, ``pydoc``, or what a file holds.

    Raises RefusalError for a file that is no text, and where Python came without its documents.
    """
    if name == PYDOC:
        return _pydoc()
    path = _ENGLISH_FILE if name == ENGLISH else Path(name).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusalError(
            f"text {name!r}: no text file of this host: {error}; name a file in UTF-8, "
            f"{ENGLISH!r}, {PYDOC!r} or {CORPUS!r}"
        ) from error


def _pydoc() -> str:
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ModuleNotFoundError as error:
        raise RefusalError(f"text {PYDOC!r}: {error}; name a file, or {ENGLISH!r}") from error
    return "\n\n".join(topics[name] for name in sorted(topics))


def sentences(text: str) -> list[str]:
    """Split a text after full stops, question marks and exclamation marks; line ends are spaces."""
    return re.split(r"(?<=[.?!])\s+", " ".join(text.split()))


def needles(
    seed: int,
    context: int,
    depths: Sequence[float],
    count_tokens: Callable[[str], int],
    text: str,
) -> Haystack:
    """Hide one telephone number at each depth of the sentences of a text, in plain English.

    See `haystack.hide` for the lengths and the ValueError.
    """
    draw = random.Random(seed)  # noqa: S311  the same in each process
    names = zip(
        draw.sample(lexicon.FIRST_NAMES, len(depths)),
        draw.sample(lexicon.LAST_NAMES, len(depths)),
        strict=True,
    )
    facts = [
        Fact(
            f"The telephone number of {first.title()} {last.title()} is",
            f"{draw.randrange(10_000):04}",
            ".",
        )
        for first, last in names
    ]
    return hide(facts, depths, sentences(text), context, count_tokens)
