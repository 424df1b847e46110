"""Bytes that are held do not depend on how fast the machine is at the moment."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx_lm.generate import generation_stream

from worker.benchmarks import memory
from worker.generation import resident


@pytest.mark.slow
def test_bytes_of_work_that_is_still_under_way_are_not_taken_for_held_ones():
    before = resident()
    with mx.stream(generation_stream):
        product = mx.ones((200, 200))
        for _ in range(20):
            product = product @ product * 1e-3
        mx.async_eval(product)
    del product
    assert resident() == before


class Layer:
    """A cache's layer that is given its bytes just after others of nearly that size were freed."""

    def __init__(self, size, freed):
        if freed:
            once = mx.zeros(freed, mx.uint8)
            mx.eval(once)
            del once
        self.state = mx.zeros(size, mx.uint8)
        mx.eval(self.state)


class Tokenizer:
    """Takes each character for a token."""

    def encode(self, text):
        return [ord(character) % 16 for character in text]


def measured(freed):
    """Return what the memory benchmark says of a cache of 5,000 bytes."""

    def model(tokens, cache):
        return mx.zeros((1, tokens.shape[1], 16))

    samples = memory.run(
        model, Tokenizer(), lambda: [Layer(5_000, freed)], context=16, step=8, tokens=2
    )
    return {sample.metric: sample.value for sample in samples}


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_sizes_of_what_was_freed_before():
    assert measured(freed=9_000)["kv_bytes"] == measured(freed=0)["kv_bytes"] == 5_000


def test_the_allocator_keeps_what_is_freed_again_after_the_benchmark():
    measured(freed=0)
    once = mx.zeros(50_000)
    mx.eval(once)
    del once
    assert mx.get_cache_memory() > 0
