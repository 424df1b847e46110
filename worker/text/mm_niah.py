"""MM-NIAH, Needle In A Multimodal Haystack: its files, and how an answer scores.

A folder of it holds ``annotations/TASK.jsonl`` and ``images/``. Each line has a text with
``<image>`` in places, the images for these in order, a question, the answer and a ``meta`` with
the length in tokens. After Wang et al., "Needle In A Multimodal Haystack" (2024), and the README
of OpenGVLab/MM-NIAH.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from worker.refusal import RefusalError

#: Contexts that questions are sorted into, in tokens: those of the seed's table.
BUCKETS = (1000, 3000, 7000, 15000, 30000, 60000)
PLACE = "<image>"
#: How many problems of a folder are told.
TOLD = 5
HOW = (
    "get the validation set: hf download OpenGVLab/MM-NIAH --repo-type dataset --include "
    "'mm_niah_val/*', unpack its images, and name mm_niah_val/annotations/TASK.jsonl by the "
    "parameter file"
)
ARTICLES = frozenset(("a", "an", "the"))
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)}

Answer = str | int | list[int | str]


class _Meta(BaseModel):
    context_length: Annotated[int, Field(gt=0, lt=10**9)]
    placed_depth: float | list[float] = 0.0
    choices: list[str] | None = None
    choices_image_path: list[str] | None = None


class _Line(BaseModel):
    id: int | str
    images_list: list[str]
    context: str
    question: str
    answer: Answer
    meta: _Meta


@dataclass(frozen=True)
class Question:
    """A text with images in it and a question to it; ``parts`` are both in their order.

    ``length`` is in tokens as the data set counts them, ``depth`` the mean one of its needles.
    """

    id: str
    parts: tuple[str | Path, ...]
    answer: Answer
    length: int
    depth: float


def questions(file: Path) -> list[Question]:
    """Read ``annotations/TASK.jsonl``, with its images in ``images`` beside ``annotations``.

    Raises RefusalError with what is missing or wrong and how to get it.
    """
    images = file.parent.parent / "images"
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusalError(f"MM-NIAH: {_absent(file, error)}; {HOW}") from error
    found, problems = [], []
    for number, line in enumerate(lines, start=1):
        try:
            question = _question(line, images)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
        else:
            found.append(question)
    if problems or not found:
        told = "; ".join(problems[:TOLD]) or "no question in it"
        more = f"; and {len(problems) - TOLD} more" if len(problems) > TOLD else ""
        raise RefusalError(f"MM-NIAH: {file}: {told}{more}; {HOW}")
    return found


def bucket(length: int) -> int:
    """Return the bucket that a length is nearest to, by ratio."""
    return min(BUCKETS, key=lambda context: abs(math.log(length / context)))


def score(answer: Answer, said: str) -> float:
    """Return 1 for a right answer and 0 for a wrong one, for a list the share that is right.

    A choice is told by its letter or number, a word or phrase must stand in what was said, and a
    list is compared place by place.
    """
    match answer:
        case int():
            return float(_choice(said) == answer)
        case str():
            return float(f" {normal(answer)} " in f" {normal(said)} ")
    right = sum(one == other for one, other in zip(_listed(said), map(str, answer), strict=False))
    return right / len(answer) if answer else 0.0


def normal(text: str) -> str:
    """Return an answer without case, punctuation and articles, number words as digits."""
    words = re.findall(r"\w+", text.lower())
    return " ".join(DIGITS.get(word, word) for word in words if word not in ARTICLES)


def _absent(file: Path, error: Exception) -> str:
    if not file.parent.is_dir():
        return f"no folder {file.parent}"
    there = sorted(path.name for path in file.parent.glob("*.jsonl"))
    if there and not file.exists():
        return f"no file {file}; there are: {', '.join(there)}"
    return f"{file}: {getattr(error, 'strerror', None) or error}"


def _question(line: str, images: Path) -> Question:
    """Read a line; raises ValueError with what is wrong with it."""
    try:
        entry = _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error
    pictures = [*entry.images_list, *(entry.meta.choices_image_path or ())]
    text = f"{entry.context}\n{entry.question}{_choices(entry)}"
    pieces = text.split(PLACE)
    if len(pieces) != len(pictures) + 1:
        raise ValueError(f"{len(pieces) - 1} places for {len(pictures)} images")
    paths = [_picture(images, picture) for picture in pictures]
    depths = entry.meta.placed_depth
    depth = depths if isinstance(depths, float) else sum(depths) / max(1, len(depths))
    if not 0 <= depth <= 1:
        raise ValueError("meta.placed_depth: not between 0 and 1")
    parts = tuple(_interleaved(pieces, paths))
    return Question(str(entry.id), parts, entry.answer, entry.meta.context_length, depth)


def _choices(entry: _Line) -> str:
    meta = entry.meta
    choices = meta.choices or [PLACE for _ in meta.choices_image_path or ()]
    if choices:
        rows = [f"{chr(ord('A') + place)}. {choice}" for place, choice in enumerate(choices)]
        return "\n" + "\n".join(rows) + "\nAnswer with the letter of the right choice alone."
    if isinstance(entry.answer, list):
        return "\nAnswer with a JSON list alone."
    return "\nAnswer with a word or a short phrase alone."


def _picture(images: Path, name: str) -> Path:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not (images / path).is_file():
        raise ValueError(f"no image {name!r} in {images}")
    return images / path


def _interleaved(pieces: list[str], paths: list[Path]) -> Iterator[str | Path]:
    yield pieces[0]
    for path, piece in zip(paths, pieces[1:], strict=True):
        yield path
        yield piece


def _choice(said: str) -> int | None:
    """Return which choice was named, from 0: by a number alone, or by the first letter alone."""
    words = re.findall(r"\w+", said)
    if words and words[0].isdecimal():
        return int(words[0][:9])
    letters = [word for word in words if len(word) == 1 and word.isalpha() and word.isascii()]
    capital = next((letter for letter in letters if letter.isupper() and letter != "I"), None)
    named = capital or next(iter(letters), None)
    return ord(named.lower()) - ord("a") if named else None


def _listed(said: str) -> list[str]:
    found = re.search(r"\[[^\[\]]*\]", said)
    try:
        document: Any = json.loads(found[0]) if found else []
    except ValueError:
        return []
    return [str(item) for item in document]
