"""What llama-bench prints: its JSON, old and new, and what llama.cpp logs of its KV cache.

Fields come and go between versions (``f16_kv``, ``use_mmap``, ``load_mode``, ...), so all but the
lengths and the samples is taken as it comes. After llama.cpp's tools/llama-bench/README.md and its
own output from builds 3100 to 10359.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: What is a reading and not a setting: all else says under which conditions a test ran.
READINGS = frozenset(
    {"test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts"}
)
LENGTHS = ("n_prompt", "n_gen", "n_depth")
#: No text is longer than that in tokens; a larger number is a broken file.
LONGEST = 2**40
MIB = 2**20

_BEGIN = re.compile(r"^[ \t\ufeff]*(?=[\[{])", re.MULTILINE)
_NEXT = re.compile(r"[\s\ufeff]*(?=[\[{])")
# What a log begins a line with, such as ``[INFO]`` or ``[1/5] words``, does not open JSON.
_OPENS_JSON = re.compile(
    r'\[\s*[\[{\]"]|\{\s*["}]|[\[{]\s*\Z|\[[-+\d\s,.eE]*\][ \t\r]*$', re.MULTILINE
)
_KV = re.compile(r"K \((\w+)\): *([\d.]{1,12}) MiB, V \((\w+)\): *([\d.]{1,12}) MiB")
#: How the TurboQuant fork says that it takes other types or sizes than asked for.
_CHANGE = re.compile(r"auto-asymmetric|zero-padding")
_BAD_TYPE = re.compile(r"invalid parameter for argument: (-ct[kv]|--cache-type-[kv])\b")


class LlamaOutputError(ValueError):
    """A text that is not llama-bench's: which test, and what is wrong with it."""


@dataclass(frozen=True)
class Test:
    """One test: ``n_prompt`` tokens read or ``n_gen`` generated, after ``n_depth`` in the cache.

    ``speeds`` are tokens per second of each repetition, the warm-up excluded; ``facts`` all
    that is no reading.
    """

    n_prompt: int
    n_gen: int
    n_depth: int
    speeds: tuple[float, ...]
    facts: dict[str, str | int | float | bool]
    time: str = ""

    @property
    def metric(self) -> str | None:
        """Our metric of ``speeds``; None for a test that both reads and generates."""
        if self.n_prompt and self.n_gen:
            return None
        return "prompt_tps" if self.n_prompt else "generation_tps"


@dataclass(frozen=True)
class Kept:
    """What llama.cpp said of its KV cache: types of keys and values, bytes of both."""

    keys: str
    values: str
    size: float


def tests(text: str) -> list[Test]:
    """Read the tests of ``-o json`` or ``-o jsonl``, of all runs in it; raises LlamaOutputError.

    Logs before, between and after the JSON are passed over.
    """
    found = [_test(number, entry) for number, entry in enumerate(_entries(text), start=1)]
    if not found:
        raise LlamaOutputError("no test in it")
    return found


def kept(log: str) -> Kept | None:
    """Read the types and size that a verbose log tells; layers of other kinds are added up."""
    found = [match.groups() for match in _KV.finditer(log)]
    if not found:
        return None
    keys, values = ("+".join(dict.fromkeys(row[i] for row in found)) for i in (0, 2))
    size = sum(_mebibytes(row[1]) + _mebibytes(row[3]) for row in found)
    return Kept(keys, values, size)


def changes(log: str) -> list[str]:
    """Return the lines of a log that say where the cache is not the one asked for."""
    return [line.strip() for line in log.splitlines() if _CHANGE.search(line)]


def refused_type(log: str) -> bool:
    """Tell if llama-bench does not know a type of the cache that it was asked for."""
    return _BAD_TYPE.search(log) is not None


def _mebibytes(text: str) -> float:
    try:
        return float(text) * MIB
    except ValueError:
        return 0.0


def documents(text: str) -> Iterator[Any]:
    """Yield every JSON array and object that begins a line or follows another one.

    All else is log, a line such as ``[INFO] ...`` too. Raises LlamaOutputError for one that breaks
    off.
    """
    decoder, at = json.JSONDecoder(), 0
    while begin := (_NEXT.match(text, at) if at else None) or _BEGIN.search(text, at):
        at = begin.end()
        if not _OPENS_JSON.match(text, at):
            at += 1
            continue
        try:
            document, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise LlamaOutputError(f"not whole JSON: {error}") from error
        yield document


def _entries(text: str) -> list[Any]:
    found: list[Any] = []
    there = False
    for document in documents(text):
        there = True
        found += document if isinstance(document, list) else [document]
    if not there:
        raise LlamaOutputError("no JSON in it")
    return found


def _test(number: int, entry: Any) -> Test:
    if not isinstance(entry, dict):
        raise LlamaOutputError(f"test {number}: not an object")
    n_prompt, n_gen, n_depth = (_length(number, entry, name) for name in LENGTHS)
    if n_prompt + n_gen == 0:
        raise LlamaOutputError(f"test {number}: neither n_prompt nor n_gen says what was done")
    facts = {
        name: value
        for name, value in entry.items()
        if name not in {*READINGS, *LENGTHS} and _plain(value)
    }
    speeds = _speeds(number, entry, n_prompt + n_gen)
    return Test(n_prompt, n_gen, n_depth, speeds, facts, str(entry.get("test_time", "")))


def _speeds(number: int, entry: dict[str, Any], tokens: int) -> tuple[float, ...]:
    """Prefer times, which are exact, to speeds, which are rounded."""
    times = _readings(number, entry, "samples_ns")
    speeds = [tokens * 1e9 / time for time in times] or _readings(number, entry, "samples_ts")
    if not speeds:
        raise LlamaOutputError(
            f"test {number}: no samples_ns and no samples_ts, and a mean is no sample"
        )
    if not all(map(math.isfinite, speeds)):
        raise LlamaOutputError(f"test {number}: a time that is no time")
    return tuple(speeds)


def _readings(number: int, entry: dict[str, Any], name: str) -> list[float]:
    values = entry.get(name) or []
    if not isinstance(values, list):
        raise LlamaOutputError(f"test {number}: {name} is no list")
    readings = [_number(value) for value in values]
    if not all(0 < reading < math.inf for reading in readings):
        raise LlamaOutputError(f"test {number}: {name} holds what is no positive number")
    return readings


def _length(number: int, entry: dict[str, Any], name: str) -> int:
    value = _number(entry.get(name, 0))
    if not 0 <= value <= LONGEST or value != int(value):
        raise LlamaOutputError(f"test {number}: {name} is no number of tokens")
    return int(value)


def _number(value: Any) -> float:
    """Return a number, also one in quotes as in some versions; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, str)
