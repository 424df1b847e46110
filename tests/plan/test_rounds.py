"""What is compared is measured side by side, in rounds whose order is drawn."""

from __future__ import annotations

import pytest

from farm.plan.rounds import exact, in_rounds
from worker import registry
from worker.job import Build, Cache, Cell

BUILD = Build(hash="a")


def cell(cache, benchmark="decode", **params):
    return Cell(benchmark=benchmark, model="m", cache=Cache(name=cache), params=params)


def placed(*cells, rounds=3, seed="run-1", builds=(BUILD,)):
    places = [(build, one, "local") for build in builds for one in cells]
    return in_rounds(places, rounds, seed)


def caches(found):
    return [(one.cache.name, number) for _, one, _, number in found]


def test_each_round_holds_every_cache_once():
    found = caches(placed(cell("fp16"), cell("turbo"), cell("quantized")))
    for number in range(3):
        one = found[3 * number : 3 * number + 3]
        assert sorted(one) == [("fp16", number), ("quantized", number), ("turbo", number)]


def test_the_order_in_a_round_is_drawn_by_the_runs_name():
    cells = [cell(name) for name in "abcdef"]
    assert placed(*cells) == placed(*cells)
    assert placed(*cells) != placed(*cells, seed="run-2")
    first, second = caches(placed(*cells))[:6], caches(placed(*cells))[6:12]
    assert [name for name, _ in first] != [name for name, _ in second]


def test_two_builds_of_one_cell_are_compared_too():
    found = placed(cell("turbo"), builds=(BUILD, Build(hash="b")))
    assert [number for *_, number in found] == [0, 0, 1, 1, 2, 2]


def test_what_has_nothing_beside_it_and_what_repeats_exactly_is_measured_once():
    alone, other = cell("fp16", context=512), cell("turbo", context=1024)
    assert caches(placed(alone, other)) == [("fp16", 0), ("turbo", 0)]
    bytes_ = [cell("fp16", "memory"), cell("turbo", "memory")]
    assert caches(placed(*bytes_)) == [("fp16", 0), ("turbo", 0)]


@pytest.mark.parametrize(
    ("benchmark", "repeats"),
    [
        ("memory", True),
        ("divergence", True),
        ("needle", True),
        ("perplexity", True),
        ("mm_needle", True),
        ("decode", False),
        ("prefill", False),
        ("bandwidth", False),
        ("llama_bench", False),
    ],
)
def test_a_benchmark_says_whether_its_figures_repeat_exactly(benchmark, repeats):
    assert benchmark in registry.entries("benchmarks")
    assert exact(Cell(benchmark=benchmark)) is repeats
