"""What is traffic and what is compute, and what another chip would give."""

import pytest

from dashboard.analysis import decode_time
from worker import roofline
from worker.roofline import Model, Speed


def speed(context, tps, cache="fp16", **more):
    return Speed("M5 Max", cache, context, tps, tps, tps, **more)


def test_a_line_through_exact_times_has_no_error():
    line = decode_time.fit([speed(c, 1 / (0.01 + 1e-6 * c)) for c in (512, 1024, 4096)])
    assert (line.start, line.slope) == pytest.approx((0.01, 1e-6))
    assert (line.start_error, line.slope_error) == pytest.approx((0, 0), abs=1e-9)


def test_the_errors_of_a_line_are_those_of_least_squares():
    speeds = [speed(c, 1 / s) for c, s in ((0, 1.0), (1, 2.0), (2, 2.0), (3, 4.0))]
    line = decode_time.fit(speeds)
    assert (line.start, line.slope) == pytest.approx((0.9, 0.9))
    assert (line.start_error, line.slope_error) == pytest.approx((0.245**0.5, 0.07**0.5))


@pytest.mark.parametrize("speeds", [[], [speed(512, 60.0)], [speed(512, 60.0), speed(512, 61.0)]])
def test_one_context_makes_no_line(speeds):
    assert decode_time.fit(speeds) is None


def test_a_slow_codec_is_explained_as_compute():
    exact = decode_time.Fit(0.0102, 4e-7, None, None)
    ours = decode_time.Fit(0.0102, 6.2e-6, None, None)
    model = roofline.known_model("Qwen2.5-1.5B-8bit")
    split = decode_time.cost(exact, ours, model=model, share=0.6, bandwidth=160e9, context=4096)
    assert split.compute == pytest.approx(0.0238 + 0.00029, rel=0.01)
    assert split.traffic == pytest.approx(-0.000294, rel=0.01)
    assert "costs more than the traffic it saves" in decode_time.verdict(split)


def test_a_cache_that_only_reads_less_is_explained_as_traffic():
    exact = decode_time.Fit(0.01, 1e-6, None, None)
    ours = decode_time.Fit(0.01, 0.5e-6, None, None)
    model = Model(1e9, 1e5)
    split = decode_time.cost(exact, ours, model=model, share=0.5, bandwidth=1e11, context=10_000)
    assert split.compute == pytest.approx(0)
    assert "traffic saved outweighs" in decode_time.verdict(split)


def test_a_forecast_spans_what_was_measured():
    found = decode_time.forecast([0.7, 0.78, 0.8], 400e9, 8e9)
    assert (found.low, found.middle, found.high) == pytest.approx((35, 39, 40))


def test_a_forecast_from_one_device_takes_in_the_usual_range():
    found = decode_time.forecast([0.6], 400e9, 8e9)
    assert (found.low, found.high, found.from_devices) == pytest.approx((30, 42.5, 1))


def test_the_error_of_a_split_grows_with_those_of_both_lines_and_of_the_bandwidth():
    exact = decode_time.fit([speed(c, 1 / s) for c, s in ((0, 1.0), (1, 2.0), (2, 2.0), (3, 4.0))])
    split = decode_time.cost(
        exact, exact, model=Model(1.0, 1.0), share=0.0, bandwidth=1.0, context=4, doubt=0.1
    )
    assert split.traffic_error == pytest.approx(0.4)
    assert split.compute_error == pytest.approx((2 * exact.error_at(4) ** 2 + 0.16) ** 0.5)
    assert exact.error_at(4) > exact.error_at(1.5)
