"""What tests of the turbo cache share."""

import pytest

from worker.turbo import patch_mlx_lm, unpatch_mlx_lm


@pytest.fixture
def states_are_read_here():
    """Let mlx-lm open files of our caches, whatever another test of this process took away."""
    patch_mlx_lm()
    yield
    unpatch_mlx_lm()
