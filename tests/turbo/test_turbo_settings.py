"""The bench of the cache's settings changes what it says, and nothing for good."""

import numpy as np
import pytest

from worker.bench import turbo_settings
from worker.turbo import codebook, store
from worker.turbo.settings import Settings

ROWS = [row for sweep in turbo_settings.SWEEPS.values() for row in sweep()]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_row_is_a_cache_that_can_be_made(row):
    _, given, rules, _ = row
    assert Settings(**given)
    assert set(rules) <= set(vars(store))


def test_uniform_levels_have_equal_distances_and_are_gone_afterwards():
    before = codebook.codebook(64, 4).centroids
    with turbo_settings.instead({"KEY_SCALE": "raw_norm"}, uniform=True):
        steps = np.diff(codebook.codebook(64, 4).centroids)
        assert store.KEY_SCALE == "raw_norm"
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)
    assert store.KEY_SCALE != "raw_norm"
    np.testing.assert_array_equal(codebook.codebook(64, 4).centroids, before)
