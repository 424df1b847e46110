"""A cache and a benchmark are a file each, a metric is a line: added to a copy, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import farm_in_one
from programs import fast

REPOSITORY = Path(__file__).parents[2]
BENCHMARK = '''"""Counts the layers of a cache."""

from worker.record import Sample

DEFAULTS = {"context": 16}


def run(model, tokenizer, make_cache, *, context):
    """Yield ``layers``."""
    yield Sample(metric="layers", value=len(make_cache()))
'''
CACHE = '''"""fp16, but for the last layers."""

from mlx_lm.models.cache import make_prompt_cache

DEFAULTS = {"without": 1}
WIDTHS = {"without": 0.0}


def make_cache(model, *, without):
    """Return a cache that lacks some layers."""
    return make_prompt_cache(model)[:-without]


def describe(cache):
    """Return how many layers there are."""
    return {"layers": len(cache)}
'''
METRIC = '    "layers": Metric("layers", "higher", "layers of a cache", 0.0, "bytes"),\n'
SUITE = """
description: layers
models: [reference]
caches: {fp16: {kind: fp16}, short: {kind: short, without: 2}}
cells: [{benchmark: layers}]
"""


@pytest.mark.slow
def test_a_cache_and_a_benchmark_are_a_file_each_and_a_metric_is_a_line(tmp_path):
    for name in ("farm", "worker", "db"):
        skipped = shutil.ignore_patterns("__pycache__", "bench")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=skipped)
    (tmp_path / "worker" / "benchmarks" / "layers.py").write_text(BENCHMARK)
    (tmp_path / "worker" / "caches" / "short.py").write_text(CACHE)
    metrics = tmp_path / "worker" / "metrics.py"
    start = "METRICS: dict[str, Metric] = {\n"
    metrics.write_text(metrics.read_text().replace(start, start + METRIC))
    (tmp_path / "mine.yaml").write_text(SUITE)
    (tmp_path / "inventory.yaml").write_text("hosts: {local: {local: true}}\n")
    table = farm(tmp_path, "run", "--suite", "mine.yaml", "--again", "0", "--anyway")
    heading, fp16, short = table.splitlines()[1:4]
    assert heading.split() == ["cache", "layers@16"]
    assert fp16.split()[:2] == ["fp16", "6"]
    assert short.split()[:2] == ["short(without=2)", "4"]
    farm(tmp_path, "export", "all.csv")
    assert ",layers," in (tmp_path / "all.csv").read_text()


def farm(folder, *arguments):
    done = subprocess.run(
        [sys.executable, farm_in_one.__file__, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "HOME": str(folder)} | fast(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
