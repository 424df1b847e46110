"""Records of a file that llama-bench wrote (``-o json`` or ``-o jsonl``), by any version of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from farm.errors import ConfigurationError, Problem
from worker import llama_cpp
from worker.job import Build, Cache, Cell, Job, content_hash
from worker.llama_cpp import LlamaOutputError, Test
from worker.record import Environment, Fact, Record, Sample

#: What names the machine and the program; all other facts are settings of the cell.
PROGRAM = ("build_commit", "build_number")
MACHINE = ("cpu_info", "gpu_info", "backends", "devices")
OF_MODEL = ("model_filename", "model_type", "model_size", "model_n_params")
TYPES = ("type_k", "type_v")
KEYS = frozenset((*PROGRAM, "n_prompt", "n_gen"))
NO_SETTING = frozenset((*PROGRAM, *MACHINE, *OF_MODEL, *TYPES))


def records(path: Path, text: str) -> list[Record] | None:
    """Return a record for each test of a file of llama-bench; None for a file of something else.

    Several runs in one file are all read. The run is named by the content, so that a file stored
    twice is stored once. Raises ConfigurationError for a file of llama-bench that is broken
    anywhere, or has only means.
    """
    if not _recognised(text):
        return None
    try:
        tests = llama_cpp.tests(text)
    except LlamaOutputError as error:
        raise _unusable(path, str(error)) from error
    mixed = [place for place, test in enumerate(tests, start=1) if test.metric is None]
    if mixed:
        raise _unusable(path, f"test {mixed[0]}: one time for reading and generating together")
    return list(_records(tests, f"llama-bench-{content_hash(text)}", path.stat().st_mtime))


def _recognised(text: str) -> bool:
    """Tell by the first JSON in it; an array that breaks off is taken for llama-bench's."""
    try:
        first = next(llama_cpp.documents(text), None)
    except LlamaOutputError:
        return text.lstrip("\ufeff \t\r\n").startswith("[") or '"n_prompt"' in text
    entry = first[0] if isinstance(first, list) and first else first
    return entry == [] or (isinstance(entry, dict) and not KEYS.isdisjoint(entry))


def _unusable(path: Path, what: str) -> ConfigurationError:
    remedy = "give the output of: llama-bench -o json, with -p and -n apart"
    return ConfigurationError([Problem(str(path), "file", what, remedy)])


def _records(tests: Sequence[Test], run: str, written: float) -> Iterator[Record]:
    seen: Counter[str] = Counter()
    for test in tests:
        cell = _cell(test)
        job = Job(
            run=run,
            host="imported",
            build=Build(hash=content_hash(["llama.cpp", *map(test.facts.get, PROGRAM)])),
            cell=cell,
            repetition=seen[cell.id],
        )
        seen[cell.id] += 1
        environment = _environment(test)
        yield Record(
            job=job,
            status="ok",
            started=_time(test.time, written),
            samples=tuple(_samples(test)),
            environment=environment,
            environment_after=environment,
            details={"llama_bench": dict(test.facts), "test_time": test.time},
        )


def _cell(test: Test) -> Cell:
    keys, values = (str(test.facts.get(name, "f16")) for name in TYPES)
    settings = {name: value for name, value in test.facts.items() if name not in NO_SETTING}
    lengths = {"prompt": test.n_prompt, "tokens": test.n_gen, "depth": test.n_depth}
    return Cell(
        benchmark="llama_bench",
        model=str(test.facts.get("model_filename", test.facts.get("model_type", "unknown"))),
        cache=Cache(name="llama_cpp", params={"keys": keys, "values": values}),
        params={**settings, **lengths, "context": test.n_prompt + test.n_depth},
    )


def _environment(test: Test) -> Environment:
    facts: dict[str, Fact] = {name: test.facts[name] for name in MACHINE if name in test.facts}
    processor = str(facts.get("cpu_info", "")).rpartition(", ")[2]
    facts["device"] = str(facts.get("gpu_info", "")) or processor or "unknown device"
    return Environment(
        facts=facts,
        unknown={"state": "llama-bench does not tell the state of the machine"},
        comparable=("device", "backends"),
    )


def _time(text: str, written: float) -> float:
    """Return the time that a test says, in seconds since 1970; ``written`` for none of the past."""
    try:
        said = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return written
    return said if 0 < said <= written else written


def _samples(test: Test) -> Iterator[Sample]:
    assert test.metric  # noqa: S101  others are refused before
    for trial, speed in enumerate(test.speeds):
        yield Sample(metric=test.metric, value=speed, trial=trial)
