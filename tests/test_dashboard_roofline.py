import pytest

from dashboard import roofline
from dashboard.roofline import Speed
from db.queries import published

SEVEN = roofline.known_model("mlx-community/Qwen2.5-7B-Instruct-8bit")


def speed(context, tps, cache="fp16", **more):
    return Speed("M5 Max", cache, context, tps, tps, tps, **more)


def seed(chip):
    return [
        Speed(row.device, row.cache, row.context, row.value, row.value, row.value, published=True)
        for row in published()
        if row.device == chip and row.metric == "generation_tps"
    ]


@pytest.mark.parametrize(
    ("name", "weights", "kv"),
    [
        ("mlx-community/Qwen2.5-7B-Instruct-8bit", 7.512e9, 57_344),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", 7.512e9 * 4.5 / 8.5, 57_344),
        ("mlx-community/Qwen2.5-1.5B-Instruct-8bit", 1.640e9, 28_672),
    ],
)
def test_a_known_model_has_its_bytes(name, weights, kv):
    assert roofline.known_model(name) == roofline.Model(pytest.approx(weights), kv)


@pytest.mark.parametrize("name", ["reference", "mlx-community/Qwen2.5-7B-Instruct", "phi-4-8bit"])
def test_of_other_models_the_bytes_are_unknown(name):
    assert roofline.known_model(name) is None


def test_the_seeds_m5_max_is_at_the_measured_wall():
    rows = roofline.explain(seed("Apple M5 Max"), SEVEN, {"Apple M5 Max": 614e9})
    first = rows[0]
    assert first.predicted == pytest.approx(81.4, abs=0.1)
    assert first.utilization == pytest.approx(0.78, abs=0.005)
    assert not any(row.suspicious for row in rows)


def test_the_seeds_m2_pro_runs_against_the_roofline():
    model = roofline.known_model("Qwen2.5-1.5B-8bit")
    rows = roofline.explain(seed("Apple M2 Pro"), model, {"Apple M2 Pro": 200e9})
    by_place = {(row.speed.cache, row.speed.context): row.suspicious for row in rows}
    assert by_place["fp16", 4096] == (
        "only 41% of the bandwidth",
        "faster than at 128 tokens, where less is read",
    )
    assert by_place["fp16", 128] == ("only 29% of the bandwidth",)


def test_a_speed_above_the_bandwidth_is_impossible():
    (row,) = roofline.explain([speed(512, 100.0)], SEVEN, {"M5 Max": 614e9})
    assert row.suspicious == ("faster than the bandwidth allows",)


def test_a_device_of_unknown_bandwidth_is_left_out():
    assert roofline.explain([speed(512, 60.0)], SEVEN, {}) == []


def test_a_line_through_exact_times_has_no_error():
    line = roofline.fit([speed(c, 1 / (0.01 + 1e-6 * c)) for c in (512, 1024, 4096)])
    assert (line.start, line.slope) == pytest.approx((0.01, 1e-6))
    assert (line.start_error, line.slope_error) == pytest.approx((0, 0), abs=1e-9)


def test_the_errors_of_a_line_are_those_of_least_squares():
    speeds = [speed(c, 1 / s) for c, s in ((0, 1.0), (1, 2.0), (2, 2.0), (3, 4.0))]
    line = roofline.fit(speeds)
    assert (line.start, line.slope) == pytest.approx((0.9, 0.9))
    assert (line.start_error, line.slope_error) == pytest.approx((0.245**0.5, 0.07**0.5))


@pytest.mark.parametrize("speeds", [[], [speed(512, 60.0)], [speed(512, 60.0), speed(512, 61.0)]])
def test_one_context_makes_no_line(speeds):
    assert roofline.fit(speeds) is None


def test_a_slow_codec_is_explained_as_compute():
    exact = roofline.Line(0.0102, 4e-7, None, None)
    ours = roofline.Line(0.0102, 6.2e-6, None, None)
    model = roofline.known_model("Qwen2.5-1.5B-8bit")
    split = roofline.cost(exact, ours, model=model, share=0.6, bandwidth=160e9, context=4096)
    assert split.compute == pytest.approx(0.0238 + 0.00029, rel=0.01)
    assert split.traffic == pytest.approx(-0.000294, rel=0.01)
    assert "costs more than the traffic it saves" in roofline.verdict(split)


def test_a_cache_that_only_reads_less_is_explained_as_traffic():
    exact = roofline.Line(0.01, 1e-6, None, None)
    ours = roofline.Line(0.01, 0.5e-6, None, None)
    model = roofline.Model(1e9, 1e5)
    split = roofline.cost(exact, ours, model=model, share=0.5, bandwidth=1e11, context=10_000)
    assert split.compute == pytest.approx(0)
    assert "traffic saved outweighs" in roofline.verdict(split)


def test_a_forecast_spans_what_was_measured():
    found = roofline.forecast([0.7, 0.78, 0.8], 400e9, 8e9)
    assert (found.low, found.middle, found.high) == pytest.approx((35, 39, 40))


def test_a_forecast_from_one_device_takes_in_the_usual_range():
    found = roofline.forecast([0.6], 400e9, 8e9)
    assert (found.low, found.high, found.from_devices) == pytest.approx((30, 42.5, 1))


def test_chips_have_their_bandwidth_by_gpu_cores():
    assert roofline.chips()["Apple M5 Max, 40 GPU cores"] == 614e9
    assert roofline.chips()["Apple M5 Max, 32 GPU cores"] == 460e9


@pytest.mark.parametrize(
    ("cache", "share"),
    [
        ("fp16", 1.0),
        ("turbo(key_bits=4, value_bits=4)", 66 / 256),
        ("turbo(key_bits=0, value_bits=4)", (256 + 66) / 512),
        ("turbo(key_bits=8, value_bits=4)", (130 + 66) / 512),
        ("quantized(bits=4)", 4.5 / 16),
        ("turboquant_plus(bits=4, key_bits=4)", 1.0),
    ],
)
def test_a_cache_that_was_not_weighed_is_as_large_as_its_bits(cache, share):
    assert roofline.nominal_share(cache) == pytest.approx(share)
