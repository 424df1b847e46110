from dataclasses import dataclass

import pytest

from dashboard.analysis.trade_offs import TradeOff, chart, front, trade_offs, verdict


@dataclass(frozen=True)
class Figure:
    cache: str
    context: int
    metric: str
    value: float
    range: float = 0.0

    @property
    def low(self):
        return self.value - self.range / 2

    @property
    def high(self):
        return self.value + self.range / 2


def row(name, speed, memory, kl):
    return TradeOff(name, 4096, speed, memory, kl, None)


def test_speed_and_memory_are_shares_of_fp16_at_the_same_context():
    rows = trade_offs(
        [
            Figure("fp16", 1024, "generation_tps", 50.0),
            Figure("fp16", 4096, "generation_tps", 40.0),
            Figure("turbo", 4096, "generation_tps", 44.0),
            Figure("fp16", 4096, "kv_bytes", 200.0),
            Figure("turbo", 4096, "kv_bytes", 50.0),
            Figure("turbo", 1024, "kl_divergence", 0.01),
        ],
        "generation_tps",
    )
    assert [(r.name, r.context) for r in rows] == [("fp16", 1024), ("fp16", 4096), ("turbo", 4096)]
    turbo = rows[-1]
    assert (turbo.speed, turbo.memory, turbo.kl_divergence) == pytest.approx((1.1, 0.25, 0.01))
    assert turbo.elsewhere == ("kl_divergence at 1024",)


def test_a_speed_is_as_uncertain_as_the_trials_of_both():
    fp16 = Figure("fp16", 4096, "generation_tps", 40.0, range=0.8)
    turbo = Figure("turbo", 4096, "generation_tps", 20.0, range=0.2)
    exact, ours = trade_offs([fp16, turbo], "generation_tps")
    assert (exact.spread, ours.spread) == pytest.approx((0.0, 0.5 * (0.01 + 0.005)))


def test_without_fp16_there_is_nothing_to_compare_with():
    assert trade_offs([Figure("turbo", 4096, "generation_tps", 44.0)], "generation_tps") == []


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
