"""A cache whose tokens leave the tail by kernels, run by the host, beside one without them."""

from contextlib import contextmanager
from unittest import mock

import mlx.core as mx
import pytest

from host_kernels import compiler, on_host
from worker.turbo import TurboKVCache, leaving, store
from worker.turbo.refusal import NotFiniteError

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
]
LENGTHS = (150, 30, *[1] * 90, 40)


@contextmanager
def with_kernels():
    enabled = {"return_value": True}
    with (
        on_host(),
        mock.patch.object(leaving, "enabled", **enabled),
        mock.patch.object(store, "enabled", **enabled),
    ):
        yield


def tokens(length: int) -> tuple[mx.array, mx.array]:
    keys, values = (mx.random.normal((1, 2, length, 64)).astype(mx.float16) for _ in range(2))
    return keys + 3, values


def filled(layers: int) -> list[TurboKVCache]:
    mx.random.seed(3)
    caches = [TurboKVCache(4) for _ in range(layers)]
    for length in LENGTHS:
        for cache in caches:
            cache.update_and_fetch(*tokens(length))
    mx.eval([cache.state for cache in caches])
    return caches


@pytest.mark.slow
def test_a_cache_that_packs_by_kernels_is_as_one_that_packs_without():
    plain = filled(2)
    with with_kernels():
        fused = filled(2)
    for one, other in zip(plain, fused, strict=True):
        assert one.store.layout == other.store.layout
        assert one.nbytes == other.nbytes
        for a, b in zip(
            one.keys_and_values()[0].decoded(), other.keys_and_values()[0].decoded(), strict=True
        ):
            assert mx.mean(mx.abs(a - b)).item() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("bad_layer", [0, 1, 2])
def test_what_is_not_finite_in_any_layer_leaves_all_as_they_were(bad_layer):
    with with_kernels():
        caches = filled(3)
        before = [cache.store.layout for cache in caches]
        for i, cache in enumerate(caches):
            keys, values = tokens(80)  # a chunk is looked at whole
            if i == bad_layer:
                keys[0, 1, 20, 5] = float("inf")
            cache.update_and_fetch(keys, values)
        with pytest.raises(NotFiniteError):
            mx.eval(caches[0].state)
        assert [cache.store.layout for cache in caches] == before
        for cache in caches:
            cache.update_and_fetch(*tokens(60))
        mx.eval([cache.state for cache in caches])
