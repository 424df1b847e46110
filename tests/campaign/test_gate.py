import json
from dataclasses import replace

import pytest

from db import queries
from db.engine import open_database
from db.queries import gate_tallies
from db.verdicts import SeriesKey
from fake_measure import CELL, QUALITY, FakeFarm, build
from farm.campaign.campaign import Campaign
from farm.campaign.gate import Gate, judged, reached
from farm.errors import FarmError
from farm.judge.cell_gate import outcome
from farm.judge.pairs import Arms
from farm.plan.slowed import injected
from farm.plan.suite import Injection
from farm.report import gate as verdict_report
from farm.report.error_rates import advisory
from worker.build import tree_hash
from worker.job import Build, Cache, Cell


@pytest.fixture
def campaign(tmp_path):
    """Return a maker of campaigns over a fake farm, all with one database."""
    engine = open_database(str(tmp_path / "farm.db"))

    def make(farm, run="gate-1"):
        def dispatch(jobs):
            for job in jobs:
                record = farm(job.build, job.cell, job.repetition, job.host)
                yield record.model_copy(update={"job": job})

        return Campaign(engine, dispatch, run, "gate", 60.0, tmp_path / "spool")

    return make


def gate(*cells, head="new", **options):
    return Gate(Arms(build("old"), build(head)), cells, ("mini", "laptop"), 7, **options)


def test_every_host_and_series_gets_a_verdict_that_is_stored(campaign):
    made = campaign(FakeFarm(speed={"new": 0.9}))
    found = list(judged(gate(CELL, QUALITY), made))
    assert {(one.host, one.metric, one.verdict.outcome) for one in found} == {
        (host, metric, verdict)
        for host in ("mini", "laptop")
        for metric, verdict in (("generation_tps", "regress"), ("kl_divergence", "pass"))
    }
    (device,) = {one.device for one in found}
    speeds = queries.verdicts(made.engine, SeriesKey(CELL.id, device, "generation_tps"))
    assert sorted((row.run, row.host, row.outcome) for row in speeds) == [
        ("gate-1", "laptop", "regress"),
        ("gate-1", "mini", "regress"),
    ]
    qualities = queries.verdicts(made.engine, SeriesKey(QUALITY.id, device, "kl_divergence"))
    assert sorted(row.host for row in qualities) == ["laptop", "mini"]


def test_a_regress_says_that_it_is_measured_once_more_and_the_machine_s_load_is_kept(campaign):
    said = []
    made = replace(campaign(FakeFarm(speed={"new": 0.9})), tell=said.append)
    verdicts = {series.host: verdict_report.line(series) for series in judged(gate(CELL), made)}
    (told,) = [line for line in said if line.startswith("mini") and "once more" in line]
    assert told.startswith("mini: generation_tps of decode regressed after 10 pairs")
    assert set(map(len, made.loads.taken.values())) == {40}
    assert verdicts["mini"].startswith("mini: decode@512 turbo: generation_tps: regress, -")
    assert verdicts["mini"].endswith("after 20 pairs")


def test_a_gate_that_no_look_has_decided_says_how_many_more_pairs_it_takes_and_how_long(campaign):
    said = []
    made = replace(campaign(FakeFarm(noise=0.06)), tell=said.append)
    list(judged(replace(gate(CELL), hosts=("mini",)), made))
    told, pair = [line for line in said if "pair 11:" in line or "not decided" in line][:2]
    assert told.startswith("mini: generation_tps of decode not decided yet; 5 more pairs; about 0:")
    assert "pair 11: generation_tps" in pair
    assert not any("longer than usual" in line for line in said)


def test_only_cells_with_the_subject_can_be_reached():
    fp16 = Cell(benchmark="decode", model="reference", cache=Cache(name="fp16"))
    theirs = Cell(benchmark="decode", model="reference", cache=Cache(name="subject"))
    assert reached([fp16, CELL, theirs, Cell(benchmark="bandwidth")]) == (CELL, theirs)
    with pytest.raises(FarmError, match="no cell has a cache of kind subject or turbo; choose"):
        reached([fp16])


def test_equal_builds_are_identical_unless_a_gate_tests_itself():
    assert gate(CELL, head="old").identical
    assert not gate(CELL, head="old", injected=0.0).identical


def test_the_markdown_puts_the_verdict_first_and_folds_what_did_not_change(campaign):
    found = list(judged(gate(CELL, QUALITY), campaign(FakeFarm(speed={"new": 0.9}))))
    report = verdict_report.markdown(
        outcome(found), found, "farm gate old new", ["advice only: noise"]
    )
    lines = report.splitlines()
    assert lines[0] == "## Gate: regress"
    assert "advice only: noise" in lines
    assert report.index("generation_tps") < report.index("<details>") < report.index("kl_diver")
    assert lines[-1] == "Reproduce with `farm gate old new`."


def test_the_json_report_has_no_figures_that_json_does_not_know(campaign):
    farm = FakeFarm(broken=frozenset({"new"}))
    found = list(judged(gate(CELL), campaign(farm)))
    document = verdict_report.document(outcome(found), found, run="gate-1")
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["verdict"] == "invalid"
    assert "build new fails: ImportError" in verdict_report.text(found)
    assert outcome(found) == "invalid"


@pytest.mark.slow
def test_error_rates_count_only_gates_that_tested_themselves(campaign):
    for trial in range(3):
        farm = FakeFarm(seed=trial)
        list(judged(gate(CELL, injected=0.0), campaign(farm, f"aa-{trial}")))
        slow = FakeFarm(speed={"new": 0.95}, seed=trial)
        made = campaign(slow, f"power-{trial}")
        list(judged(gate(CELL, injected=0.05), made))
        list(judged(gate(CELL), campaign(slow, f"gate-{trial}")))
    aa, power = gate_tallies(made.engine)
    assert (aa.injected, aa.trials, aa.regressed, aa.breaks_promise) == (0.0, 6, 0, False)
    assert (power.injected, power.trials, power.regressed) == (0.05, 6, 6)
    assert advisory([aa, power], {"a fake"}) == []


def test_a_gate_that_breaks_its_promise_becomes_advice(campaign):
    for trial in range(2):
        made = campaign(FakeFarm(speed={"new": 0.9}, seed=trial), f"aa-{trial}")
        list(judged(gate(CELL, injected=0.0), made))
    rates = gate_tallies(made.engine)
    assert (
        "4 of 4 gates of a build with itself flagged generation_tps"
        in (advisory(rates, {"a fake"})[0])
    )
    assert advisory(rates, {"another device"}) == []


def test_an_injected_build_holds_the_subject_whole(tmp_path):
    folder = tmp_path / "abc" / "turbo"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .cache import make_cache\n")
    (folder / "cache.py").write_text("make_cache = describe = None\n")
    slow = injected(Build(hash="abc"), Injection(share=0.03), tmp_path, begun=0.0)
    wrapped = tmp_path / slow.hash / "turbo"
    assert tree_hash(wrapped) == slow.hash
    assert (wrapped / "subject" / "cache.py").read_text() == "make_cache = describe = None\n"
    assert json.loads((wrapped / "injection.json").read_text())["share"] == 0.03
    level = injected(Build(hash="abc"), Injection(), tmp_path, begun=0.0)
    assert level.hash != slow.hash
