"""Each kernel variant is compared with the portable path over the same cache."""

from __future__ import annotations

import warnings

import mlx.core as mx
import pytest

from host_kernels import compiler, on_host
from worker.turbo import variants
from worker.turbo.attention import portable_attention
from worker.turbo.variants import Shape, compare, compare_all

SHAPE = Shape(64, 4, 4, groups=2)


def found(monkeypatch, attention, shape=SHAPE):
    monkeypatch.setattr(variants, "fused_attention", attention)
    return compare(shape)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("key_bits", "value_bits"), [(8, 4), (0, 4), (3, 3)])
def test_a_kernel_that_agrees_has_no_problem(monkeypatch, key_bits, value_bits, dtype):
    shape = Shape(64, key_bits, value_bits, groups=2, dtype=dtype)
    outcome = found(monkeypatch, portable_attention, shape)
    assert (outcome.error, outcome.problem, outcome.compared) == (0.0, "", True)


@pytest.mark.parametrize("part", ["prompt", "encode"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_prompts_and_packing_are_compared_too(part, dtype):
    outcome = compare(Shape(128, 4, 4, dtype=dtype, part=part))
    assert (outcome.error, outcome.problem, outcome.compared) == (0.0, "", True)


@pytest.mark.compiler
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    "shape", [SHAPE, Shape(64, 8, 4, groups=2, dtype="bfloat16")], ids=lambda shape: shape.name
)
def test_the_kernels_themselves_agree_where_a_compiler_can_run_them(shape):
    with on_host():
        outcome = compare(shape)
    assert outcome.problem == ""
    assert outcome.error is not None


def test_a_kernel_that_differs_or_gives_no_number_is_named(monkeypatch):
    def off(*arguments):
        return portable_attention(*arguments) + 0.1

    def broken(*arguments):
        return portable_attention(*arguments) * mx.nan

    assert "differs by 0.1" in found(monkeypatch, off).problem
    outcome = found(monkeypatch, broken)
    assert outcome.error is None
    assert "differs by nan" in outcome.problem


def test_a_kernel_that_does_not_compile_says_so(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("[metal::Device] program_source:12: error: expected ';'")

    assert "does not compile or start: [metal::Device]" in found(monkeypatch, refuse).problem


def test_a_kernel_that_the_portable_path_replaces_says_why(monkeypatch):
    def replaced(*arguments):
        warnings.warn("a kernel does not compile: error: expected ';'", stacklevel=1)

    outcome = found(monkeypatch, replaced)
    assert outcome.problem == "is left alone: a kernel does not compile: error: expected ';'"


def test_a_shape_that_is_left_to_the_portable_path_is_not_compared(monkeypatch):
    outcome = found(monkeypatch, lambda *arguments: None)
    assert (outcome.compared, outcome.problem) == (False, "")


def test_without_a_gpu_nothing_is_compared_and_without_time_it_says_so(monkeypatch):
    monkeypatch.setattr(variants, "runs_here", lambda: False)
    assert compare_all([SHAPE], 1.0) == []
    monkeypatch.setattr(variants, "runs_here", lambda: True)
    (outcome,) = compare_all([SHAPE], -1.0)
    assert "not done within" in outcome.problem
