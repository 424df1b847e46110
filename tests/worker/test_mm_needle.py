"""Questions to texts with images: by mlx-vlm's own code on a tiny random model."""

import json
import sys

import pytest

import jobs
import tiny_vision
from worker.job import Cache, Cell, Order
from worker.models import vision
from worker.process.launch import launch
from worker.refusal import RefusalError

pytestmark = pytest.mark.slow

#: A subject whose fifth cache kills the process, but only the first time.
DYING = """
import os, signal
from pathlib import Path
from mlx_lm.models.cache import make_prompt_cache

notes = Path({notes!r})

def make_cache(model, **params):
    with notes.open("a") as file:
        file.write("x")
    if len(notes.read_text()) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_prompt_cache(model)

def describe(cache):
    return {{}}
"""

#: A subject of another kind than fp16 KV that holds the same bytes.
HONEST = """
from mlx_lm.models.cache import make_prompt_cache
from mlx_vlm.models.cache import KVCache

class Same(KVCache):
    pass

def make_cache(model, **params):
    return [Same() if type(c) is KVCache else c for c in make_prompt_cache(model)]

def describe(cache):
    return {"bytes": sum(layer.nbytes for layer in cache if isinstance(layer, Same))}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_vision.save(tmp_path_factory.mktemp("vision") / "model")


@pytest.fixture
def ask(tmp_path, model):
    def ask(source, file, context=1000):
        cell = Cell(
            benchmark="mm_needle",
            model=str(model),
            cache=Cache(name="turbo"),
            params={"context": context, "file": str(file), "tokens": 4},
        )
        build = jobs.unpacked_build(tmp_path / "builds", source)
        return launch(Order(job=jobs.job(build, cell=cell)), tmp_path / "builds", tmp_path / "lock")

    return ask


def test_a_job_that_is_killed_half_way_goes_on_after_what_it_has_done(tmp_path, ask):
    file = tiny_vision.haystack(tmp_path / "niah", lengths=(900, 1000, 1100, 60000))
    notes = tmp_path / "notes"
    source = DYING.format(notes=str(notes))
    assert "SIGKILL" in ask(source, file).failure.message
    (journal,) = (tmp_path / "journals").iterdir()
    (kept,) = map(json.loads, filter(None, journal.read_text().splitlines()))
    record = ask(source, file)
    assert record.failure is None
    assert [sample.model_dump(mode="json") for sample in record.samples[:3]] == kept["samples"]
    asked = [s.labels["question"] for s in record.samples if s.metric == "generation_tps"]
    assert asked == ["0", "1", "2"]
    # Two caches each for the warm-up, the question that was under way, and the one after it.
    assert len(notes.read_text()) == 5 + 6
    assert not journal.exists()


def test_the_bytes_of_a_cache_are_all_its_own_after_any_other(tmp_path, ask):
    file = tiny_vision.haystack(tmp_path / "niah", lengths=(900, 1000, 1100))
    record = ask(HONEST, file)
    assert record.failure is None
    sizes = [sample.value for sample in record.samples if sample.metric == "kv_bytes"]
    assert min(sizes) > record.details["cache"]["bytes"] > 0
    savings = [sample.value for sample in record.samples if sample.metric == "kv_saving"]
    assert savings == pytest.approx([0, 0, 0], abs=0.02)


def test_a_line_that_a_kill_cut_off_is_measured_again(tmp_path, ask):
    file = tiny_vision.haystack(tmp_path / "niah", lengths=(900, 1000))
    source = DYING.format(notes=str(tmp_path / "notes"))
    ask(source, file)
    (journal,) = (tmp_path / "journals").iterdir()
    journal.write_text(journal.read_text().rstrip()[:-20])
    record = ask(source, file)
    assert [s.trial for s in record.samples if s.metric == "kv_bytes"] == [0, 1]


@pytest.mark.parametrize(
    ("context", "told"),
    [(1000, "no folder"), (7000, "no question of about 7000 tokens")],
)
def test_a_wrong_file_is_refused_with_what_to_get(tmp_path, ask, context, told):
    file = tmp_path / "niah" / "annotations" / "retrieval-text.jsonl"
    if context != 1000:
        tiny_vision.haystack(tmp_path / "niah")
    record = ask("", file, context)
    assert record.failure.kind == "refused"
    assert told in record.failure.message


def test_a_host_without_mlx_vlm_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlx_vlm", None)
    with pytest.raises(RefusalError, match=r"'mlx_vlm' on this host.* -m pip install mlx-vlm=="):
        vision.load("hub/model")
