"""The kernels that encode, and that decode for prompts, run by the host, against the codec."""

import mlx.core as mx
import pytest

from host_kernels import compiler, on_host
from packed_views import Case, Sizes, a_view, decoded
from worker.turbo.codec import codec
from worker.turbo.fused_codec import fused_encode
from worker.turbo.fused_decode import fused_rotated
from worker.turbo.fused_keep import Rows, fused_keep
from worker.turbo.fused_turn import fused_turn
from worker.turbo.rotation import rotation
from worker.turbo.view import Centre

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
]


def a_centre(dim: int, coder) -> Centre:
    mean = 3 * mx.random.normal((2, 3, dim))
    return Centre(mean, coder.rotation.rotate(mean / mx.linalg.norm(mean, axis=-1, keepdims=True)))


def near(found, expected) -> bool:
    differing = mx.mean((found.codes != expected.codes).astype(mx.float32)).item()
    return (
        differing < 0.01  # a coordinate on a boundary, to float32's rounding
        and mx.allclose(found.scales.astype(mx.float32), expected.scales, rtol=2e-3).item()
    )


@pytest.mark.parametrize(
    ("dim", "bits", "rules", "dtype", "prelude"),
    [
        (128, (4, 4), ("unbiased", "matched_norm"), mx.float16, "host"),
        (64, (8, 3), ("least_squares", "matched_norm"), mx.bfloat16, "metal"),
        (80, (2, 4), ("unbiased", "raw_norm"), mx.float32, "host"),
        (96, (6, 6), ("matched_norm", "unbiased"), mx.float16, "metal"),
        (256, (8, 2), ("raw_norm", "least_squares"), mx.float16, "host"),
    ],
)
@pytest.mark.parametrize("centred", [True, False])
def test_one_launch_packs_what_the_codec_packs(dim, bits, rules, dtype, prelude, centred):
    mx.random.seed(dim + bits[0])
    keys, values = (codec(dim, b, 42, rule) for b, rule in zip(bits, rules, strict=True))
    centre = a_centre(dim, keys) if centred else None
    rows = [(mx.random.normal((2, 3, 21, dim)) * 5).astype(dtype) for _ in range(2)]
    with on_host(prelude):
        found = fused_encode((keys, rows[0]), (values, rows[1]), centre)
    if centre is None:
        expected = keys.encode(rows[0])
    else:
        expected = keys.encode(rows[0] - centre.mean[:, :, None], centre.direction[:, :, None])
    assert near(found[0], expected)
    assert near(found[1], values.encode(rows[1]))
    if centre is None:
        assert found[0].along is None
    else:
        assert mx.allclose(found[0].along.astype(mx.float32), expected.along, atol=0.02).item()


@pytest.mark.parametrize("packed_side", [0, 1])
def test_a_side_that_stays_as_it_is_is_not_packed(packed_side):
    coder = codec(64, 4, 42, "unbiased")
    rows = mx.random.normal((1, 2, 9, 64), key=mx.random.key(1)).astype(mx.float16)
    sides = [(None, rows), (None, rows)]
    sides[packed_side] = (coder, rows)
    with on_host():
        found = fused_encode(*sides, None)
    assert found[1 - packed_side] is None
    assert near(found[packed_side], coder.encode(rows))


def test_the_kernel_marks_a_vector_that_is_not_finite_by_its_scale():
    coder = codec(64, 4, 42, "unbiased")
    rows = mx.ones((1, 1, 4, 64)) * mx.array([1.0, float("nan"), float("inf"), 0.0])[:, None]
    with on_host():
        found = fused_encode((coder, rows), (coder, rows), None)
    for packed in found:
        assert mx.isfinite(packed.scales[0, 0]).tolist() == [True, False, False, True]


@pytest.mark.parametrize("prelude", ["host", "metal"])
@pytest.mark.parametrize(
    ("dim", "bits", "dtype", "centred"),
    [
        (128, (4, 4), mx.float16, True),
        (80, (3, 6), mx.bfloat16, True),
        (64, (8, 2), mx.float32, False),
        (96, (0, 4), mx.float16, True),
        (128, (4, 0), mx.float16, True),
    ],
)
def test_a_layer_is_decoded_in_the_rotated_space_in_one_launch(dim, bits, dtype, centred, prelude):
    case, sizes = Case(dim, *bits, 1, 1, dtype, centred=centred), Sizes(70, 4, 33, batch=2)
    mx.random.seed(dim)
    view = a_view(case, sizes)
    with on_host(prelude):
        found = fused_rotated(view)
    for rows, side, centre in (
        (found[0], view.keys, view.centre),
        (found[1], view.values, None),
    ):
        expected = decoded(side, sizes, centre)
        assert rows.dtype == dtype
        if side.codec is None:
            assert mx.array_equal(rows, side.raw).item()
            continue
        expected = side.codec.rotation.rotate(expected)
        bound = {mx.float32: 1e-5, mx.float16: 2e-3, mx.bfloat16: 1e-2}[dtype]
        difference = mx.linalg.norm((rows.astype(mx.float32) - expected).reshape(-1))
        assert difference.item() < bound * mx.linalg.norm(expected.reshape(-1)).item()


@pytest.mark.parametrize("prelude", ["host", "metal"])
@pytest.mark.parametrize(("dim", "dtype"), [(128, mx.float16), (80, mx.bfloat16), (64, mx.float32)])
def test_rows_of_any_strides_are_rotated_and_back_in_their_own_type(dim, dtype, prelude):
    mx.random.seed(dim)
    rows = mx.random.normal((2, 3, 5, dim)).astype(dtype)
    turn = rotation(dim, 42)
    with on_host(prelude):
        found = fused_turn(rows.swapaxes(1, 2), turn, back=False)
        again = fused_turn(found, turn, back=True).swapaxes(1, 2)
    bound = {mx.float32: 1e-5, mx.float16: 2e-3, mx.bfloat16: 1.5e-2}[dtype]
    expected = turn.rotate(rows.swapaxes(1, 2))
    assert found.dtype == dtype
    assert mx.allclose(found.astype(mx.float32), expected, atol=4 * bound).item()
    assert mx.allclose(again.astype(mx.float32), rows.astype(mx.float32), atol=8 * bound).item()


@pytest.mark.parametrize("prelude", ["host", "metal"])
def test_one_launch_keeps_what_stays_raw_and_says_what_is_not_finite(prelude):
    mx.random.seed(5)
    coder = codec(64, 4, 42, "unbiased")
    keys, values = (mx.random.normal((2, 3, 60, 64)).astype(mx.float16) for _ in range(2))
    packed = [coder.encode(x[:, :, 4:50]) for x in (keys, values)]
    rows = Rows(first=4, tail_from=50, tail=10, capacity=20)
    bad = [values[:], values[:], values[:]]
    bad[0][1, 2, 55, 7] = float("inf")
    bad[1][0, 0, 3, 63] = float("nan")
    bad[2][0, 1, 20, 0] = float("inf")  # of what is packed the scales are looked at
    with on_host(prelude):
        kept = fused_keep((keys, values), packed, rows, None)
        flags = [fused_keep((keys, x), packed, rows, None).flags for x in bad]
        after = fused_keep((keys, values), packed, rows, flags[0])
        scales = packed[1].scales[:]
        scales[1, 0, 45] = float("inf")
        more = fused_keep(
            (keys, values), (packed[0], packed[1]._replace(scales=scales)), rows, None
        )
    for found, raw in zip(kept.raw, (keys, values), strict=True):
        assert mx.array_equal(found[:, :, :4], raw[:, :, :4]).item()
        assert mx.array_equal(found[:, :, 4:14], raw[:, :, 50:]).item()
        assert not mx.any(found[:, :, 14:]).item()
    assert mx.all(kept.flags).item()
    assert [mx.all(x).item() for x in flags] == [False, False, True]
    assert after.covers is flags[0]
    assert not mx.all(after.flags).item()
    assert not mx.all(more.flags).item()
