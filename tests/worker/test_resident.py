"""Bytes that are held do not depend on how fast the machine is at the moment."""

from __future__ import annotations

import mlx.core as mx
from mlx_lm.generate import generation_stream

from worker.generation import resident


def test_bytes_of_work_that_is_still_under_way_are_not_taken_for_held_ones():
    before = resident()
    with mx.stream(generation_stream):
        product = mx.ones((200, 200))
        for _ in range(20):
            product = product @ product * 1e-3
        mx.async_eval(product)
    del product
    assert resident() == before
