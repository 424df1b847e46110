from itertools import combinations

import pytest

from dashboard.analysis.readings import Reading
from dashboard.analysis.trials import Trial
from dashboard.charts import palette
from dashboard.charts.marks import by_context, raw_trials
from dashboard.charts.palette import COLOURS, SHAPES

DARK, LIGHT = "#0e1117", "#ffffff"


def linear(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def luminance(rgb):
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def contrast(a, b):
    low, high = sorted((luminance(linear(a)), luminance(linear(b))))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("background", [DARK, LIGHT])
def test_every_colour_stands_out_on_dark_and_on_light(colour, background):
    assert contrast(colour, background) >= 3


# Viénot, Brettel, Mollon 1999: linear RGB as seen without L or M cones.
PROTAN = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))
DEUTAN = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))


@pytest.mark.parametrize("matrix", [PROTAN, DEUTAN])
def test_the_first_four_colours_differ_for_colour_blind_people(matrix):
    seen = [
        [sum(m * c for m, c in zip(row, linear(colour), strict=True)) for row in matrix]
        for colour in COLOURS[:4]
    ]
    for a, b in combinations(seen, 2):
        assert sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 > 0.1


def test_shapes_repeat_what_colours_say():
    assert len(set(SHAPES)) == len(COLOURS) == len(SHAPES)


def test_an_axis_says_what_it_shows_in_which_unit():
    row = Reading("M5 Max", "fp16", 4096, 2.4e8, 2.4e8, 2.4e8)
    drawn = str(by_context([row], "kv_bytes", ["M5 Max"]).to_dict())
    assert "KV memory (MB)" in drawn
    assert "context (tokens)" in drawn


def test_warm_ups_are_drawn_apart():
    trials = [Trial("tpot", 0, 0.02, warmup=False), Trial("tpot", -1, 0.04, warmup=True)]
    drawn = raw_trials(trials, "tpot").to_dict()
    rows = next(rows for rows in drawn["datasets"].values() if len(rows) == 2)
    assert [row["kind"] for row in rows] == ["trial", "warm-up"]
    assert [row["value"] for row in rows] == pytest.approx([20, 40])


def test_a_slow_warm_up_does_not_set_the_scale():
    trials = [Trial("tpot", n, 0.02 + n / 1e4, warmup=False) for n in range(3)]
    drawn = str(raw_trials([*trials, Trial("tpot", -1, 0.9, warmup=True)], "tpot").to_dict())
    assert "'domain': [19.9" in drawn


def test_a_device_keeps_its_colour_whoever_is_shown_beside_it():
    order = ["M2 Pro", "M4 Max", "M5 Max"]
    alone, together = palette.places(["M5 Max"], order), palette.places(order, order)
    assert palette.colour(alone["M5 Max"]) == palette.colour(together["M5 Max"])


def test_a_legend_keeps_the_order_whatever_was_measured_first():
    assert list(palette.places(["fp16", "K8V4", "new"], ["K8V4", "fp16"])) == [
        "K8V4",
        "fp16",
        "new",
    ]


def test_two_devices_of_one_colour_have_other_shapes():
    seen = {(palette.colour(place), palette.shape(place)) for place in range(36)}
    assert len(seen) == 36
