"""The kernels that encode, and that decode for prompts, run by the host, against the codec."""

import mlx.core as mx
import pytest

from host_kernels import compiler, on_host
from packed_views import Case, Sizes, a_view, decoded
from worker.turbo.codec import codec
from worker.turbo.fused_codec import fused_encode
from worker.turbo.fused_decode import fused_rotated
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
    rows = mx.random.normal((1, 2, 9, 64)).astype(mx.float16)
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
