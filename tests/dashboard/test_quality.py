import pytest

from dashboard.analysis.quality import Needle, Score, headline, needles
from dashboard.charts.quality import by_cache, heat_map
from figures import figure


def test_needles_are_pooled_by_cache_context_and_depth():
    scores = [
        (1, {"depth": 0.5}, 1.0),
        (1, {"depth": 0.5}, 0.0),
        (2, {"depth": 0.5}, 1.0),
        (1, {"depth": 0}, 1.0),
        (1, {"other": 0}, 1.0),
    ]
    assert needles(scores, {1: ("turbo", 4096), 2: ("fp16", 4096)}) == [
        Needle("fp16", 4096, 0.5, 1.0, 1),
        Needle("turbo", 4096, 0.0, 1.0, 1),
        Needle("turbo", 4096, 0.5, 0.5, 2),
    ]


def test_the_heat_map_says_each_share_in_figures_too():
    drawn = heat_map([Needle("turbo", 4096, 0.5, 0.5, 2), Needle("turbo", 4096, 0.0, 1.0, 2)])
    marks = [layer["mark"]["type"] for layer in drawn.to_dict()["layer"]]
    assert marks == ["rect", "text"]


@pytest.mark.parametrize(("metric", "kind"), [("kl_divergence", "log"), ("perplexity", None)])
def test_only_a_divergence_has_a_logarithmic_axis(metric, kind):
    drawn = by_cache([Score("turbo", "4K", 0.0), Score("fp16", "4K", 7.0)], metric).to_dict()
    assert drawn["encoding"]["x"]["scale"].get("type") == kind


def test_a_divergence_of_zero_can_be_drawn_on_it():
    drawn = by_cache([Score("exact", "4K", 0.0)], "kl_divergence").to_dict()
    (rows,) = drawn["datasets"].values()
    assert rows[0]["value"] > 0


def divergence(cache, value, context=4096):
    return figure(metric="kl_divergence", cache=cache, value=value, context=context)


def test_quality_says_where_which_caches_answer_as_fp16_and_what_counts_as_that():
    rows = [
        divergence("turbo(key_bits=8, value_bits=4)", 0.004),
        divergence("turbo(key_bits=4, value_bits=4)", 0.012, context=1024),
        divergence("quantized(bits=4)", 0.061),
    ]
    assert headline(rows) == (
        "On M5 Max at 1K, 4K K8V4 (KL 0.004), K4V4 (KL 0.012) give fp16's answers "
        "(KL 0.02 at most); quantized(bits=4) (KL 0.061) does not."
    )
    assert headline(rows[2:]).endswith("(KL 0.061) does not give fp16's answers (KL 0.02 at most).")
    assert headline([]) == "No divergence from fp16 counts here yet."
