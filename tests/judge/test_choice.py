import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.judge.choice import by_weight, fewest_heavy, last_within, mixtures
from farm.plan import ladder
from farm.plan import suite as suites
from farm.plan.ladder import HEAVY, Setting
from worker.choice import BLOCKS, divergence, smallest

positive = st.floats(1e-9, 1e3)


@given(st.integers(0, 40), st.integers(0, 40))
def test_bisection_finds_the_last_rung_within_and_asks_for_few(count, good):
    good, asked = min(good, count), []

    def within(number):
        asked.append(number)
        return number < good

    assert last_within(count, within) == (good - 1 if good else None)
    assert len(set(asked)) == len(asked) <= math.ceil(math.log2(count + 1))


def test_each_rung_is_narrower_than_the_one_before_and_wider_in_no_side():
    rungs = ladder.ladder()
    for one, other in pairwise(rungs):
        assert other.width() < one.width()
        assert all(b <= a for a, b in zip(one.bits, other.bits, strict=True))


def test_speed_and_memory_of_the_default_suite_are_what_a_choice_would_measure():
    for cell in suites.cells(suites.load("default")):
        if cell.benchmark in {"decode", "prefill", "memory"}:
            context = cell.params["context"]
            assert ladder.cell(cell.benchmark, cell.model, cell.cache, context, "corpus") == cell


@given(st.lists(positive, min_size=1, max_size=40), positive, positive)
def test_sparing_fewer_layers_is_expected_to_miss_the_budget(layers, whole, budget):
    spared = fewest_heavy(layers, whole, budget)
    left = [layers[layer] for layer in by_weight(layers)[max(spared - 1, 0) :]]
    if spared:
        assert whole * sum(left) / sum(layers) > 0.9 * budget * (1 - 1e-6)


def test_mixtures_grow_for_as_long_as_they_are_small():
    layers = [0.1, 5.0, 0.1, 2.0, *[0.1] * 26]
    assert by_weight(layers)[:2] == [1, 3]
    assert list(mixtures(layers, 1.0, 0.5, lambda spared: spared < 5)) == [2, 3, 4]
    assert list(mixtures(layers, 1.0, 0.5, lambda _: False)) == []


def test_heavy_layers_cost_their_share_of_the_width():
    mixed = Setting((3, 3), (0, 9))
    assert mixed.width(10) == pytest.approx(
        0.2 * Setting(HEAVY).width() + 0.8 * Setting((3, 3)).width()
    )
    assert mixed.cache.params["layer_bits"] == [[0, *HEAVY], [9, *HEAVY]]
    assert "layer_bits" not in Setting((3, 3)).cache.params
    assert ladder.gains_by_heavy(Setting((4, 4)))
    assert not any(ladder.gains_by_heavy(Setting(bits)) for bits in (HEAVY, (8, 6), (8, 8)))


@given(st.lists(positive, min_size=2, max_size=200))
def test_bounds_hold_the_mean(steps):
    found = divergence(steps)
    assert 0 <= found.low <= found.mean * (1 + 1e-9)
    assert found.high >= found.mean * (1 - 1e-9)


def test_bounds_are_students_over_blocks_of_neighbours():
    means = [1.0, 3.0] * (BLOCKS // 2)
    found = divergence([value for value in means for _ in range(8)])
    half = 2.1314 * math.sqrt(BLOCKS / (BLOCKS - 1)) / math.sqrt(BLOCKS)
    assert found.high - found.mean == pytest.approx(half, rel=1e-3)
    assert divergence([0.5]).high == math.inf
    with pytest.raises(ValueError, match="no steps"):
        divergence([])


def test_the_smallest_within_the_budget_is_chosen_by_the_upper_bound():
    sure, unsure = divergence([0.01] * 16), divergence([0.0, 0.02] * 8)
    found = [("large", 8.0, sure), ("small", 4.0, sure), ("tiny", 2.0, divergence([0.001, 0.02]))]
    assert smallest(found, 0.011) == "small"
    assert smallest([("unsure", 1.0, unsure)], 0.011) is None
    assert smallest([("unsure", 1.0, unsure)], 0.016) == "unsure"
    assert smallest(found, 0.001) is None
