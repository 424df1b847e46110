"""llama-bench as a benchmark: a program of somebody else's, found, asked, and timed."""

import json
import time

import pytest

import fake_llama_bench
import jobs
from fake_llama_bench import GOLDEN
from worker.benchmarks import llama_bench
from worker.caches import llama_cpp
from worker.job import Cache, Cell, Order
from worker.machine import readings
from worker.process.launch import launch
from worker.record import Sample
from worker.refusal import RefusalError


@pytest.fixture
def measure(tmp_path):
    def measure(program, model="tiny.gguf", keys="f16", values="f16", **params):
        cache = llama_cpp.make_cache(model, keys=keys, values=values)
        given = llama_bench.DEFAULTS | {"binary": str(program)} | params
        said = list(llama_bench.run(model, None, lambda: cache, **given))
        return said, llama_cpp.describe(cache)

    return measure


def figures(said, metric):
    return [item.value for item in said if isinstance(item, Sample) and item.metric == metric]


def test_every_repetition_of_a_real_run_is_a_sample(measure, tmp_path):
    said, _ = measure(fake_llama_bench.install(tmp_path / "bin"))
    recorded = json.loads((GOLDEN / "reference.json").read_text())
    prompt = next(test for test in recorded if test["n_prompt"])
    expected = [prompt["n_prompt"] * 1e9 / time for time in prompt["samples_ns"]]
    assert figures(said, "prompt_tps") == pytest.approx(expected)
    speeds = figures(said, "generation_tps")
    assert figures(said, "tpot") == pytest.approx([1 / speed for speed in speeds])
    assert len(speeds) == 5


def test_the_record_says_which_build_ran_and_what_its_cache_was(measure, tmp_path):
    said, cache = measure(fake_llama_bench.install(tmp_path / "bin"))
    about = next(item["llama_bench"] for item in said if "llama_bench" in item)
    recorded = json.loads((GOLDEN / "reference.json").read_text())[0]
    assert about["version"] == f"b{recorded['build_number']} ({recorded['build_commit']})"
    assert about["program"] == str(tmp_path / "bin" / "llama-bench")
    assert (cache["asked_keys"], cache["asked_values"]) == ("f16", "f16")
    assert (cache["keys"], cache["values"]) == ("q8_0", "turbo4")
    assert "auto-asymmetric: GQA ratio 7:1" in cache["changes"][0]
    (size,) = figures(said, "kv_bytes_claimed")
    assert size > 0


def test_a_type_that_the_program_does_not_know_is_refused(measure, tmp_path):
    program = fake_llama_bench.install(tmp_path / "bin")
    with pytest.raises(RefusalError, match="no KV cache of type 'q8_0' and 'turbo4'; take"):
        measure(program, keys="q8_0", values="turbo4")


def test_a_model_that_does_not_load_is_refused_in_the_programs_words(measure, tmp_path):
    program = fake_llama_bench.install(tmp_path / "bin")
    with pytest.raises(RefusalError, match="failed to load model"):
        measure(program, model="missing.gguf")


def test_a_hub_model_needs_a_program_that_fetches(measure, tmp_path):
    program = fake_llama_bench.program(tmp_path / "old", "#!/bin/sh\necho usage\n")
    with pytest.raises(RefusalError, match="this llama-bench fetches no models"):
        measure(program, model="A/B-GGUF:Q8_0")


@pytest.mark.parametrize(
    ("words", "asked"), [("<0|1>", " -fa 1 "), ("<on|off|auto>", " -fa on "), (" ", "gguf -o ")]
)
def test_flash_attention_is_asked_for_in_the_words_of_the_version(measure, tmp_path, words, asked):
    source = f"#!/bin/sh\n[ $1 = --help ] && echo '-fa, --flash-attn {words}' && exit\nexit 1\n"
    program = fake_llama_bench.program(tmp_path / "bin", source)
    with pytest.raises(RefusalError, match=asked):
        measure(program)


def test_what_is_no_json_is_refused(measure, tmp_path):
    program = fake_llama_bench.program(tmp_path / "odd", "#!/bin/sh\necho hello\n")
    with pytest.raises(RefusalError, match="said what is not its JSON: no JSON in it"):
        measure(program)


def test_a_missing_program_is_refused_with_the_remedy(measure):
    with pytest.raises(RefusalError, match="no program '/none' on this host; install llama.cpp"):
        measure("/none")


def test_the_program_may_be_named_by_the_environment(measure, tmp_path, monkeypatch):
    program = fake_llama_bench.install(tmp_path / "bin")
    monkeypatch.setenv(llama_bench.VARIABLE, str(program))
    assert figures(measure(llama_bench.DEFAULTS["binary"])[0], "generation_tps")


def test_processor_time_of_the_program_is_the_jobs_own(measure, tmp_path):
    program = fake_llama_bench.program(
        tmp_path / "busy", "#!/bin/sh\ni=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3\n"
    )
    before = readings.read().own - time.process_time()
    with pytest.raises(RefusalError, match="ended with status 3: no reason given"):
        measure(program)
    assert readings.read().own - time.process_time() > before


def launched(tmp_path, program, **about):
    """Have a job of this program run in a process of its own; return the record."""
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    cell = Cell(
        benchmark="llama_bench",
        model=str(model),
        cache=Cache(name="llama_cpp"),
        params={"binary": str(program)},
    )
    job = jobs.job(jobs.unpacked_build(tmp_path / "builds", ""), cell=cell, **about)
    return launch(Order(job=job), tmp_path / "builds", tmp_path / "lock")


@pytest.mark.slow
def test_a_program_that_hangs_is_ended_with_its_job(tmp_path):
    pid = tmp_path / "pid"
    program = fake_llama_bench.program(tmp_path / "bin", f"#!/bin/sh\necho $$ > {pid}\nsleep 600\n")
    record = launched(tmp_path, program, deadline=15.0)
    assert record.failure.kind == "deadline"
    assert jobs.ended(int(pid.read_text()))


@pytest.mark.slow
def test_the_record_holds_what_program_and_cache_said(tmp_path):
    program = fake_llama_bench.install(tmp_path / "bin")
    record = launched(tmp_path, program)
    assert record.failure is None
    assert record.details["llama_bench"]["version"] == "b9079 (69d8e4be4)"
    assert record.details["cache"]["keys"] == "q8_0"
    metrics = {sample.metric for sample in record.samples}
    assert metrics == {"kv_bytes_claimed", "prompt_tps", "generation_tps", "tpot"}
