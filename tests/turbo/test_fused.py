"""The fused kernels, run by the host thread by thread, against plain attention in float32."""

from dataclasses import dataclass
from unittest import mock

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_kernels import compiler, on_host
from worker.turbo import kernel_launch
from worker.turbo.codec import codec
from worker.turbo.fused import fused_attention
from worker.turbo.layout import Layout
from worker.turbo.settings import KEY_SCALE, VALUE_SCALE
from worker.turbo.view import Centre, Side, View

TOLERANCE = {mx.float32: 1e-5, mx.float16: 2e-3, mx.bfloat16: 8e-3}
HEADS = 2

needs_compiler = [
    pytest.mark.compiler,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
]


@dataclass(frozen=True)
class Case:
    dim: int
    key_bits: int
    value_bits: int
    groups: int
    length: int
    dtype: mx.Dtype
    prelude: str = "host"
    centred: bool = True

    def __str__(self) -> str:
        name = str(self.dtype).rpartition(".")[2]
        return (
            f"d{self.dim}-K{self.key_bits}V{self.value_bits}-groups{self.groups}-L{self.length}"
            f"-{name}-{self.prelude}{'' if self.centred else '-plain'}"
        )


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


@dataclass(frozen=True)
class Sizes:
    """Columns of a view; with ``lengths`` the sequences are padded."""

    packed: int
    first: int = 0
    tail: int = 40
    lengths: tuple[int, ...] | None = None
    batch: int = 1

    @property
    def columns(self) -> int:
        return self.packed + self.first + self.tail

    @property
    def layout(self) -> Layout:
        if self.lengths is None:
            return Layout(self.first, self.packed, self.tail)
        padding = mx.array([self.columns - n for n in self.lengths], dtype=mx.int32)
        return Layout(self.first, self.packed, self.tail, padding)


def a_side(x: mx.array, bits: int, rule: str, sizes: Sizes, centre: Centre | None) -> Side:
    if not bits:
        return Side(x, None, None)
    coder = codec(x.shape[-1], bits, 42, rule)
    middle = slice(sizes.first, sizes.first + sizes.packed)
    rows = x[:, :, middle].astype(mx.float32)
    direction = None if centre is None else centre.direction[:, :, None]
    packed = coder.encode(rows if centre is None else rows - centre.mean[:, :, None], direction)
    raw = mx.concatenate([x[:, :, : middle.start], x[:, :, middle.stop :]], axis=2)
    return Side(raw, coder, packed)


def a_view(case: Case, sizes: Sizes) -> View:
    """Return keys of a large bias and values, some of them packed."""
    shape = (sizes.batch, HEADS, sizes.columns, case.dim)
    bias = 4 * mx.random.normal((1, HEADS, 1, case.dim))
    keys = (mx.random.normal(shape) + bias).astype(case.dtype)
    values = mx.random.normal(shape).astype(case.dtype)
    centre = None
    if case.centred and case.key_bits:
        mean = mx.mean(keys.astype(mx.float32), axis=2)
        unit = mean / mx.linalg.norm(mean, axis=-1, keepdims=True)
        rotation = codec(case.dim, case.key_bits, 42, KEY_SCALE).rotation
        centre = Centre(mean, rotation.rotate(unit))
    return View(
        a_side(keys, case.key_bits, KEY_SCALE, sizes, centre),
        a_side(values, case.value_bits, VALUE_SCALE, sizes, None),
        sizes.layout,
        centre,
    )


def some_queries(case: Case, batch: int = 1) -> mx.array:
    return mx.random.normal((batch, HEADS * case.groups, case.length, case.dim)).astype(case.dtype)


def decoded(side: Side, sizes: Sizes, centre: Centre | None) -> mx.array:
    """Return a side's columns in order, in float32, keys less their mean."""
    raw = side.raw.astype(mx.float32)
    mean = 0 if centre is None else centre.mean[:, :, None]
    if side.codec is None:
        return raw - mean
    direction = None if centre is None else centre.direction[:, :, None]
    packed = side.codec.decode(side.packed, direction)
    raw = raw - mean
    return mx.concatenate([raw[:, :, : sizes.first], packed, raw[:, :, sizes.first :]], axis=2)


def plain_attention(
    queries: mx.array, view: View, sizes: Sizes, scale: float, sinks: mx.array | None = None
) -> mx.array:
    batch, query_heads, length, dim = queries.shape
    keys = decoded(view.keys, sizes, view.centre)
    values = decoded(view.values, sizes, None)
    grouped = queries.astype(mx.float32).reshape(batch, HEADS, -1, dim) * scale
    scores = (grouped @ keys.swapaxes(-1, -2)).reshape(batch, query_heads, length, -1)
    scores = mx.where(view.layout.mask(length, None), scores, -1e30)
    if sinks is not None:
        extra = mx.broadcast_to(sinks[None, :, None, None], (*scores.shape[:3], 1))
        scores = mx.concatenate([scores, extra], axis=-1)
    weights = mx.softmax(scores, axis=-1)[..., : sizes.columns]
    found = weights.reshape(batch, HEADS, -1, sizes.columns) @ values
    return found.reshape(batch, query_heads, length, dim)


def relative_error(found: mx.array, expected: mx.array) -> float:
    difference = (found.astype(mx.float32) - expected).reshape(-1)
    return (mx.linalg.norm(difference) / mx.linalg.norm(expected.reshape(-1))).item()


class TestKernels:
    pytestmark = needs_compiler

    @pytest.mark.parametrize("case", CASES, ids=str)
    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        packed=st.integers(4, 420),
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
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        lengths=st.lists(st.integers(2, 360), min_size=2, max_size=3),
        packed=st.integers(8, 300),
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

    @pytest.mark.parametrize("threadgroups", [1, 5, 4000])
    def test_any_number_of_threadgroups_gives_the_same(self, threadgroups):
        case, sizes = Case(64, 4, 4, 2, 1, mx.float16), Sizes(3000)
        mx.random.seed(9)
        view, queries = a_view(case, sizes), some_queries(case)
        with on_host(threadgroups=threadgroups):
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
    def broken(*_: object) -> object:
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
