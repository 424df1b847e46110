import numpy as np

from fake_measure import CELL, QUALITY, FakeFarm, build
from farm.judge.cell_gate import gate_cell, outcome
from farm.judge.pairs import Arms
from worker.job import Cell
from worker.machine.reasons import Reason

ARMS = Arms(build("old"), build("new"))


def test_the_same_speed_passes_after_ten_pairs():
    farm = FakeFarm()
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert (series.metric, series.verdict.outcome) == ("generation_tps", "pass")
    assert series.verdict.pairs == 10
    assert len(farm.jobs) == 20
    assert (series.host, series.device) == ("fake", "a fake")
    assert 0.005 < series.deviation < 0.02


def test_a_slower_build_regresses_after_a_confirming_re_run():
    farm = FakeFarm(speed={"new": 0.95})
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "regress"
    assert series.verdict.pairs == 20
    assert abs(series.verdict.effect + 0.05) < 0.02


def test_drift_of_the_host_does_not_fool_the_gate():
    (series,) = gate_cell(ARMS, CELL, FakeFarm(drift=-0.01), seed=1)
    assert series.verdict.outcome == "pass"


def test_every_process_of_a_cell_is_a_repetition_of_its_own_in_an_order_drawn_by_the_seed():
    orders = []
    for seed in (1, 1, 2):
        farm = FakeFarm(speed={"new": 0.9})
        gate_cell(ARMS, CELL, farm, seed)
        assert [job.repetition for job in farm.jobs] == list(range(len(farm.jobs)))
        orders.append([job.build.hash for job in farm.jobs])
    assert orders[0] == orders[1] != orders[2]
    pairs = np.array(orders[0]).reshape(-1, 2)
    assert all(set(pair) == {"old", "new"} for pair in pairs)
    assert len({tuple(pair) for pair in pairs}) == 2


def test_invalid_pairs_are_replaced_and_counted():
    farm = FakeFarm(unfit=0.1)
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "pass"
    assert series.replaced > 0
    assert len(farm.jobs) == 2 * (series.verdict.pairs + series.replaced)


def test_a_host_that_is_never_fit_gives_no_verdict():
    farm = FakeFarm(unfit=1.0)
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "invalid"
    assert series.note == (
        "4 pairs in a row do not count: other processes used 0.80 cores; "
        "close what else runs on the machine"
    )
    assert len(farm.jobs) == 8


def test_a_host_on_battery_is_given_up_after_the_first_pair():
    farm = FakeFarm(unfit=1.0, disturbance=(Reason.of("on battery", source="battery"),))
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert (series.verdict.outcome, series.note) == ("invalid", "on battery power; plug it in")
    assert len(farm.jobs) == 2


def test_a_busy_host_spoils_speed_and_neither_bytes_nor_quality():
    (series,) = gate_cell(ARMS, QUALITY, farm := FakeFarm(unfit=1.0), seed=1)
    assert (series.verdict.outcome, series.replaced, len(farm.jobs)) == ("pass", 0, 4)
    bytes_too = Cell(benchmark="both", cache=CELL.cache)
    found = gate_cell(ARMS, bytes_too, FakeFarm(unfit=1.0), seed=1)
    assert {one.metric: one.verdict.outcome for one in found} == {
        "kl_divergence": "pass",
        "generation_tps": "invalid",
    }


def test_a_build_that_fails_is_named_and_gives_no_verdict():
    farm = FakeFarm(broken=frozenset({"new"}))
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "invalid"
    assert series.note == "build new fails: ImportError: no such kernel"
    assert len(farm.jobs) == 4


def test_a_candidate_that_fails_its_golden_vectors_where_the_baseline_passes_has_regressed():
    farm = FakeFarm(wrong=frozenset({"new"}))
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "regress"
    assert "build new fails" in series.note
    assert "the baseline passes" in series.note
    assert len(farm.jobs) == 4


def test_a_device_that_fails_the_golden_vectors_of_both_builds_gives_no_verdict():
    farm = FakeFarm(wrong=frozenset({"old", "new"}))
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "invalid"


def test_a_baseline_that_fails_its_golden_vectors_alone_gives_no_verdict():
    farm = FakeFarm(wrong=frozenset({"old"}))
    (series,) = gate_cell(ARMS, CELL, farm, seed=1)
    assert series.verdict.outcome == "invalid"


def test_faster_with_worse_quality_is_a_regression():
    farm = FakeFarm(speed={"new": 1.1}, kl={"new": 0.02})
    verdicts = [*gate_cell(ARMS, CELL, farm, 1), *gate_cell(ARMS, QUALITY, farm, 1)]
    assert [series.verdict.outcome for series in verdicts] == ["improve", "regress"]
    assert outcome(verdicts) == "regress"


def test_quality_within_the_tolerance_passes_from_two_pairs():
    farm = FakeFarm(kl={"new": 0.0105})
    (series,) = gate_cell(ARMS, QUALITY, farm, 1)
    assert series.verdict.outcome == "pass"
    assert len(farm.jobs) == 4


def test_one_odd_figure_of_those_that_repeat_exactly_decides_nothing():
    farm = FakeFarm(odd=2)
    found = gate_cell(ARMS, QUALITY, farm, 1)
    assert [series.verdict.outcome for series in found] == ["pass"]
    assert len(farm.jobs) == 6


def test_more_pairs_can_be_asked_for_to_learn_the_noise():
    farm = FakeFarm()
    gate_cell(ARMS, CELL, farm, 1, at_least=40)
    assert len(farm.jobs) == 80
