import pytest

from dashboard.analysis.trade_offs import (
    TradeOff,
    choice_line,
    divergences,
    front,
    headline,
    recommended,
    smallest,
    trade_offs,
    verdict,
)
from dashboard.charts.trade_offs import chart
from figures import figure


def measured(cache, context, metric, value, range_=0.0, **more):
    low, high = value - range_ / 2, value + range_ / 2
    return figure(
        cache=cache, context=context, metric=metric, value=value, low=low, high=high, **more
    )


def row(name, speed, memory, kl):
    return TradeOff(name, 4096, speed, memory, kl, None)


def test_speed_and_memory_are_shares_of_fp16_at_the_same_context():
    rows = trade_offs(
        [
            measured("fp16", 1024, "generation_tps", 50.0),
            measured("fp16", 4096, "generation_tps", 40.0),
            measured("turbo", 4096, "generation_tps", 44.0),
            measured("fp16", 4096, "kv_bytes", 200.0),
            measured("turbo", 4096, "kv_bytes", 50.0),
            measured("turbo", 1024, "kl_divergence", 0.01),
        ],
        "generation_tps",
    )
    assert [(r.name, r.context) for r in rows] == [("fp16", 1024), ("fp16", 4096), ("turbo", 4096)]
    turbo = rows[-1]
    assert (turbo.speed, turbo.memory, turbo.kl_divergence) == pytest.approx((1.1, 0.25, 0.01))
    assert turbo.elsewhere == ("KL divergence at 1K",)


def test_a_speed_is_as_uncertain_as_the_trials_of_both():
    fp16 = measured("fp16", 4096, "generation_tps", 40.0, range_=0.8)
    turbo = measured("turbo", 4096, "generation_tps", 20.0, range_=0.2)
    exact, ours = trade_offs([fp16, turbo], "generation_tps")
    assert (exact.spread, ours.spread) == pytest.approx((0.0, 0.5 * (0.01 + 0.005)))


def test_without_fp16_there_is_nothing_to_compare_with():
    assert trade_offs([measured("turbo", 4096, "generation_tps", 44.0)], "generation_tps") == []


@pytest.mark.parametrize(
    ("speed", "memory", "kl", "expected"),
    [
        (1.3, 0.3, 0.5, "worse: quality"),
        (1.3, 0.3, 0.01, "better: smaller and faster"),
        (1.0, 0.3, 0.01, "better: smaller"),
        (0.8, 0.3, 0.01, "trade: smaller but slower"),
        (0.8, 1.0, 0.01, "worse: slower"),
        (1.1, 1.0, 0.01, "better: faster"),
        (1.0, None, 0.01, "no gain"),
        (1.3, 0.3, None, "quality unknown"),
    ],
)
def test_the_verdict_is_joint(speed, memory, kl, expected):
    assert verdict(row("turbo", speed, memory, kl), 0.02) == expected


def test_the_front_holds_no_cache_that_another_good_one_beats():
    fp16 = row("fp16", 1.0, 1.0, 0.0)
    broken = row("broken", 1.2, 0.1, 0.9)
    best, beaten = row("best", 0.95, 0.3, 0.01), row("beaten", 0.9, 0.4, 0.0)
    assert front([fp16, broken, best, beaten], 0.02) == [fp16, best]


def test_the_chart_names_both_shares():
    drawn = chart([row("fp16", 1.0, 1.0, 0.0), row("turbo", 0.9, 0.3, None)], 0.02).to_dict()
    titles = str(drawn)
    assert "KV memory (share of fp16)" in titles
    assert "speed (share of fp16)" in titles


def test_a_ratio_is_never_taken_across_runs():
    rows = [
        measured("fp16", 4096, "generation_tps", 40.0, run="a", started=1),
        measured("turbo", 4096, "generation_tps", 39.0, run="a", started=1),
        measured("turbo", 4096, "generation_tps", 60.0, run="b", started=2),
    ]
    (_, turbo) = trade_offs(rows, "generation_tps")
    assert turbo.speed == pytest.approx(39 / 40)
    assert trade_offs(rows[::2], "generation_tps")[1:] == []


def test_of_two_ways_to_measure_one_is_taken_for_both_caches():
    rows = [
        measured(cache, context, "generation_tps", value, parameters=(f"tokens={tokens}",))
        for tokens, context, cache, value in (
            (16, 4096, "fp16", 40.0),
            (16, 4096, "turbo", 20.0),
            (32, 4096, "fp16", 30.0),
            (32, 4096, "turbo", 29.0),
            (32, 1024, "fp16", 31.0),
        )
    ]
    shares = [r.speed for r in trade_offs(rows, "generation_tps") if r.name == "turbo"]
    assert shares == [pytest.approx(29 / 30)]


def test_speeds_that_differ_by_less_than_their_spread_do_not_push_a_cache_off_the_front():
    quick = TradeOff("quick", 4096, 0.98, 0.3, 0.01, None, spread=0.02)
    slow = TradeOff("slow", 4096, 0.97, 0.3, 0.01, None, spread=0.02)
    assert front([quick, slow], 0.02) == [quick, slow]


def test_lost_needles_and_perplexity_count_as_quality():
    lost = TradeOff("lost", 4096, 1.3, 0.3, 0.01, None, needles=0.8)
    blurred = TradeOff("blurred", 4096, 1.3, 0.3, 0.01, None, perplexity=1.03)
    assert [verdict(one, 0.02) for one in (lost, blurred)] == ["worse: quality"] * 2
    assert recommended([lost, blurred], 0.02) is None


def test_the_headline_recommends_the_smallest_that_keeps_speed_and_answers():
    fp16 = row("fp16", 1.0, 1.0, 0.0)
    k8v4 = TradeOff("turbo(key_bits=8, value_bits=4)", 4096, 0.97, 0.39, 0.004, None)
    slow = TradeOff("turbo(key_bits=4, value_bits=4)", 4096, 0.80, 0.27, 0.012, None)
    assert headline([fp16, k8v4, slow], "Apple M2 Pro, 19 GPU cores", 0.02) == (
        "For 4K on M2 Pro ship K8V4: 97% of fp16's speed, 39% of its memory, same answers "
        "(KL 0.004). It is the smallest that keeps 95% of the speed and fp16's answers."
    )


def test_where_nothing_is_worth_it_the_headline_says_why_for_each():
    broken = row("quantized(bits=4)", 1.1, 0.28, 0.5)
    said = headline([row("fp16", 1.0, 1.0, 0.0), broken], "Apple M5 Max", 0.02)
    assert said == "For 4K on M5 Max keep fp16: quantized(bits=4): KL divergence 0.5."


def chosen(*rows):
    scores = [(record, {}, kl) for record, kl in ((1, 0.001), (2, 0.008)) for _ in range(16)]
    return trade_offs(rows, "generation_tps", divergences(scores))


def measured_whole(cache, share, kl, record, context=4096):
    return [
        measured(cache, 4096, "generation_tps", 60.0 * share, run=f"of {cache}"),
        measured("fp16", 4096, "generation_tps", 60.0, run=f"of {cache}"),
        measured(cache, 4096, "kv_bytes", share, run=f"of {cache}"),
        measured(cache, context, "kl_divergence", kl, record=record),
    ]


def test_what_farm_choose_chose_is_shown_at_whatever_speed():
    fp16 = measured("fp16", 4096, "kv_bytes", 1.0, run="another")
    rows = chosen(
        fp16, *measured_whole("wide", 0.5, 0.001, 1), *measured_whole("small", 0.3, 0.008, 2)
    )
    assert smallest(rows, 0.01).name == "small"
    assert smallest(rows, 0.005).name == "wide"
    assert smallest(rows, 0.0001) is None
    said = choice_line(rows, "reference", 0.01)
    assert "small, 0.008 (0.008 to 0.008), 30% of fp16's memory" in said
    assert said.endswith("farm choose reference --context 4096 --max-kl 0.01")
    assert "No cache surely stays within 0.0001" in choice_line(rows, "reference", 0.0001)


def test_the_worst_text_counts():
    fp16 = measured("fp16", 4096, "kv_bytes", 1.0, run="another")
    small = measured_whole("small", 0.3, 0.001, 1)
    other = measured("small", 4096, "kl_divergence", 0.008, record=2, parameters=("text=pydoc",))
    assert smallest(chosen(fp16, *small, other), 0.005) is None
    assert smallest(chosen(fp16, *small, other), 0.009).name == "small"


def test_a_divergence_of_another_context_chooses_nothing():
    fp16 = measured("fp16", 4096, "kv_bytes", 1.0, run="another")
    rows = chosen(fp16, *measured_whole("small", 0.3, 0.008, 2, context=1024))
    assert rows[-1].kl_divergence == 0.008
    assert smallest(rows, 0.01) is None
