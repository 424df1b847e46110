"""What the pages say in words: figures in a sentence, made without a page."""

from collections import Counter
from dataclasses import replace

import pytest

from dashboard.analysis import changes, devices, naming, nights, regressions, trials, trust
from dashboard.analysis.build_choice import newest_complete
from dashboard.analysis.decode_time import headline as bandwidth_headline
from dashboard.analysis.readings import Reading, furthest, measured, of_best
from dashboard.analysis.trials import Trial
from db.queries import (
    Affected,
    BuildSummary,
    Change,
    Description,
    GateTally,
    JobState,
    RegressionRow,
)
from figures import figure
from worker import roofline
from worker.roofline import Model, Speed

M2, M5 = "Apple M2 Pro, 19 GPU cores, 32 GB", "Apple M5 Max, 40 GPU cores, 128 GB"
K8V4 = "turbo(key_bits=8, value_bits=4)"


def reading(device, value, context=4096, half=0.0):
    return Reading(device, K8V4, context, value, value - half, value + half)


def test_two_devices_are_compared_at_4k_beside_what_bandwidth_alone_gives():
    rows = [reading(M2, 20.0), reading(M5, 61.6, half=0.4), reading(M5, 64.0, context=512)]
    said = devices.headline(rows, "generation_tps", K8V4, {M2: 200e9, M5: 620e9})
    assert said == (
        "M5 Max decodes 3.08 times as fast as M2 Pro at 4K with K8V4: 61.6 ± 0.4 tokens/s "
        "against 20 tokens/s (bandwidth alone: 3.10 times)."
    )


def test_of_a_metric_where_less_is_better_the_least_is_the_best():
    rows = [reading(M2, 0.06), reading(M5, 0.02)]
    found = furthest(rows, "tpot", 4096)
    assert (found.better.device, found.ratio) == (M5, pytest.approx(3))
    assert of_best(rows[0], rows, "tpot") == pytest.approx(1 / 3)
    assert "3.00 times lower time per token" in devices.headline(rows, "tpot", K8V4, {})


def test_a_ratio_is_as_uncertain_as_the_trials_of_both():
    found = furthest([reading(M2, 20.0, half=1.0), reading(M5, 60.0, half=3.0)], "prompt_tps", 1)
    assert (found.low, found.high) == pytest.approx((57 / 21, 63 / 19))


def test_one_device_alone_says_its_figure_and_that_there_is_no_other():
    said = devices.headline([reading(M5, 61.6)], "generation_tps", K8V4, {})
    assert said == (
        "M5 Max 61.6 tokens/s at 4K. No second device was measured with this model and cache."
    )


def test_a_figure_of_bytes_says_what_it_is_of():
    said = devices.headline([reading(M5, 2e6)], "kv_bytes", K8V4, {})
    assert said.startswith("KV memory: M5 Max 2 MB at 4K.")


def test_devices_that_share_no_context_are_told_side_by_side():
    rows = [replace(reading(name, value, place), source="x") for name, value, place in (
        ("Apple M5 Max", 63.6, 512), ("Apple M5 Max", 61.0, 4096), ("Apple M2 Pro", 21.3, None)
    )]  # fmt: skip
    assert devices.headline(rows, "generation_tps", K8V4, {}) == (
        "Published: M5 Max 61 tokens/s at 4K; M2 Pro 21.3 tokens/s at a context that is not said. "
        "Roughly, at contexts that are not the same, M5 Max decodes 2.86 times as fast as M2 Pro."
    )


def test_what_was_published_is_not_ranked_with_what_was_measured():
    own = [reading(M5, 60.0)]
    assert of_best(replace(reading("Apple M5 Max", 63.0), source="x"), own, "prompt_tps") is None


def test_bandwidth_says_how_much_faster_and_how_near_each_comes_to_its_own():
    speeds = [
        Speed(device, "fp16", 4096, tps, tps, tps) for device, tps in ((M2, 20.0), (M5, 60.0))
    ]
    bandwidths = {M2: 200e9, M5: 620e9}
    rows = roofline.explain(speeds, Model(8e9, 0.0), bandwidths)
    assert bandwidth_headline(rows, bandwidths, "fp16") == (
        "M5 Max decodes 3.00 times as fast as M2 Pro at 4K with fp16; bandwidth alone: 3.10 "
        "times. It reaches 77% of what its bandwidth allows, M2 Pro 80%."
    )


def summary(name, series):
    return BuildSummary(name, None, False, 0.0, 1, series, 1)  # noqa: FBT003  a row's fields


def test_the_newest_build_that_was_measured_whole_comes_first():
    known = [summary("try", 2), summary("night", 95), summary("before", 100)]
    assert newest_complete(known) == 1
    assert newest_complete(known[:1]) == 0


GOOD, BAD = "a" * 40, "902ba3c" + "0" * 33
ROW = RegressionRow("main", GOOD, BAD, -0.048, (), culprit=BAD, confidence=0.98)
KNOWN = {BAD: Description(BAD, "Pack tails earlier", "Ada", 0.0, None)}


def affected(device, **more):
    facts = {"effect": -0.048, "low": -0.057, "high": -0.039, "metric": "generation_tps"} | more
    return Affected(
        cell="c", device=device, benchmark="decode", model="m", cache=K8V4, context=16384,
        series=1, **facts,
    )  # fmt: skip


def test_a_regression_says_since_when_what_how_much_where_and_how_sure():
    assert regressions.headline(ROW, [affected(M2), affected(M5)], KNOWN) == (
        "Since 902ba3c000 “Pack tails earlier” decode at 16K with K8V4 is 4.8% slower "
        "(3.9 to 5.7%) on 2 devices (M2 Pro, M5 Max); culprit 98% sure."
    )


SLOW = {"cell": "c", "device": M2, "metric": "generation_tps", "effect": -0.1, "kind": "slow"}


def test_a_slow_loss_is_told_as_one_and_blames_no_commit():
    row = replace(ROW, effect=-0.1, series=(SLOW,), culprit=None, confidence=None)
    said = regressions.headline(row, [affected(M2, effect=-0.1, low=None, high=None)], KNOWN)
    assert said == (
        "Between aaaaaaaaaa and 902ba3c000 “Pack tails earlier” decode at 16K with K8V4 became "
        "10.0% slower on M2 Pro, slowly: no single step."
    )


def test_a_series_timeline_says_that_it_fell_slowly_unless_that_was_withdrawn():
    row = replace(ROW, effect=-0.1, series=(SLOW,))
    told = "-10.0% between aaaaaaaaaa and 902ba3c000, slowly: no single step."
    assert regressions.slowly([row], "c", "generation_tps", M2) == told
    assert regressions.slowly([row], "c", "generation_tps", M5) == ""
    assert regressions.slowly([replace(row, state="withdrawn")], "c", "generation_tps", M2) == ""
    step = replace(row, series=({**SLOW, "kind": "step"},))
    assert regressions.slowly([step], "c", "generation_tps", M2) == ""


def test_two_machines_that_are_one_device_stand_side_by_side():
    rows = [figure(device=M2, host=host, value=value)
            for host, value in (("mini-1", 20.0), ("mini-2", 19.0))]  # fmt: skip
    names = [one.name for one in measured(naming.newest_by_host(rows))]
    assert names == [f"{M2}, mini-1", f"{M2}, mini-2"]
    assert [one.name for one in measured(rows[:1])] == [M2]


def test_memory_that_grew_is_larger_and_an_unknown_culprit_lies_between():
    grown = [affected(M2, metric="kv_bytes", effect=0.1, low=None, high=None)]
    row = replace(ROW, effect=0.1, culprit=None)
    said = regressions.headline(row, grown, {})
    assert "KV memory at 16K with K8V4 is 10.0% larger on M2 Pro" in said
    assert said.endswith(f"between {GOOD[:10]} and {BAD[:10]}.")


def state(cell, record=None, status=None, started=None, *, counts=False):
    return JobState(cell, "mini", "decode", record, status, started, counts)


def test_repetitions_of_a_cell_count_once_and_the_pace_so_far_tells_the_time_left():
    states = [
        state("a", 1, "ok", 100.0),
        state("a", 2, "ok", 110.0, counts=True),
        state("b", 3, "failed", 120.0),
        state("c"),
        state("c"),
    ]
    found = nights.coverage(states, 100.0)
    assert (found.cells, found.counted, found.failed) == (3, 1, 1)
    assert (found.done, found.jobs, found.left) == (3, 5, 20.0)


def test_the_night_says_what_has_a_figure_and_why_the_rest_has_none():
    states = [state(str(n), n + 1, "ok", float(n), counts=n < 4) for n in range(18)]
    found = nights.coverage(states, 0.0)
    assert nights.headline(found, [("busy", 14)], 0, 0) == (
        "4 of 18 cells have a figure: the machine was busy. No regression is open."
    )


def test_the_night_names_each_kind_of_what_does_not_count():
    states = [state(str(n), n + 1, "ok", float(n), counts=n < 16) for n in range(18)]
    found = nights.coverage(states, 0.0)
    assert nights.headline(found, [("failed", 1), ("hot", 1)], 1, 0) == (
        "16 of 18 cells have a figure (records that do not count: 1 failed, 1 hot). "
        "1 regression is open."
    )


def test_a_run_under_way_says_how_long_still():
    states = [state(str(n), n + 1, "ok", 60.0 * n, counts=True) for n in range(3)]
    found = nights.coverage([*states, state("x"), state("y")], 0.0)
    said = nights.headline(found, [], 2, 1)
    assert said == (
        "3 of 5 cells have a figure so far; 3 of 5 jobs are done, about 2 min left. "
        "2 regressions are open."
    )


def change(metric, base, head, noise=0.002, device=M5, **more):
    facts = {"base_key": "k", "head_key": "k"} | more
    return Change(
        series=1, device=device, cell="c", benchmark="decode", model="m", cache=K8V4, context=4096,
        metric=metric, noise=noise, base=base, head=head, base_record=1, head_record=2, **facts,
    )  # fmt: skip


def test_the_same_figure_the_other_way_up_is_told_once():
    found = [change("generation_tps", 50.0, 47.5), change("tpot", 0.02, 0.021)]
    assert [one.metric for one in changes.once(found)] == ["generation_tps"]
    assert changes.once(found[1:]) == found[1:]


def test_two_commits_are_summed_up_by_counts_and_a_geometric_mean_with_its_interval():
    found = [change("generation_tps", 50.0, head) for head in (47.0, 47.5, 48.0)]
    found.append(change("kv_bytes", 10.0, 10.0))
    pairs = [(one, changes.judge(one)) for one in found]
    speed, memory = changes.totals(pairs)
    assert speed.counted == Counter(worse=3)
    assert speed.middle == pytest.approx(-0.05, abs=1e-3)
    assert speed.low < speed.middle < speed.high
    assert (memory.middle, memory.counted) == (0.0, Counter(same=1))
    said = changes.headline(pairs, "a", "b")
    assert said.startswith("From a to b, of 4 series: 3 worse, 1 same. Decode speed changed by -5")
    assert said.endswith("%), the geometric mean of 3 series.")


def test_what_is_not_comparable_is_in_no_mean():
    found = [change("generation_tps", 50.0, 25.0, head_key="other")]
    (total,) = changes.totals([(one, changes.judge(one)) for one in found])
    assert (total.cells, total.counted) == (0, Counter({"not comparable": 1}))


def test_a_record_says_what_it_came_to_and_what_of_it_does_not_count():
    found = [Trial("generation_tps", n, 60.0 + n, warmup=False) for n in (0, 1, 2)]
    found.append(Trial("generation_tps", -1, 1.0, warmup=True))
    assert trials.headline(found, []) == (
        "decode speed 61 ± 1 tokens/s, 3 trials. All of it counts."
    )
    assert trials.headline(found, ["generation_tps"]).endswith("None of it counts.")
    found.append(Trial("tpot", 0, 0.02, warmup=False))
    assert trials.headline(found, ["tpot"]).endswith("time per token does not count.")


def test_trust_says_when_the_promise_is_broken():
    tally = GateTally(M5, "generation_tps", 0.0, 100, 20, 0, 0)
    assert "more than the promised 0.5%" in trust.headline([tally], [])
    assert "never measured" in trust.headline([], [])
    assert "0.5% of gates at most" in trust.headline([], [])


def test_a_regression_says_where_fp16_lost_as_much_and_is_silent_where_it_did_not():
    said = regressions.headline(ROW, [affected(M2, reference=-0.046)], KNOWN)
    assert said.endswith(
        "98% sure. fp16 lost there too (-4.6%): it is the machine or the model's path, not the "
        "cache."
    )
    for reference in (None, 0.001, -0.01):
        said = regressions.headline(ROW, [affected(M2, reference=reference)], KNOWN)
        assert said.endswith("98% sure.")


def test_the_list_of_regressions_says_which_are_open_and_how_many_are_not():
    gone = replace(ROW, state="acknowledged")
    assert regressions.overview([ROW, gone], KNOWN) == (
        "1 regression is open, since 902ba3c000 “Pack tails earlier”; 1 acknowledged."
    )
    assert regressions.overview([gone, gone], KNOWN) == "No regression is open; 2 acknowledged."
