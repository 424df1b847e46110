"""Decode figures that run the wrong way are flagged, those that behave are not."""

from __future__ import annotations

import jobs
from worker.job import Cache, Cell
from worker.record import Sample
from worker.suspicion import of_run, of_samples


def own(record):
    return of_samples(record.samples, record.details)


def decode(context: int, *tps: float, repetition: int = 0, started: float = 1.0):
    cell = Cell(
        benchmark="decode",
        model="reference",
        cache=Cache(name="fp16"),
        params={"context": context, "tokens": 64},
    )
    return jobs.record(jobs.job(cell=cell, repetition=repetition), values=tps, started=started)


def test_decode_that_rises_with_context_is_flagged_where_it_rises():
    short, long = decode(128, 34.8), decode(4096, 46.9)
    assert of_run([long, short]) == {long.job.id: ("decode is 35% faster than with less context",)}


def test_decode_that_falls_or_wobbles_is_not_flagged():
    assert of_run([decode(128, 100.0), decode(4096, 102.0), decode(16384, 80.0)]) == {}


def test_a_first_cell_slower_than_its_repeats_is_flagged():
    first = decode(128, 80.0, started=1.0)
    again = decode(128, 100.0, repetition=1, started=2.0)
    assert of_run([again, first]) == {first.job.id: ("ran at 80% of its repeats: cold?",)}


def test_a_disturbed_record_and_its_repetition_are_no_cold_start():
    spoiled = decode(128, 80.0).model_copy(update={"invalid": jobs.BUSY})
    assert of_run([spoiled, decode(128, 100.0, repetition=1, started=2.0)]) == {}


def test_a_repetition_is_compared_with_other_contexts_too():
    short, long = decode(128, 34.8), decode(4096, 46.9, repetition=1)
    assert list(of_run([long, short])) == [long.job.id]


def test_other_caches_hosts_and_builds_are_not_compared():
    other = jobs.record(decode(4096, 1.0).job.model_copy(update={"host": "mini"}), values=(90.0,))
    assert of_run([decode(128, 50.0), other]) == {}


def test_a_cold_first_trial_is_flagged_within_its_record():
    assert own(decode(128, 70.0, 100.0, 101.0)) == (
        "the first trial ran at 70% of the others: cold?",
    )
    assert own(decode(128, 99.0, 100.0, 101.0)) == ()


def test_more_bandwidth_than_there_is_is_flagged():
    record = jobs.record().model_copy(
        update={"samples": (Sample(metric="nominal_fraction", value=1.04),)}
    )
    assert own(record) == ("nominal_fraction is 104%: the bytes or the nominal figure are wrong",)
