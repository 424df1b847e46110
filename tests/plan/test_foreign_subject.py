"""Another repository as the subject: whatever offers make_cache(model, **params) is measured."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from programs import words

pytestmark = pytest.mark.slow

LAYER = """
from mlx_lm.models.cache import KVCache

class RoundedCache:
    def __init__(self, digits):
        self._inner, self.digits = KVCache(), digits

    @property
    def offset(self):
        return self._inner.offset

    @property
    def state(self):
        return self._inner.state

    def make_mask(self, *args, **kwargs):
        return self._inner.make_mask(*args, **kwargs)

    def update_and_fetch(self, keys, values):
        return self._inner.update_and_fetch(keys, values.round(self.digits))
"""
FACTORY = """
from .layer import RoundedCache

def make_cache(model, **params):
    return [RoundedCache(params.get("digits", 2)) for _ in model.layers]
"""
SUITE = """
description: somebody else's cache
models: [reference]
deadline: 120
caches:
  fp16: {{kind: fp16}}
  theirs: {cache}
cells:
- {{benchmark: memory, caches: [theirs], contexts: [160], params: {{tokens: 2}}}}
- {{benchmark: divergence, caches: [theirs], contexts: [160], params: {{positions: 4, greedy: 2}}}}
- {{benchmark: decode, caches: [theirs], contexts: [160], params: {{tokens: 2, trials: 1}}}}
"""


@pytest.fixture
def theirs(tmp_path):
    """Return the package's folder in a repository of its own."""
    package = tmp_path / "theirs" / "src" / "rounding"
    package.mkdir(parents=True)
    (package / "layer.py").write_text(LAYER)
    (package / "__init__.py").write_text(FACTORY)
    git(package.parents[1], "init", "-q")
    commit(package)
    (tmp_path / "inventory.yaml").write_text(
        "subject: {repository: theirs, path: src/rounding}\nhosts: {local: {local: true}}\n"
    )
    return package


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "a commit")


def run(folder, cache, *arguments):
    """Return the status, the records and the errors of ``farm run``."""
    (folder / "mine.yaml").write_text(SUITE.format(cache=cache))
    repository = Path(__file__).parents[2]
    once = ["--json", "--again", "0", "--anyway"]
    done = subprocess.run(
        [*words("farm_in_one"), "run", "--suite", "mine.yaml", *once, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(repository), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [line for line in lines if "summary" not in line], done.stderr


def divergences(records):
    samples = [sample for record in records for sample in record["samples"]]
    return [sample["value"] for sample in samples if sample["metric"] == "kl_divergence"]


def test_its_own_parameters_reach_its_factory(theirs, tmp_path):
    status, records, errors = run(tmp_path, "{kind: subject, digits: 0}")
    assert status == 0, errors
    details = [record["details"] for record in records]
    assert details[0]["cache"] == {"layers": 6, "kinds": ["RoundedCache"]}
    assert details[0]["conformance"] == {"golden_vectors": "not offered"}
    assert records[0]["job"]["build"]["dirty"] is False
    coarse = divergences(records)
    status, records, errors = run(tmp_path, "{kind: subject, digits: 3}")
    assert status == 0, errors
    assert divergences(records)[0] < coarse[0]


def test_its_commits_are_compared_and_what_it_tells_is_recorded(theirs, tmp_path):
    told = "\n\ndef describe(cache):\n    return {'digits': cache[0].digits}\n"
    (theirs / "__init__.py").write_text(FACTORY.replace('"digits", 2', '"digits", 3') + told)
    commit(theirs)
    found = [run(tmp_path, "{kind: subject}", "--commit", name)[1] for name in ("HEAD~1", "HEAD")]
    assert divergences(found[0])[0] > divergences(found[1])[0]
    assert found[1][0]["details"]["cache"] == {"digits": 3}


def test_a_cache_whose_answers_are_not_finite_fails_its_cells_and_the_run_goes_on(theirs, tmp_path):
    broken = LAYER.replace("values.round(self.digits)", "values * float('nan')")
    (theirs / "layer.py").write_text(broken)
    status, records, errors = run(tmp_path, "{kind: subject}")
    assert status == 3, errors
    failures = [record["failure"] and record["failure"]["message"] for record in records]
    assert failures == [None, "kl is nan, no finite figure", None]


@pytest.mark.parametrize(
    ("source", "cache", "problem"),
    [
        ("x = 1", "{kind: subject}", "the package has no make_cache(model, **params)"),
        ("from rounding.layer import x", "{kind: subject}", "No module named 'rounding'"),
        (
            FACTORY.replace("**params", "digits"),
            "{kind: subject, digit: 3}",
            "missing a required argument: 'digits'; its factory is make_cache(model, digits)",
        ),
        (
            FACTORY.replace("**params", "digits=2"),
            "{kind: turbo}",
            "kind of cache 'subject' passes the parameters of the suite and no others",
        ),
    ],
)
def test_what_it_cannot_take_is_refused_in_a_sentence(theirs, tmp_path, source, cache, problem):
    (theirs / "__init__.py").write_text(source)
    status, records, _ = run(tmp_path, cache)
    assert status == 3
    assert {record["failure"]["kind"] for record in records} == {"refused"}
    assert all(problem in record["failure"]["message"] for record in records)
