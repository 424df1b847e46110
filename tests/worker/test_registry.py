"""The folders are the registry: each file keeps the contract of its folder."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import worker
from worker import registry

FOLDER = Path(worker.__file__).parent


@pytest.mark.parametrize("kind", ["benchmarks", "caches"])
def test_each_file_says_in_one_sentence_what_it_is(kind):
    for entry in registry.entries(kind).values():
        assert entry.summary.endswith("."), entry.name


@pytest.mark.parametrize("name", registry.entries("benchmarks"))
def test_a_benchmark_takes_exactly_its_defaults_by_name(name):
    run = registry.load("benchmarks", name).run
    keywords = [
        p.name for p in inspect.signature(run).parameters.values() if p.kind == p.KEYWORD_ONLY
    ]
    assert keywords == list(registry.entries("benchmarks")[name].defaults)


@pytest.mark.parametrize("name", registry.entries("caches"))
def test_a_cache_takes_exactly_its_defaults_by_name(name):
    tree = ast.parse((FOLDER / "caches" / f"{name}.py").read_text())
    make = next(node for node in tree.body if getattr(node, "name", "") == "make_cache")
    keywords = [argument.arg for argument in make.args.kwonlyargs]
    assert keywords == list(registry.entries("caches")[name].defaults)


def test_listing_imports_no_mlx():
    listing = "from farm.__main__ import main; main(['benchmarks'])"
    code = f"import sys; {listing}; print('mlx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(registry.UnknownEntryError, match="no 'speed' in benchmarks; there are: "):
        registry.load("benchmarks", "speed")
