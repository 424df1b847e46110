"""The divergence that a choice measures is `divergence`'s, with fp16's answers computed once."""

from __future__ import annotations

import mlx.core as mx
import pytest

from worker.benchmarks import divergence, quick_divergence
from worker.models import exact, loading, packaged
from worker.record import Sample
from worker.turbo import make_cache, unpatch_mlx_lm

ASKED = {"context": 192, "positions": 20, "step": 8, "text": "corpus"}


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(packaged.VARIABLE, str(tmp_path))
    yield
    unpatch_mlx_lm()


@pytest.fixture(scope="module")
def reference():
    return loading.load("reference")


def small(reference):
    return lambda: make_cache(reference[0], key_bits=3, value_bits=2)


def measured(reference, **changes):
    """Return where fp16's answers came from, and the samples."""
    said = [*quick_divergence.run(*reference, small(reference), **ASKED | changes)]
    (told,) = [each for each in said if isinstance(each, dict)]
    return told["exact_answers"], [each for each in said if isinstance(each, Sample)]


def files(folder):
    return sorted((folder / "exact").iterdir())


def test_it_is_the_divergence_and_the_second_time_fp16_is_not_computed(reference):
    expected = [*divergence.run(*reference, small(reference), greedy=0, **ASKED)]
    assert measured(reference) == ("computed", expected)
    asked = [sample.metric for sample in expected]
    assert (asked.count("kl"), asked.count("greedy_prefix")) == (3, 0)
    assert expected[-3].value > 1e-5
    assert measured(reference) == ("kept", expected)


@pytest.mark.parametrize("changes", [{"context": 191}, {"positions": 21}, {"step": 4}])
def test_answers_to_something_else_are_computed(reference, changes):
    measured(reference)
    assert measured(reference, **changes)[0] == "computed"


def test_answers_of_other_weights_are_computed(reference):
    measured(reference)
    model, _ = reference
    before = model.model.norm.weight
    try:
        model.model.norm.weight = before * 1.001
        assert measured(reference)[0] == "computed"
    finally:
        model.model.norm.weight = before


@pytest.mark.parametrize("damaged", [b"", bytes(99), b"cut"], ids=["empty", "zeros", "cut"])
def test_a_damaged_file_is_computed_anew(reference, tmp_path, damaged):
    _, expected = measured(reference)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-50] if damaged == b"cut" else damaged)
    assert measured(reference) == ("computed", expected)
    assert measured(reference) == ("kept", expected)


def test_the_longest_unused_answers_go_when_there_are_too_many(reference, tmp_path, monkeypatch):
    model, _ = reference
    for length in (20, 21):
        exact.answers(model, [1] * length, 10, 8)
    size = sum(file.stat().st_size for file in files(tmp_path))
    assert exact.answers(model, [1] * 20, 10, 8)[1]
    monkeypatch.setattr(exact, "MOST", size)
    exact.answers(model, [1] * 18, 10, 8)
    kept = [exact.answers(model, [1] * length, 10, 8)[1] for length in (18, 20, 21)]
    assert kept == [True, True, False]


def test_a_folder_that_cannot_be_written_costs_nothing_but_a_word(
    reference, monkeypatch, tmp_path, caplog
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(packaged.VARIABLE, str(tmp_path / "file"))
    assert measured(reference)[0] == "computed"
    assert "exact answers are not kept" in caplog.text


def test_a_context_is_read_in_chunks_and_the_rest_by_steps(reference, monkeypatch):
    model, _ = reference
    monkeypatch.setattr(exact, "PREFILL_STEP", 64)
    found = [*exact.by_steps(model, [1] * 110, 100, 8, exact.fp16.make_cache(model))]
    assert [len(each) for each in found] == [8, 2]
    assert not mx.any(mx.isnan(found[1]))
