"""Where the tokens of each sequence lie among a store's columns."""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx


class Layout(NamedTuple):
    """Columns in their order: raw rows for the first tokens, packed tokens, raw rows of the tail.

    A sequence of ``n`` tokens has its ``min(n, tail)`` newest at the right end of the tail, the
    very first ``first`` of the others at the left end of the first rows, and what is left at the
    right end of the packed columns. So all follows from ``n``; columns in between are nobody's.

    Attributes
    ----------
    padding
        int32 [B], how many columns of each sequence are nobody's; None: none of any.
    ends
        int32 [B], how many tokens of each sequence are real, while the newest of some are padding.
    """

    first: int = 0
    packed: int = 0
    tail: int = 0
    padding: mx.array | None = None
    ends: mx.array | None = None

    @property
    def columns(self) -> int:
        return self.first + self.packed + self.tail

    @property
    def raw(self) -> int:
        """Count the raw rows of a side that is compressed."""
        return self.first + self.tail

    @property
    def counts(self) -> mx.array | None:
        """Count the tokens of each sequence, int32 [B]; None where all columns are tokens."""
        return None if self.padding is None else self.columns - self.padding

    def grown(self, tokens: int) -> Layout:
        return Layout(self.first, self.packed, self.tail + tokens, self.padding, self.ends)

    def trimmed(self, tokens: int) -> Layout:
        """Forget the newest tokens of every sequence."""
        tail = min(tokens, self.tail)
        packed = min(tokens - tail, self.packed)
        first = min(tokens - tail - packed, self.first)
        return self._replace(
            first=self.first - first, packed=self.packed - packed, tail=self.tail - tail
        )

    def left(self, kept: int, first_tokens: int) -> Layout:
        """Return what it becomes when all but the ``kept`` newest tokens leave the tail.

        A padded layout gets all its first rows at once, though short sequences do not fill them.
        """
        leaving = self.tail - kept
        first = (
            first_tokens if self.padding is not None else min(first_tokens, self.first + leaving)
        )
        packed = self.packed + max(leaving - (first - self.first), 0)
        after = Layout(first, packed, kept, self.padding, self.ends)
        if self.padding is not None and after.columns != self.columns:
            after = after._replace(padding=self.padding + (after.columns - self.columns))
        return after

    def positions(self) -> mx.array:
        """Return each column's place in its sequence, int32 [B or 1, columns]; -1: nobody's."""
        counts = self.counts
        older = (self.columns if counts is None else counts[:, None]) - self.tail
        first, packed, tail = (mx.arange(n) for n in (self.first, self.packed, self.tail))
        packed = packed + older - self.packed
        found = [
            mx.where(first < older, first, -1),
            mx.where(packed >= self.first, packed, -1),
            mx.maximum(tail + older, -1),
        ]
        rows = 1 if counts is None else counts.size
        return mx.concatenate([mx.broadcast_to(x, (rows, x.shape[-1])) for x in found], axis=1)

    def mask(self, queries: int, window: int | None) -> mx.array:
        """Return what the newest tokens see, boolean [B or 1, 1, queries, columns]."""
        places = self.positions()[:, None, None]
        newest = mx.arange(self.columns - queries, self.columns)[None, None, :, None]
        if self.padding is not None:
            newest = newest - self.padding[:, None, None, None]
        seen = (places >= 0) & (places <= newest)
        return seen if window is None else seen & (newest < places + window)
