"""The encoding kernel, run by the host thread by thread, against the codec."""

import mlx.core as mx
import pytest

from host_kernels import compiler, host_encode
from worker.turbo.codec import codec

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
]


@pytest.mark.parametrize(
    ("dim", "bits", "rule", "dtype", "prelude"),
    [
        (128, 4, "unbiased", mx.float16, "host"),
        (64, 3, "least_squares", mx.bfloat16, "metal"),
        (80, 2, "unbiased", mx.float32, "host"),
        (96, 6, "matched_norm", mx.float16, "metal"),
        (256, 8, "raw_norm", mx.float16, "host"),
    ],
)
@pytest.mark.parametrize("centred", [True, False])
def test_the_kernel_packs_what_the_codec_packs(dim, bits, rule, dtype, prelude, centred):
    mx.random.seed(dim + bits)
    coder = codec(dim, bits, 42, rule)
    mean = mx.random.normal((2, 3, dim)) if centred else None
    vectors = (mx.random.normal((2, 3, 21, dim)) * 5).astype(dtype)
    expected = coder.encode(vectors if mean is None else vectors - mean[:, :, None])
    found = host_encode(coder, vectors, mean, prelude)
    differing = mx.mean((found.codes != expected.codes).astype(mx.float32)).item()
    assert differing < 0.01  # a coordinate on a boundary, to float32's rounding
    assert mx.allclose(found.scales.astype(mx.float32), expected.scales, rtol=2e-3).item()


def test_the_kernel_marks_a_vector_that_is_not_finite_by_its_scale():
    coder = codec(64, 4, 42, "unbiased")
    vectors = mx.ones((1, 1, 4, 64)) * mx.array([1.0, float("nan"), float("inf"), 0.0])[:, None]
    scales = host_encode(coder, vectors, None).scales[0, 0]
    assert mx.isfinite(scales).tolist() == [True, False, False, True]
