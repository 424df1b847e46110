"""The fused kernels, run by the host thread by thread, against the portable path in float32."""

from dataclasses import dataclass

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_kernels import compiler, host_attention
from worker.turbo import attend, attention_path
from worker.turbo.attention import portable_attention
from worker.turbo.cache import TurboKVCache
from worker.turbo.fused import fused_attention, runs_here
from worker.turbo.view import View

TOLERANCE = {mx.float32: 1e-5, mx.float16: 2e-3, mx.bfloat16: 8e-3}


@dataclass(frozen=True)
class Case:
    dim: int
    key_bits: int
    value_bits: int
    groups: int
    length: int
    dtype: mx.Dtype
    products: str
    prelude: str = "host"

    def __str__(self) -> str:
        name = str(self.dtype).rpartition(".")[2]
        return (
            f"d{self.dim}-K{self.key_bits}V{self.value_bits}-groups{self.groups}"
            f"-L{self.length}-{name}-{self.products}-{self.prelude}"
        )


CASES = [
    Case(128, 4, 4, 7, 1, mx.float16, "matrix"),
    Case(128, 4, 4, 7, 1, mx.bfloat16, "matrix"),
    Case(128, 8, 4, 3, 3, mx.float16, "matrix"),
    Case(128, 0, 4, 4, 2, mx.float16, "matrix"),
    Case(128, 3, 0, 4, 1, mx.bfloat16, "matrix"),
    Case(64, 2, 3, 2, 8, mx.float16, "matrix"),
    Case(96, 6, 3, 3, 1, mx.float16, "matrix"),
    Case(80, 3, 8, 1, 4, mx.bfloat16, "matrix"),
    Case(256, 4, 6, 2, 1, mx.float16, "matrix"),
    Case(128, 4, 4, 7, 1, mx.float32, "lanes"),
    Case(80, 8, 2, 2, 5, mx.float32, "lanes"),
    Case(128, 4, 4, 7, 1, mx.float16, "lanes", "metal"),
    Case(64, 8, 4, 4, 6, mx.bfloat16, "lanes", "metal"),
    Case(96, 3, 3, 3, 2, mx.float32, "lanes", "metal"),
    Case(256, 0, 6, 2, 1, mx.float16, "lanes", "metal"),
]


def a_view(case: Case, tokens: int, *, first: int = 0, tail: int = 40, batch: int = 1) -> View:
    cache = TurboKVCache(case.value_bits, case.key_bits, first_tokens=first, tail_tokens=tail)
    shape = (batch, 2, tokens, case.dim)
    bias = 4 * mx.random.normal((1, 2, 1, case.dim))
    keys = (mx.random.normal(shape) + bias).astype(case.dtype)
    values = mx.random.normal(shape).astype(case.dtype)
    before = tokens - case.length
    cache.update_and_fetch(keys[:, :, :before], values[:, :, :before])
    view, _ = cache.update_and_fetch(keys[:, :, before:], values[:, :, before:])
    return view


def some_queries(case: Case, batch: int = 1) -> mx.array:
    return mx.random.normal((batch, 2 * case.groups, case.length, case.dim)).astype(case.dtype)


def relative_error(found: mx.array, expected: mx.array) -> float:
    difference = (found.astype(mx.float32) - expected).reshape(-1)
    return (mx.linalg.norm(difference) / mx.linalg.norm(expected.reshape(-1))).item()


@pytest.mark.compiler
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    tokens=st.integers(60, 420),
    first=st.sampled_from([0, 0, 5]),
    tail=st.sampled_from([20, 40, 300]),
    batch=st.sampled_from([1, 1, 2]),
    seed=st.integers(0, 1 << 20),
)
def test_a_kernel_agrees_with_the_portable_path(case, tokens, first, tail, batch, seed):
    mx.random.seed(seed)
    view = a_view(case, tokens + (tail if tail > 100 else 0), first=first, tail=tail, batch=batch)
    queries = some_queries(case, batch)
    expected = portable_attention(
        queries.astype(mx.float32), view, case.dim**-0.5, "causal" if case.length > 1 else None
    )
    found = host_attention(queries, view, case.dim**-0.5, case.products, case.prelude)
    assert relative_error(found, expected) < TOLERANCE[case.dtype]


@pytest.mark.compiler
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("products", ["matrix", "lanes"])
def test_values_of_very_different_norms_keep_their_weight(products):
    case = Case(128, 4, 4, 7, 1, mx.float16, products)
    mx.random.seed(7)
    cache = TurboKVCache(4, 4, tail_tokens=20)
    keys = mx.random.normal((1, 2, 200, 128)).astype(mx.float16)
    values = mx.random.normal((1, 2, 200, 128)) * 2 ** mx.random.uniform(-14, 9, (1, 2, 200, 1))
    view, _ = cache.update_and_fetch(keys[:, :, :199], values[:, :, :199].astype(mx.float16))
    view, _ = cache.update_and_fetch(keys[:, :, 199:], values[:, :, 199:].astype(mx.float16))
    queries = some_queries(case)
    expected = portable_attention(queries.astype(mx.float32), view, 0.09, None)
    assert relative_error(host_attention(queries, view, 0.09, products), expected) < 2e-3


def test_what_the_kernels_cannot_do_is_left_to_the_portable_path():
    case = Case(64, 4, 4, 2, 3, mx.float16, "matrix")
    view, queries = a_view(case, 100), some_queries(case)
    assert fused_attention(queries, view, 0.125, None) is None
    assert fused_attention(queries, view, 0.125, mx.ones((3, 100), dtype=mx.bool_)) is None
    assert fused_attention(mx.zeros((1, 4, 9, 64)), view, 0.125, "causal") is None


@pytest.mark.skipif(runs_here(), reason="the default device is a GPU")
def test_without_a_gpu_attention_is_portable_and_says_so():
    case = Case(64, 4, 4, 2, 1, mx.float32, "lanes")
    view, queries = a_view(case, 100), some_queries(case)
    assert attention_path() == "portable"
    found = attend(queries, view, 0.125, None)
    assert relative_error(found, portable_attention(queries, view, 0.125, None)) == 0
