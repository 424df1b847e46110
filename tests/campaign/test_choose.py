"""``farm choose`` over a farm whose truth is known: each setting's divergence is made."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from db import queries, store
from db.engine import open_database
from farm.__main__ import main
from farm.campaign.campaign import Campaign
from farm.commands import choose as command
from worker.job import Job
from worker.record import Environment, Failure, Record, Sample

SIDE = {8: 0.00001, 6: 0.0002, 4: 0.002, 3: 0.01, 2: 0.1}
#: What each layer has of the sum: the second is heavy.
LAYERS = (0.05, 0.8, 0.05, *[0.1 / 27] * 27)
TEXTS = {"other.txt": 3.0, "pydoc": 3.0}


class Truth:
    """Stands in for ``Campaign.measure``; counts what was asked for."""

    def __init__(self):
        self.asked = []
        self.layers = LAYERS
        self.failing = None
        self.packed = 900

    def __call__(self, campaign, host):
        def measure(build, cell, repetition):
            job = Job(run=campaign.run, host=host, build=build, cell=cell, repetition=repetition)
            store.record_run(campaign.engine, campaign.run, campaign.suite, time.time(), [job])
            record = self.record(job)
            store.record_result(campaign.engine, record)
            return record

        return measure

    def record(self, job):
        self.asked.append(job.cell)
        failure = self.failing(job.cell) if self.failing else None
        samples = () if failure else tuple(self.samples(job.cell))
        return Record(
            job=job,
            status="failed" if failure else "ok",
            failure=failure,
            started=time.time(),
            samples=samples,
            details={"cache": {"compressed_tokens": self.packed}},
            environment=Environment(facts={"device": "a fake"}),
            build_hash=job.build.hash,
        )

    def samples(self, cell):
        if cell.benchmark == "quick_divergence":
            level = self.divergence(cell) * TEXTS.get(Path(cell.params["text"]).name, 1.0)
            for trial in range(128):
                yield Sample(metric="kl", value=level * (0.9 + 0.2 * (trial % 2)), trial=trial)
            yield Sample(metric="kl_divergence", value=level)
        elif cell.benchmark == "layers":
            for layer, share in enumerate(self.layers):
                yield Sample(metric="layer_kl", value=share, labels={"layer": layer})
        elif cell.benchmark == "memory":
            yield Sample(metric="kv_bytes", value=1e6 * (1 if cell.is_baseline else 0.25))
        else:
            metric = {"decode": "generation_tps", "prefill": "prompt_tps"}[cell.benchmark]
            yield Sample(metric=metric, value=100.0 if cell.is_baseline else 80.0)

    def divergence(self, cell):
        params = cell.cache.params
        own = {layer: keys for layer, keys, _ in params.get("layer_bits", [])}
        left = 1 - sum(self.layers[layer] for layer in own)
        return left * (SIDE[params["key_bits"]] + SIDE[params["value_bits"]] / 4)


@pytest.fixture
def truth(monkeypatch, tmp_path):
    found = Truth()
    monkeypatch.setattr(Campaign, "measure", lambda *asked: found(*asked))  # noqa: PLW0108  a method is bound
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "worker" / "turbo").mkdir(parents=True)
    (tmp_path / "worker" / "turbo" / "__init__.py").write_text("")
    (tmp_path / "inventory.yaml").write_text("hosts: {mini: {local: true}}\n")
    return found


def choose(*arguments):
    return main(["choose", "reference", "--context", "1K", "--anyway", *arguments])


def chosen(capsys, *arguments):
    assert choose("--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def of(asked, benchmark):
    return [cell for cell in asked if cell.benchmark == benchmark]


@pytest.mark.slow
def test_the_smallest_rung_within_the_budget_is_found_by_measuring_few(truth, capsys):
    truth.layers = (1 / 30,) * 30
    found = chosen(capsys, "--max-kl", "0.004")
    assert found["chosen"]["cache"]["params"] == {"key_bits": 4, "value_bits": 4}
    assert len(of(truth.asked, "quick_divergence")) <= 4
    assert {row["metric"]: row["of_fp16"] and row["of_fp16"]["value"] for row in found["figures"]}
    by_metric = {row["metric"]: row for row in found["figures"] if row["cache"] != "fp16"}
    assert by_metric["kv_bytes"]["of_fp16"]["value"] == pytest.approx(0.25)
    assert by_metric["generation_tps"]["of_fp16"]["value"] == pytest.approx(0.8)
    assert by_metric["prompt_tps"]["of_fp16"]["pairs"] == 2


@pytest.mark.slow
def test_a_heavy_layer_is_spared_where_that_is_smaller(truth, capsys):
    found = chosen(capsys, "--max-kl", "0.008")
    assert found["chosen"]["cache"]["params"] == {
        "key_bits": 3,
        "value_bits": 3,
        "layer_bits": [[1, 8, 4]],
    }
    assert "layer_bits=[(1, 8, 4)]" in found["use"][0]
    assert "--layer-bits 1,8,4" in found["use"][1]


@pytest.mark.slow
def test_nothing_is_measured_twice_unless_asked_for(truth, capsys):
    first = chosen(capsys)
    count = len(truth.asked)
    assert chosen(capsys) == first
    assert len(truth.asked) == count
    chosen(capsys, "--again")
    assert len(truth.asked) == 2 * count


@pytest.mark.slow
def test_a_choice_that_broke_off_goes_on_where_it_was(truth, capsys):
    def failing(cell):
        if cell.benchmark == "memory":
            return Failure(kind="crash", message="killed")
        return None

    truth.failing = failing
    assert choose() == 3
    assert "memory@1024 fp16: killed" in capsys.readouterr().err
    before, truth.failing = list(truth.asked), None
    assert choose() == 0
    assert not of(truth.asked[len(before) :], "quick_divergence")
    engine = open_database(".farm/farm.db")
    assert {run.suite for run in queries.runs(engine)} == {"choose"}


def test_a_budget_that_no_setting_meets_names_the_nearest(truth, capsys):
    assert choose("--max-kl", "1e-9") == 2
    told = capsys.readouterr().err
    assert "the nearest is turbo(key_bits=8, value_bits=8), KL 1.3e-05" in told
    assert not of(truth.asked, "decode")


@pytest.mark.slow
def test_a_choice_that_does_not_hold_on_another_text_says_so(truth, capsys, tmp_path):
    truth.layers = (1 / 30,) * 30
    (tmp_path / "other.txt").write_text("Another text. " * 100)
    assert choose("--max-kl", "0.004", "--check", "other.txt") == 4
    assert "NOT within the budget" in capsys.readouterr().out
    assert choose("--max-kl", "0.004", "--check", "english") == 0
    assert "within the budget too" in capsys.readouterr().out


@pytest.mark.slow
def test_a_choice_holds_on_every_text_or_the_next_wider_is_taken(truth, capsys):
    truth.layers = (1 / 30,) * 30
    texts = ["--text", "english", "--text", "pydoc"]
    on_one = chosen(capsys, "--max-kl", "0.004", "--text", "english")
    found = chosen(capsys, "--max-kl", "0.004", *texts)
    assert on_one["chosen"]["cache"]["params"] == {"key_bits": 4, "value_bits": 4}
    assert found["chosen"]["cache"]["params"] == {"key_bits": 6, "value_bits": 4}
    assert set(found["texts"]) == {"english", "pydoc"}
    assert choose("--max-kl", "0.00002", *texts) == 2
    assert "the nearest is turbo(key_bits=8, value_bits=8), KL 3.8e-05" in capsys.readouterr().err


def test_the_text_that_the_first_setting_diverges_most_on_is_the_one_to_search_on(truth, capsys):
    truth.layers = (1 / 30,) * 30
    found = chosen(capsys, "--max-kl", "0.008", "--text", "english", "--text", "pydoc")
    read = [cell.params["text"] for cell in of(truth.asked, "quick_divergence")]
    assert read.count("english") <= 2
    assert read.count("pydoc") >= 3
    assert set(found["texts"]) == {"english", "pydoc"}


@pytest.mark.slow
def test_a_model_of_ones_own_is_read_on_two_texts_and_beyond_8k_on_the_longer(truth, capsys):
    for context, texts in (("1K", {"english", "pydoc"}), ("16K", {"pydoc"})):
        assert main(["choose", "a/b", "--context", context, "--anyway", "--json"]) == 0
        assert set(json.loads(capsys.readouterr().out)["texts"]) == texts


@pytest.mark.slow
def test_people_get_a_table_the_choice_and_the_lines_that_use_it(truth, capsys):
    assert choose("--max-kl", "0.004") == 0
    told, progress = capsys.readouterr()
    assert "KL divergence from fp16 KV at most 0.004" in told
    assert "decode 80 tokens/s, 0.80 of fp16 (0.80 to 0.80)" in told
    assert "cache = turbo_kv.make_cache(model, key_bits=" in told
    assert "turbo-kv server --model " in told
    assert "left" in progress


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["reference", "--context", "16Q"], "'16Q' is no number of tokens"),
        (["reference", "--context", "16"], "from 256 on"),
        (["reference", "--context", "16K"], "was made for 8192 tokens; take less"),
        (["./no-such-model"], "no config.json"),
        (["no-such.gguf"], "no such file"),
        (["pypi:nothing==1"], "not among the packages"),
        (["reference", "--max-kl", "nan"], "'nan' is no number above 0"),
        (["reference", "--max-kl", "0"], "'0' is no number above 0"),
        (["reference", "--host", "minj"], "did you mean 'mini'"),
    ],
)
def test_bad_input_ends_with_2_before_anything_is_measured(truth, capsys, arguments, problem):
    try:
        status = main(["choose", *arguments])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert problem in capsys.readouterr().err
    assert not truth.asked


def test_a_text_that_is_searched_checks_nothing(truth, capsys):
    assert choose("--check", "corpus") == 2
    assert "--check corpus: the choice is searched on it" in capsys.readouterr().err
    assert not truth.asked


def test_all_texts_that_are_not_there_are_named_before_anything_is_measured(
    truth, capsys, tmp_path
):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "short.txt").write_text("short")
    texts = ["--text", "none.txt", "--text", "corpus", "--text", "short.txt"]
    assert choose(*texts, "--check", "picture.png") == 2
    told = capsys.readouterr().err
    assert "none.txt" in told
    assert "picture.png" in told
    assert "text 'short.txt': 5 bytes, and more than 1024 tokens" in told
    assert "text 'corpus'" not in told
    assert not truth.asked


def test_a_model_that_the_host_refuses_ends_with_its_reason(truth, capsys):
    truth.failing = lambda _: Failure(kind="refused", message="model 'x/y' cannot be loaded")
    assert main(["choose", "x/y", "--anyway"]) == 2
    assert "model 'x/y' cannot be loaded" in capsys.readouterr().err


@pytest.mark.slow
def test_layers_that_cannot_be_told_apart_cost_nothing_but_a_word(truth, capsys):
    def failing(cell):
        if cell.benchmark == "layers":
            return Failure(kind="refused", message="lists of caches")
        return None

    truth.failing = failing
    assert "layers were not told apart" in chosen(capsys, "--max-kl", "0.008")["note"]


def test_a_context_at_which_nothing_is_packed_gives_no_choice(truth, capsys):
    truth.packed = 0
    assert choose() == 2
    assert "nothing is compressed; take a longer one" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["16K", "16k", "16384"])
def test_a_context_may_be_written_in_thousands(text):
    assert command._context(text) == 16384
