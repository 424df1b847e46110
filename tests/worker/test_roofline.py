"""What memory bandwidth allows, and the published figures that it makes doubtful."""

import pytest

from db import published
from worker import roofline
from worker.roofline import Speed

SEVEN = roofline.known_model("mlx-community/Qwen2.5-7B-Instruct-8bit")


def speed(context, tps, cache="fp16", **more):
    return Speed("M5 Max", cache, context, tps, tps, tps, **more)


def seed(suite):
    table = published.parse(suite, (published.FOLDER / f"{suite}.csv").read_text())
    return [
        Speed(row.device, row.cache, row.context, row.value, row.value, row.value, published=True)
        for row in table
        if row.metric == "generation_tps" and row.kind == "figure"
    ]


@pytest.mark.parametrize(
    ("name", "weights", "kv"),
    [
        ("mlx-community/Qwen2.5-7B-Instruct-8bit", 7.512e9, 57_344),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", 7.512e9 * 4.5 / 8.5, 57_344),
        ("mlx-community/Qwen2.5-1.5B-Instruct-8bit", 1.640e9, 28_672),
        ("Qwen/Qwen2.5-7B-Instruct-GGUF:Q8_0", 7.512e9, 57_344),
        ("reference", 2_791_680, 1_536),
    ],
)
def test_a_known_model_has_its_bytes(name, weights, kv):
    assert roofline.known_model(name) == roofline.Model(pytest.approx(weights), kv)


@pytest.mark.parametrize("name", ["mlx-community/Qwen2.5-7B-Instruct", "phi-4-8bit"])
def test_of_other_models_the_bytes_are_unknown(name):
    assert roofline.known_model(name) is None


def test_the_seeds_m5_max_is_at_the_measured_wall():
    rows = roofline.explain(seed("seed-context-scaling"), SEVEN, {"Apple M5 Max": 614e9})
    first = rows[0]
    assert first.predicted == pytest.approx(81.4, abs=0.1)
    assert first.utilization == pytest.approx(0.78, abs=0.005)
    assert not any(row.suspicious for row in rows)


def test_the_seeds_m2_pro_runs_against_the_roofline():
    model = roofline.known_model("Qwen2.5-1.5B-8bit")
    rows = roofline.explain(seed("seed-m2pro-1.5b"), model, {"Apple M2 Pro": 200e9})
    by_place = {(row.speed.cache, row.speed.context): row.suspicious for row in rows}
    assert by_place["fp16", 4096] == (
        "only 41% of the bandwidth",
        "faster than at 128 tokens, where less is read",
    )
    assert by_place["fp16", 128] == (
        "only 29% of the bandwidth",
        "slower than at 4096 tokens, where more is read",
    )


def test_a_speed_above_the_bandwidth_is_impossible():
    (row,) = roofline.explain([speed(512, 100.0)], SEVEN, {"M5 Max": 614e9})
    assert row.suspicious == ("faster than the bandwidth allows",)


def test_a_device_of_unknown_bandwidth_is_left_out():
    assert roofline.explain([speed(512, 60.0)], SEVEN, {}) == []


def test_chips_have_their_bandwidth_by_gpu_cores():
    assert roofline.chips()["Apple M5 Max, 40 GPU cores"] == 614e9
    assert roofline.chips()["Apple M5 Max, 32 GPU cores"] == 460e9


@pytest.mark.parametrize(
    ("cache", "share"),
    [
        ("fp16", 1.0),
        ("turbo(key_bits=4, value_bits=4)", (68 + 66) / 512),
        ("turbo(key_bits=0, value_bits=4)", (256 + 66) / 512),
        ("turbo(key_bits=8, value_bits=4)", (132 + 66) / 512),
        ("quantized(bits=4)", 4.5 / 16),
        ("turboquant_plus(bits=4, key_bits=4)", 1.0),
    ],
)
def test_a_cache_that_was_not_weighed_is_as_large_as_its_bits(cache, share):
    assert roofline.nominal_share(cache) == pytest.approx(share)
