"""A build proves itself on a host before any figure, whatever is measured."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

import jobs
from worker import build, turbo
from worker.conformance import Conformance
from worker.job import Build, Cache, Cell, Order
from worker.process.launch import launch
from worker.turbo import conformance as turbo_conformance

TURBO = Path(turbo.__file__).parent
MEMORY = Cell(benchmark="memory", model="reference", params={"context": 160, "tokens": 2})
BARE = Cell(benchmark="bandwidth", params={"megabytes": 1, "chain": 1, "trials": 1})


@pytest.fixture
def run(tmp_path):
    def run(made: Build, cell: Cell, deadline: float = 120.0):
        job = jobs.job(made, cell=cell, deadline=deadline)
        return launch(Order(job=job), tmp_path / "builds", tmp_path / "lock")

    return run


@pytest.fixture
def built(tmp_path):
    """Unpack a subject whose conformance module has this source, or the cache of this tree."""

    def built(source: str | None = None) -> Build:
        folder = tmp_path / "draft"
        if source is None:
            shutil.copytree(TURBO, folder, ignore=shutil.ignore_patterns("__pycache__", "bench"))
        else:
            folder.mkdir()
            (folder / "__init__.py").write_text("")
            (folder / "conformance.py").write_text(source)
        name = build.tree_hash(folder)
        (tmp_path / "builds" / name).mkdir(parents=True)
        folder.rename(tmp_path / "builds" / name / "turbo")
        return Build(hash=name)

    return built


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [BARE, MEMORY.model_copy(update={"cache": Cache(name="fp16")})], ids=["bare", "fp16"]
)
def test_a_device_that_fails_the_codec_gives_no_figure_at_all(run, built, cell):
    record = run(built("def require():\n    raise RuntimeError('codec/80/4 is wrong')"), cell)
    assert (record.status, record.samples) == ("failed", ())
    assert (record.failure.kind, record.failure.message) == ("wrong", "codec/80/4 is wrong")


@pytest.mark.slow
def test_the_first_job_proves_a_build_and_later_ones_know(run, built, tmp_path):
    runs = tmp_path / "runs"
    made = built(
        "from types import SimpleNamespace\n"
        "def require():\n"
        f"    open({str(runs)!r}, 'a').write('x')\n"
        "    return SimpleNamespace(attention_failures=('fused attention/64/4/4/1',))\n"
    )
    found = [run(made, BARE).details["conformance"] for _ in range(2)]
    assert found[0] == found[1]
    assert found[0]["left_alone"] == ["fused attention/64/4/4/1"]
    assert runs.read_text() == "x"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cache", "path"),
    [
        (Cache(name="fp16"), "stock"),
        (Cache(name="quantized"), "quantized_matmul"),
        (Cache(name="turbo"), "portable"),
    ],
)
def test_every_record_says_which_way_attention_took(run, built, cache, path):
    record = run(built(), MEMORY.model_copy(update={"cache": cache}))
    assert record.failure is None
    assert record.details["conformance"] == {"golden_vectors": "passed", "left_alone": []}
    assert record.details["cache"]["attention_path"] == path


def test_the_harness_takes_all_that_the_report_of_our_cache_says():
    told = {field.name for field in dataclasses.fields(turbo_conformance.Report)}
    assert told <= set(Conformance.model_fields)
