import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.turbo.codebook import BITS, codebook, polynomial
from worker.turbo.codec import codec
from worker.turbo.packing import pack, unpack, words
from worker.turbo.rotation import rotation

# Least E|x - x'|^2 / |x|^2 with 2, 3, 4, 6, 8 bits and free levels: the Lloyd-Max conditions solved
# by Newton's method, for 2 to 4 bits also found independently by quadrature over [-1, 1].
OPTIMUM = {
    64: (0.114526, 0.0333908, 0.00913152, 0.000615963, 0.0000393168),
    80: (0.115115, 0.0336201, 0.00920447, 0.000621528, 0.0000396842),
    96: (0.115508, 0.0337735, 0.00925337, 0.000625264, 0.0000399309),
    128: (0.116000, 0.0339659, 0.00931479, 0.000629961, 0.0000402412),
    256: (0.116740, 0.0342560, 0.00940753, 0.000637065, 0.0000407107),
}
dimensions = st.sampled_from([8, 20, 48, 64, 72, 80, 96, 100, 112, 128, 192, 256])
bits = st.sampled_from(BITS)
seeds = st.integers(0, 2**31)


def vectors(seed, *shape):
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("dim", OPTIMUM)
def test_codebooks_are_within_a_quarter_of_a_percent_of_the_least_distortion(dim):
    found = [codebook(dim, b).distortion for b in BITS]
    np.testing.assert_allclose(found, OPTIMUM[dim], rtol=2.5e-3)


@given(dimensions, bits)
@settings(max_examples=30, deadline=None)
def test_levels_are_an_odd_polynomial_of_the_code(dim, b):
    t = (2 * np.arange(2**b) + 1 - 2**b) / 2**b
    levels = sum(coefficient * t**exponent for exponent, coefficient in polynomial(dim, b))
    assert all(exponent % 2 for exponent, _ in polynomial(dim, b))
    np.testing.assert_allclose(codebook(dim, b).centroids, levels, rtol=1e-6)
    assert np.all(np.diff(levels) > 0)


@pytest.mark.parametrize("b", BITS)
def test_no_other_coefficients_give_less_distortion(b):
    y = np.linspace(-1, 1, 400_001)
    density = (1 - y**2) ** ((64 - 3) / 2)
    t = (2 * np.arange(2**b) + 1 - 2**b) / 2**b
    exponents, fitted = zip(*polynomial(64, b), strict=True)

    def distortion(coefficients):
        levels = sum(c * t**e for e, c in zip(exponents, coefficients, strict=True))
        nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, y)]
        return 64 * np.sum(density * (y - nearest) ** 2) / np.sum(density)

    least = distortion(fitted)
    np.testing.assert_allclose(least, codebook(64, b).distortion, rtol=1e-4)
    for change in 0.01 * np.eye(len(fitted)):
        for sign in (-1, 1):
            assert distortion(fitted * (1 + sign * change)) > least


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


@given(dimensions, bits, seeds, st.sampled_from([0.0, 3.0, 300.0]))
@settings(max_examples=30, deadline=None)
def test_products_with_the_direction_that_is_kept_are_exact(dim, b, seed, bias):
    coder = codec(dim, b, 3, "unbiased")
    direction = coder.rotation.rotate(vectors(seed, dim))
    direction = direction / mx.linalg.norm(direction)
    x = vectors(seed + 1, 64, dim) + bias * coder.rotation.unrotate(direction)
    exact = mx.sum(coder.rotation.rotate(x) * direction, axis=-1)
    found = coder.decode_rotated(coder.encode(x, direction), direction)
    product = mx.sum(found * direction, axis=-1)
    assert mx.allclose(product, exact, rtol=1e-3, atol=1e-2)
    others = found - product[:, None] * direction
    truth = coder.rotation.rotate(x) - exact[:, None] * direction
    assert mx.mean((others - truth) ** 2) <= 1.5 * codebook(dim, b).distortion + 1e-4


def test_no_direction_at_all_changes_nothing():
    coder, x = codec(64, 4, 0, "unbiased"), vectors(1, 5, 64)
    plain, along = coder.encode(x), coder.encode(x, mx.zeros(64))
    assert (along.codes.tolist(), along.scales.tolist()) == (
        plain.codes.tolist(),
        plain.scales.tolist(),
    )
    assert not mx.any(along.along)


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
