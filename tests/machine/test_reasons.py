"""One rule says which figures count; sentences of old records are read into kinds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import jobs
from worker.machine.reasons import KINDS, Reason, counts
from worker.metrics import METRICS
from worker.record import Failure, Record, Sample

BUSY = Reason.of("busy", cores=0.8)
SWAPPED = Reason.of("swapped", mebibytes=40.0)

OLD = {
    "other processes used 0.80 cores": ("busy", {"cores": 0.8}),
    "other processes used 1.20 cores for a second": ("busy for a second", {"cores": 1.2}),
    "on battery power before the job": ("on battery", {"source": "battery"}),
    "on ups power after the job": ("on battery", {"source": "ups"}),
    "in low power mode before the job": ("low power", {}),
    "thermal level heavy during the job": ("hot", {"level": "heavy"}),
    "throttled to priority 20 before the job": ("throttled", {"priority": 20}),
    "Time Machine used 1.5 cores after the job": (
        "background work",
        {"activity": "Time Machine", "cores": 1.5},
    ),
    "in a virtual machine before the job": ("virtual machine", {}),
    "power_mode changed from high to low": (
        "changed",
        {"fact": "power_mode", "before": "high", "after": "low"},
    ),
    "another process used the GPU to 40% before the job": ("GPU in use", {"share": 0.4}),
    "the GPU is used to 40%": ("GPU in use", {"share": 0.4}),
    "the hypervisor took 0.50 cores": ("stolen", {"cores": 0.5}),
    "swap grew by 1024 MiB": ("swapped", {"mebibytes": 1024}),
    "only 0 MiB of memory were left": ("little memory", {"mebibytes": 0}),
    "waited for memory for 0.50 s": ("waited for memory", {"seconds": 0.5}),
    "at its memory limit 3 times": ("at its memory limit", {"times": 3}),
    "the clock jumped by -0.50 s, or the machine slept": ("clock jumped", {"seconds": -0.5}),
    "the process stood still for 5.00 s": ("stood still", {"seconds": 5.0}),
    "the GPU clock fell from 1368 to 743 MHz": ("GPU clock fell", {"best": 1368, "clock": 743}),
    "memory pressure critical after the job": ("memory pressure", {"level": "critical"}),
    "canary product took 1.50 times the host's best, after the job": (
        "slow canary",
        {"kernel": "product", "times": 1.5},
    ),
}


def kinds_that_count(*reasons):
    return {metric.kind for name, metric in METRICS.items() if counts(name, reasons)}


def test_load_spoils_speed_bandwidth_and_energy_and_neither_bytes_nor_quality():
    assert kinds_that_count(BUSY) == {"bytes", "quality"}


def test_swapping_spoils_bytes_too_and_never_quality():
    assert kinds_that_count(BUSY, SWAPPED) == {"quality"}


def test_only_swapping_spoils_bytes_and_nothing_seen_on_a_machine_spoils_quality():
    known = {kind: meaning for kind, meaning in KINDS.items() if kind != "other"}
    assert [kind for kind, meaning in known.items() if "bytes" in meaning.spoils] == ["swapped"]
    assert not any("quality" in meaning.spoils for meaning in known.values())


def test_without_a_reason_everything_counts_and_an_unknown_metric_only_then():
    assert kinds_that_count() == {metric.kind for metric in METRICS.values()}
    assert counts("of a later version", [])
    assert not counts("of a later version", [BUSY])


def test_no_figure_of_a_failed_record_counts():
    failed = jobs.record(status="failed", failure=Failure(kind="crash", message="gone"))
    assert not failed.counts("perplexity")


def test_a_record_names_what_was_measured_and_does_not_count():
    samples = (
        Sample(metric="prompt_tps", value=1.0, warmup=True),
        Sample(metric="generation_tps", value=1.0),
        Sample(metric="kv_bytes", value=1.0),
    )
    record = jobs.record(invalid=(BUSY,)).model_copy(update={"samples": samples})
    assert record.spoiled == ("generation_tps",)


@pytest.mark.parametrize("sentence", OLD)
def test_every_sentence_of_old_records_is_read_as_what_it_meant(sentence):
    reason = Reason.model_validate(sentence)
    assert (reason.kind, reason.figures) == OLD[sentence]


def test_a_record_of_version_1_is_read_and_judged_by_the_rule():
    document = json.loads(jobs.record().model_dump_json())
    document |= {"version": 1, "invalid": ["other processes used 0.80 cores", "none that we know"]}
    record = Record.model_validate_json(json.dumps(document), strict=True)
    assert [reason.kind for reason in record.invalid] == ["busy", "other"]
    assert not record.counts("perplexity")
    assert record.invalid[1].sentence == "none that we know"


@given(sentence=st.text(max_size=60))
def test_any_text_is_a_reason_of_an_old_record(sentence):
    reason = Reason.model_validate(sentence)
    assert reason.kind == "other" or sentence in reason.sentence or reason.kind in KINDS
    assert Reason.model_validate_json(reason.model_dump_json()) == reason


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "of a later version", "figures": {}},
        {"kind": "busy", "figures": {}},
        {"kind": "busy", "figures": {"cores": "many"}},
    ],
)
def test_a_reason_that_cannot_be_told_is_refused(document):
    with pytest.raises(ValidationError):
        Reason.model_validate(document)


def test_every_kind_says_what_to_do():
    assert all(meaning.remedy for meaning in KINDS.values())
