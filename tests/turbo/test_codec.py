import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.turbo.codebook import BITS, codebook
from worker.turbo.codec import codec
from worker.turbo.packing import pack, unpack, words
from worker.turbo.rotation import rotation

# Optimum of E|x - x'|^2 / |x|^2 for 2, 3, 4 bits, found independently by quadrature over [-1, 1].
OPTIMUM = {
    64: (0.114526, 0.033391, 0.009132),
    80: (0.115115, 0.033620, 0.009204),
    96: (0.115508, 0.033773, 0.009253),
    128: (0.116000, 0.033966, 0.009315),
    256: (0.116740, 0.034256, 0.009408),
}
dimensions = st.sampled_from([8, 20, 48, 64, 72, 80, 96, 100, 112, 128, 192, 256])
bits = st.sampled_from(BITS)
seeds = st.integers(0, 2**31)


def vectors(seed, *shape):
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("dim", OPTIMUM)
def test_codebooks_reach_the_optimal_distortion(dim):
    found = [codebook(dim, b).distortion for b in (2, 3, 4)]
    np.testing.assert_allclose(found, OPTIMUM[dim], rtol=1e-4)


@pytest.mark.parametrize("b", BITS)
def test_levels_are_the_centroids_of_their_cells(b):
    book, count = codebook(64, b), 2**b
    y = np.linspace(-1, 1, 2_000_001)
    density = (1 - y**2) ** ((64 - 3) / 2)
    cell = np.searchsorted(book.boundaries, y)
    mass = np.bincount(cell, density, count)
    centroid = np.bincount(cell, density * y, count) / mass
    np.testing.assert_allclose(centroid, book.centroids, atol=2e-5)


@pytest.mark.parametrize(("dim", "b"), [(64, 5), (64, 1), (63, 4), (4, 4)])
def test_what_no_codebook_exists_for_is_refused(dim, b):
    with pytest.raises(ValueError, match=r"bits are not offered|must be even"):
        codebook(dim, b)


@given(dimensions, bits, seeds)
@settings(max_examples=40, deadline=None)
def test_packing_is_the_contiguous_bit_stream_and_reversible(dim, b, seed):
    codes = np.random.default_rng(seed).integers(0, 2**b, (3, dim))
    packed = pack(mx.array(codes.astype(np.uint8)), b)
    assert packed.shape == (3, words(dim, b))
    for row, found in zip(codes.tolist(), packed.tolist(), strict=True):
        stream = sum(value << (i * b) for i, value in enumerate(row))
        assert sum(word << (32 * i) for i, word in enumerate(found)) == stream
    assert unpack(packed, b, dim).tolist() == codes.tolist()


@pytest.mark.parametrize(("b", "size"), [(4, 66), (3, 50), (2, 34)])
def test_a_vector_of_128_takes_no_more_bytes_than_its_bits(b, size):
    assert codec(128, b, 0, "unbiased").nbytes_per_vector == size


@given(dimensions, seeds)
@settings(max_examples=20, deadline=None)
def test_rotation_keeps_norms_and_is_undone(dim, seed):
    x, turn = vectors(seed, 5, dim), rotation(dim, seed)
    rotated = turn.rotate(x)
    assert mx.allclose(mx.linalg.norm(rotated, axis=-1), mx.linalg.norm(x, axis=-1), rtol=1e-4)
    assert mx.allclose(turn.unrotate(rotated), x, atol=1e-4)
    assert not mx.allclose(rotated, x, atol=0.1)


@given(dimensions, bits, seeds)
@settings(max_examples=40, deadline=None)
def test_each_coordinate_gets_the_nearest_level(dim, b, seed):
    coder = codec(dim, b, seed % 7, "raw_norm")
    x = vectors(seed, 4, dim)
    y = coder.rotation.rotate(x)
    unit = np.array(y / mx.linalg.norm(y, axis=-1, keepdims=True))
    found = np.array(coder.levels(coder.encode(x).codes))
    nearest = np.abs(unit[..., None] - np.array(coder.centroids)).min(axis=-1)
    np.testing.assert_allclose(np.abs(found - unit), nearest, atol=2e-6)


@given(dimensions, bits, seeds)
@settings(max_examples=25, deadline=None)
def test_each_scale_keeps_its_promise(dim, b, seed):
    x = vectors(seed, 6, dim)
    square = mx.sum(x * x, axis=-1)

    def decoded(rule):
        coder = codec(dim, b, 3, rule)
        return coder.decode(coder.encode(x))

    unbiased, matched = decoded("unbiased"), decoded("matched_norm")
    assert mx.allclose(mx.sum(x * unbiased, axis=-1), square, rtol=2e-3)
    assert mx.allclose(mx.sum(matched * matched, axis=-1), square, rtol=3e-3)
    rules = ("unbiased", "matched_norm", "raw_norm", "least_squares")
    error = {rule: mx.sum((x - decoded(rule)) ** 2).item() for rule in rules}
    assert error["least_squares"] <= min(error.values()) * 1.001 + 1e-4


def test_a_zero_vector_comes_back_as_zero():
    coder = codec(64, 4, 0, "unbiased")
    assert mx.all(coder.decode(coder.encode(mx.zeros((2, 64)))) == 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_shows_in_the_scale(bad):
    coder = codec(64, 4, 0, "unbiased")
    x = mx.ones((2, 64))
    x[1, 5] = bad
    assert mx.isfinite(coder.encode(x).scales).tolist() == [True, False]


@given(bits, seeds)
@settings(max_examples=10, deadline=None)
def test_codes_do_not_depend_on_the_float_type_that_holds_the_same_values(b, seed):
    coder = codec(64, b, 1, "unbiased")
    x = vectors(seed, 4, 64).astype(mx.bfloat16)
    assert coder.encode(x).codes.tolist() == coder.encode(x.astype(mx.float32)).codes.tolist()
