"""llama-bench's JSON of any version, and llama.cpp's log of its cache."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_llama_bench import GOLDEN, NEW, OLD
from worker import llama_cpp
from worker.llama_cpp import Kept, LlamaOutputError


def test_an_old_schema_is_read_with_exact_times():
    (test,) = llama_cpp.tests(json.dumps([OLD]))
    assert (test.metric, test.n_prompt, test.n_depth) == ("prompt_tps", 512, 0)
    assert test.speeds == (512.0, 256.0)
    assert test.facts["f16_kv"] is True
    assert test.time == "2023-12-07T11:58:50Z"


def test_a_new_schema_is_read_whatever_it_has_or_lacks():
    (test,) = llama_cpp.tests(json.dumps([NEW]))
    assert (test.metric, test.n_gen, test.n_depth) == ("generation_tps", 128, 4096)
    assert test.speeds == (50.0, 70.0)
    assert test.facts["load_mode"] == "mmap"
    assert "a_field_of_tomorrow" not in test.facts


def test_a_real_run_is_read():
    prompt, *_, generation = llama_cpp.tests((GOLDEN / "reference.json").read_text())
    assert (prompt.metric, generation.metric) == ("prompt_tps", "generation_tps")
    assert len(prompt.speeds) == len(generation.speeds) == 5
    assert prompt.facts["build_commit"]


def test_lines_of_json_and_logs_around_it_are_read():
    lines = f"load_backend: loaded CPU\n{json.dumps(OLD)}\n{json.dumps(NEW)}\nbye\n"
    assert [test.metric for test in llama_cpp.tests(lines)] == ["prompt_tps", "generation_tps"]


def test_a_test_of_both_reading_and_generating_has_no_metric():
    assert llama_cpp.tests(json.dumps([{**OLD, "n_gen": 16}]))[0].metric is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON"),
        ("| model | size |", "no JSON"),
        ("[]", "no test"),
        ("[{", "not whole JSON"),
        ("[3]", "test 1: not an object"),
        (json.dumps([{**OLD, "n_prompt": 0}]), "neither n_prompt nor n_gen"),
        (json.dumps([{**OLD, "n_prompt": -512}]), "n_prompt is no number of tokens"),
        (json.dumps([{**OLD, "n_prompt": 1e300}]), "n_prompt is no number of tokens"),
        (json.dumps([{**OLD, "n_prompt": True}]), "n_prompt is no number of tokens"),
        (json.dumps([{**OLD, "samples_ns": [0, 1]}]), "no positive number"),
        (json.dumps([{**OLD, "samples_ns": [float("nan")]}]), "no positive number"),
        (json.dumps([{**OLD, "samples_ns": "1000"}]), "samples_ns is no list"),
        (json.dumps([NEW, {**OLD, "samples_ns": [], "samples_ts": []}]), "test 2: no samples_ns"),
        ("[" * 100_000, "not whole JSON"),
    ],
)
def test_what_is_no_output_of_llama_bench_is_told(text, told):
    with pytest.raises(LlamaOutputError, match=told):
        llama_cpp.tests(text)


def test_the_log_tells_types_and_bytes_of_the_cache():
    log = "size =    0.88 MiB (   256 cells), K (q8_0):    0.38 MiB, V (turbo3):    0.50 MiB"
    assert llama_cpp.kept(log) == Kept("q8_0", "turbo3", pytest.approx(0.88 * 2**20))
    old = "KV self size  =   32.00 MiB, K (f16):   16.00 MiB, V (f16):   16.00 MiB"
    assert llama_cpp.kept(f"{log}\n{old}").keys == "q8_0+f16"
    assert llama_cpp.kept("nothing of it") is None


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=3), inner)),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from(sorted({**OLD, **NEW})), values))
def test_any_values_are_read_as_figures_or_refused(changes):
    try:
        (test,) = llama_cpp.tests(json.dumps([{**OLD, **changes}]))
    except LlamaOutputError:
        return
    assert test.speeds
    assert all(0 < speed < float("inf") for speed in test.speeds)


@given(text=st.one_of(st.text(), values.map(json.dumps)), cut=st.integers(0, 400))
def test_any_text_is_read_or_refused(text, cut):
    for document in (text, json.dumps([OLD, NEW])[:cut] + text):
        try:
            llama_cpp.tests(document)
        except LlamaOutputError:
            continue


@given(log=st.text(alphabet="KV( f16):0.9MiB,size=\n"))
def test_any_log_is_read(log):
    llama_cpp.kept(log)
    llama_cpp.refused_type(log)
