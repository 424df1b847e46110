"""The fused kernels, run by the host thread by thread, against plain attention in float32."""

from unittest import mock

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from host_kernels import compiler, on_host
from packed_views import Case, Sizes, a_view, plain_attention, relative_error, some_queries
from worker.turbo import kernel_launch
from worker.turbo.fused import fused_attention, spans_of
from worker.turbo.kernel_source import MOST_SPANS
from worker.turbo.view import Side, View

pytestmark = pytest.mark.slow

TOLERANCE = {mx.float32: 1e-5, mx.float16: 2e-3, mx.bfloat16: 8e-3}
needs_compiler = [
    pytest.mark.compiler,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
]


CASES = [
    Case(128, 4, 4, 7, 1, mx.float16),
    Case(128, 4, 4, 7, 1, mx.bfloat16, centred=False),
    Case(128, 8, 4, 3, 3, mx.float16),
    Case(128, 0, 4, 4, 2, mx.float16),
    Case(128, 3, 0, 4, 1, mx.bfloat16),
    Case(64, 2, 3, 2, 8, mx.float16),
    Case(96, 6, 3, 3, 1, mx.float16),
    Case(80, 3, 8, 1, 4, mx.bfloat16),
    Case(256, 4, 6, 2, 1, mx.float16),
    Case(128, 4, 4, 7, 1, mx.float32),
    Case(80, 8, 2, 2, 5, mx.float32),
    Case(128, 4, 4, 7, 1, mx.float16, "metal"),
    Case(64, 8, 4, 4, 6, mx.bfloat16, "metal"),
    Case(96, 3, 3, 3, 2, mx.float32, "metal"),
    Case(80, 6, 2, 3, 1, mx.float16, "metal"),
    Case(256, 0, 6, 2, 1, mx.float16, "metal"),
]


@given(
    packed=st.integers(32, 1 << 20),
    raw_spans=st.integers(1, 8),
    at_once=st.sampled_from([64, 128, 256]),
    most=st.integers(0, 400),
)
def test_all_spans_have_threadgroups_and_no_more_run_than_fit(packed, raw_spans, at_once, most):
    span, groups = spans_of(packed, raw_spans, at_once, most)
    packed_spans = -(-packed // span)
    assert span % at_once == 0
    assert packed_spans + raw_spans <= MOST_SPANS
    assert max(packed_spans, raw_spans) <= groups <= max(most, raw_spans, 1)


class TestKernels:
    pytestmark = needs_compiler

    @pytest.mark.parametrize("case", CASES, ids=str)
    @settings(
        max_examples=3,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(
        packed=st.integers(32, 420),
        first=st.sampled_from([0, 4, 5]),
        tail=st.integers(8, 40) | st.just(300),
        batch=st.sampled_from([1, 1, 2]),
        seed=st.integers(0, 1 << 20),
    )
    def test_a_kernel_agrees_with_plain_attention(self, case, packed, first, tail, batch, seed):
        mx.random.seed(seed)
        sizes = Sizes(packed, first, tail, batch=batch)
        view, queries = a_view(case, sizes), some_queries(case, batch)
        with on_host(case.prelude):
            found = fused_attention(queries, view, case.dim**-0.5, "causal")
        expected = plain_attention(queries, view, sizes, case.dim**-0.5)
        assert relative_error(found, expected) < TOLERANCE[case.dtype]

    @pytest.mark.parametrize("prelude", ["host", "metal"])
    @settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(
        lengths=st.lists(st.integers(2, 360), min_size=2, max_size=3),
        packed=st.integers(32, 300),
        first=st.sampled_from([0, 4]),
        key_bits=st.sampled_from([4, 0]),
    )
    def test_sequences_of_a_batch_see_their_own_tokens(
        self, prelude, lengths, packed, first, key_bits
    ):
        case = Case(64, key_bits, 4, 2, 2, mx.float16, prelude)
        sizes = Sizes(packed, first, 20, batch=len(lengths))
        lengths = tuple(min(n, sizes.columns) for n in lengths)
        sizes = Sizes(packed, first, 20, lengths, len(lengths))
        mx.random.seed(packed)
        view, queries = a_view(case, sizes), some_queries(case, len(lengths))
        with on_host(prelude):
            found = fused_attention(queries, view, 0.125, "causal")
        assert relative_error(found, plain_attention(queries, view, sizes, 0.125)) < 2e-3

    @pytest.mark.parametrize("prelude", ["host", "metal"])
    @pytest.mark.parametrize(("threadgroups", "tail"), [(2, 20), (2, 300), (8, 40)])
    def test_a_threadgroup_takes_packed_tokens_and_then_raw_ones(self, prelude, threadgroups, tail):
        case, sizes = Case(128, 4, 4, 7, 1, mx.float16, prelude), Sizes(700, 4, tail)
        mx.random.seed(5)
        view, queries = a_view(case, sizes), some_queries(case)
        with on_host(prelude, threadgroups):
            found = fused_attention(queries, view, 0.09, "causal")
        assert relative_error(found, plain_attention(queries, view, sizes, 0.09)) < 2e-3

    @pytest.mark.parametrize("prelude", ["host", "metal"])
    def test_a_sink_is_one_more_term_of_the_softmax(self, prelude):
        case, sizes = Case(64, 4, 4, 3, 1, mx.float16, prelude), Sizes(200)
        mx.random.seed(3)
        view, queries = a_view(case, sizes), some_queries(case)
        sinks = mx.array([1.0, -3.0, 6.0, 0.0, 2.5, -1e4])
        with on_host(prelude):
            found = fused_attention(queries, view, 0.125, None, sinks)
        assert relative_error(found, plain_attention(queries, view, sizes, 0.125, sinks)) < 2e-3

    @pytest.mark.parametrize("prelude", ["host", "metal"])
    def test_values_of_very_different_norms_keep_their_weight(self, prelude):
        case, sizes = Case(128, 4, 4, 7, 1, mx.float16, prelude), Sizes(180, tail=20)
        mx.random.seed(7)
        view = a_view(case, sizes)
        norms = 2 ** mx.random.uniform(-14, 9, view.values.packed.scales.shape)
        packed = view.values.packed._replace(scales=norms.astype(mx.float16))
        view = View(
            view.keys, Side(view.values.raw, view.values.codec, packed), view.layout, view.centre
        )
        queries = some_queries(case)
        with on_host(prelude):
            found = fused_attention(queries, view, 0.09, None)
        assert relative_error(found, plain_attention(queries, view, sizes, 0.09)) < 2e-3

    @pytest.mark.parametrize(("threadgroups", "simdgroups"), [(1, 8), (5, 4), (4000, 8)])
    def test_any_number_of_threadgroups_gives_the_same(self, threadgroups, simdgroups):
        case, sizes = Case(64, 4, 4, 2, 1, mx.float16), Sizes(3000)
        mx.random.seed(9)
        view, queries = a_view(case, sizes), some_queries(case)
        with (
            on_host(threadgroups=threadgroups),
            mock.patch.object(kernel_launch, "simdgroups", return_value=simdgroups),
        ):
            found = [fused_attention(queries, view, 0.125, None) for _ in range(3)]
        expected = plain_attention(queries, view, sizes, 0.125)
        assert all(relative_error(each, expected) < 2e-3 for each in found)


def test_what_the_kernels_cannot_do_is_left_to_the_portable_path():
    case = Case(64, 4, 4, 2, 3, mx.float16)
    view, queries = a_view(case, Sizes(100)), some_queries(case)
    assert fused_attention(queries, view, 0.125, None) is None
    assert fused_attention(queries, view, 0.125, mx.ones((3, 140), dtype=mx.bool_)) is None
    assert fused_attention(mx.zeros((1, 4, 9, 64)), view, 0.125, "causal") is None


def test_a_kernel_that_does_not_compile_is_told_once_and_left():
    def broken(*_: object, **__: object) -> object:
        def launch(**_: object) -> None:
            raise RuntimeError("program_source:12: error: expected ';'")

        return launch

    case = Case(64, 4, 4, 5, 1, mx.float16)
    view, queries = a_view(case, Sizes(100)), some_queries(case)
    with on_host(), mock.patch.object(kernel_launch, "kernel", broken):
        with pytest.warns(RuntimeWarning, match=r"portable path .*expected ';'"):
            assert fused_attention(queries, view, 0.125, None) is None
        assert fused_attention(queries, view, 0.125, None) is None


def test_arrays_too_small_for_metal_are_left_to_the_portable_path():
    case = Case(64, 4, 4, 2, 1, mx.float16)
    view = a_view(case, Sizes(3))
    with on_host():
        assert fused_attention(some_queries(case), view, 0.125, None) is None
