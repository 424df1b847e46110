"""Sequences that join, leave, come back and are trimmed, against plain attention over each alone.

Biases are large and tolerances tight: a mean over padding, a lost first token or a column of a
neighbour costs far more than 8 bits do.
"""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker.turbo import BatchTurboKVCache, TurboKVCache, unpatch_mlx_lm

HEADS, GROUPS, DIM = 2, 2, 64
BIAS, NEAR = 600.0, 0.06
lengths = st.sampled_from([1, 2, 3, 5, 20, 90, 150])


@pytest.fixture(autouse=True)
def stock_attention():
    yield
    unpatch_mlx_lm()


class Sequence:
    """The true keys and values of one sequence, and what makes more of them."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.bias = BIAS * self.random.standard_normal((HEADS, 1, DIM)) / 8
        self.keys = np.zeros((HEADS, 0, DIM), np.float32)
        self.values = np.zeros((HEADS, 0, DIM), np.float32)

    @property
    def length(self):
        return self.keys.shape[1]

    def grow(self, count):
        """Return new keys and values, and queries [Hq, count, dim] that see them."""
        keys, values = self.random.standard_normal((2, HEADS, count, DIM)).astype(np.float32)
        keys = (keys + self.bias).astype(np.float32)
        if not self.length and count:
            keys[:, 0] *= 0.2  # as the first key of a real model: short, and far from the mean
        self.keys = np.concatenate([self.keys, keys], axis=1)
        self.values = np.concatenate([self.values, values], axis=1)
        queries = self.random.standard_normal((HEADS * GROUPS, count, DIM)).astype(np.float32)
        return keys, values, queries

    def trim(self, count):
        self.keys, self.values = (x[:, : self.length - count] for x in (self.keys, self.values))

    def attended(self, queries):
        """Return plain attention, in float64, of the newest queries."""
        keys, values = (np.repeat(x, GROUPS, axis=0) for x in (self.keys, self.values))
        scores = queries.astype(np.float64) @ keys.astype(np.float64).swapaxes(1, 2) / 8
        count = queries.shape[1]
        newest = np.arange(self.length - count, self.length)[:, None]
        scores[:, newest < np.arange(self.length)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True) @ values


def attended(cache, new):
    """Append what sequences grew by, [(keys, values, queries)], and return the attention."""
    keys, values, queries = (mx.array(np.stack(part)) for part in zip(*new, strict=True))
    mask = cache.make_mask(keys.shape[2])
    views = cache.update_and_fetch(keys, values)
    found = mx.fast.scaled_dot_product_attention(queries, *views, scale=1 / 8, mask=mask)
    return np.array(found)


class Batches(RuleBasedStateMachine):
    @initialize(bits=st.sampled_from([(8, 8), (0, 8), (8, 0)]), first=st.sampled_from([0, 4]))
    def begin(self, bits, first):
        self.options = {"bits": bits[1], "key_bits": bits[0], "first_tokens": first}
        self.options["tail_tokens"] = 16
        self.sequences, self.batch, self.seed = [], None, 0

    def new_sequence(self):
        self.seed += 1
        return Sequence(self.seed)

    def join(self, sequences, batch):
        if self.batch is None:
            self.batch = batch
        else:
            self.batch.extend(batch)
        self.sequences += sequences

    def filled(self, sequence, counts):
        cache = TurboKVCache(**self.options)
        for count in counts:
            new = sequence.grow(count)
            np.testing.assert_allclose(
                attended(cache, [new])[0], sequence.attended(new[2]), atol=NEAR
            )
        return cache

    @rule(counts=st.lists(lengths, max_size=3))
    def join_with_a_history(self, counts):
        sequence = self.new_sequence()
        self.join([sequence], BatchTurboKVCache.merge([self.filled(sequence, counts)]))

    @rule(histories=st.lists(lengths, min_size=2, max_size=3))
    def join_merged(self, histories):
        sequences = [self.new_sequence() for _ in histories]
        caches = [self.filled(s, [n]) for s, n in zip(sequences, histories, strict=True)]
        self.join(sequences, BatchTurboKVCache.merge(caches))

    @rule(histories=st.lists(st.sampled_from([0, 3, 60]), min_size=2, max_size=2), data=st.data())
    def join_padded_on_the_right(self, histories, data):
        """Read prompts of several lengths as mlx-lm's generator does, chunk by chunk."""
        sequences = [self.new_sequence() for _ in histories]
        caches = [
            self.filled(s, [n] if n else []) for s, n in zip(sequences, histories, strict=True)
        ]
        batch = BatchTurboKVCache.merge(caches)
        counts = [data.draw(lengths) for _ in sequences]
        longest, chunk = max(counts), data.draw(st.sampled_from([13, 40, 200]))
        new = [self.padded(s, n, longest) for s, n in zip(sequences, counts, strict=True)]
        batch.prepare(lengths=counts, right_padding=[longest - n for n in counts])
        found = [
            attended(batch, [[x[:, at : at + chunk] for x in parts] for parts in new])
            for at in range(0, longest, chunk)
        ]
        batch.finalize()
        for row, (sequence, count) in enumerate(zip(sequences, counts, strict=True)):
            ours = np.concatenate([part[row] for part in found], axis=1)[:, :count]
            np.testing.assert_allclose(ours, sequence.attended(new[row][2][:, :count]), atol=NEAR)
        self.join(sequences, batch)

    @rule(data=st.data())
    def join_padded_on_the_left(self, data):
        sequences = [self.new_sequence() for _ in range(2)]
        counts = [data.draw(lengths) for _ in sequences]
        longest = max(counts)
        batch = BatchTurboKVCache.merge([TurboKVCache(**self.options) for _ in sequences])
        batch.prepare(left_padding=[longest - n for n in counts])
        real = [sequence.grow(n) for sequence, n in zip(sequences, counts, strict=True)]
        noise = 200 * np.ones((HEADS * GROUPS, longest, DIM), np.float32)
        new = [
            [np.concatenate([noise[: x.shape[0], x.shape[1] :], x], axis=1) for x in parts]
            for parts in real
        ]
        found = attended(batch, new)
        for row, (sequence, count) in enumerate(zip(sequences, counts, strict=True)):
            expected = sequence.attended(real[row][2])
            np.testing.assert_allclose(found[row][:, longest - count :], expected, atol=NEAR)
        self.join(sequences, batch)

    def padded(self, sequence, count, size):
        """Grow by real tokens, and add padding that would spoil any mean."""
        real = sequence.grow(count)
        noise = 200 * np.ones((HEADS * GROUPS, size - count, DIM), np.float32)
        return [np.concatenate([x, noise[: x.shape[0]]], axis=1) for x in real]

    @precondition(lambda self: self.sequences)
    @rule(steps=st.sampled_from([1, 2, 10, 30]), width=st.sampled_from([1, 1, 3]))
    def decode(self, steps, width):
        for _ in range(steps):
            new = [sequence.grow(width) for sequence in self.sequences]
            found = attended(self.batch, new)
            for row, (sequence, (_, _, queries)) in enumerate(
                zip(self.sequences, new, strict=True)
            ):
                np.testing.assert_allclose(found[row], sequence.attended(queries), atol=NEAR)

    @precondition(lambda self: len(self.sequences) > 1)
    @rule(data=st.data())
    def leave(self, data):
        keep = data.draw(
            st.lists(st.integers(0, len(self.sequences) - 1), min_size=1, max_size=3, unique=True)
        )
        self.batch.filter(keep)
        self.sequences = [self.sequences[row] for row in keep]

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def come_out_and_back(self, data):
        """Let a sequence that was in a batch join one again, as after a prefix hit."""
        row = data.draw(st.integers(0, len(self.sequences) - 1))
        cache, sequence = self.batch.extract(row), self.sequences[row]
        assert cache.offset == sequence.length
        fresh = TurboKVCache(**self.options)
        assert cache.store.settings == fresh.store.settings
        if cache.offset:
            keys = np.array(cache.store.view().decoded()[0])[0]
            np.testing.assert_allclose(keys, sequence.keys, atol=0.5)
        self.join([sequence.__class__(0)], fresh.merge([fresh]))
        self.batch.extend(fresh.merge([cache]))
        others = [r for r in range(len(self.sequences)) if r not in (row, len(self.sequences) - 1)]
        self.batch.filter([*others, len(self.sequences)])
        self.sequences = [*(self.sequences[r] for r in others), sequence]

    @precondition(lambda self: self.sequences and min(s.length for s in self.sequences) > 0)
    @rule(count=st.sampled_from([1, 4, 17, 60]))
    def trim(self, count):
        count = min(count, *(sequence.length for sequence in self.sequences))
        assert self.batch.trim(count) == count
        for sequence in self.sequences:
            sequence.trim(count)

    @precondition(lambda self: self.sequences)
    @rule()
    def go_through_a_state(self):
        self.batch = BatchTurboKVCache.from_state(self.batch.state)

    @invariant()
    def everyone_is_as_long_as_it_is(self):
        if getattr(self, "sequences", None):
            assert self.batch.offset.tolist() == [s.length for s in self.sequences]


TestBatches = Batches.TestCase
TestBatches.settings = settings(max_examples=12, stateful_step_count=10, deadline=None)
