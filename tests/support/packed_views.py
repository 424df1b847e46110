"""Packed views of random keys and values, and what attention over them has to give."""

from dataclasses import dataclass

import mlx.core as mx

from worker.turbo.codec import codec
from worker.turbo.layout import Layout
from worker.turbo.settings import KEY_SCALE, VALUE_SCALE
from worker.turbo.view import Centre, Side, View

HEADS = 2


@dataclass(frozen=True)
class Case:
    dim: int
    key_bits: int
    value_bits: int
    groups: int
    length: int
    dtype: mx.Dtype
    prelude: str = "host"
    centred: bool = True

    def __str__(self) -> str:
        name = str(self.dtype).rpartition(".")[2]
        return (
            f"d{self.dim}-K{self.key_bits}V{self.value_bits}-groups{self.groups}-L{self.length}"
            f"-{name}-{self.prelude}{'' if self.centred else '-plain'}"
        )


@dataclass(frozen=True)
class Sizes:
    """Columns of a view; with ``lengths`` the sequences are padded."""

    packed: int
    first: int = 0
    tail: int = 40
    lengths: tuple[int, ...] | None = None
    batch: int = 1

    @property
    def columns(self) -> int:
        return self.packed + self.first + self.tail

    @property
    def layout(self) -> Layout:
        if self.lengths is None:
            return Layout(self.first, self.packed, self.tail)
        padding = mx.array([self.columns - n for n in self.lengths], dtype=mx.int32)
        return Layout(self.first, self.packed, self.tail, padding)


def a_side(x: mx.array, bits: int, rule: str, sizes: Sizes, centre: Centre | None) -> Side:
    if not bits:
        return Side(x, None, None)
    coder = codec(x.shape[-1], bits, 42, rule)
    middle = slice(sizes.first, sizes.first + sizes.packed)
    rows = x[:, :, middle].astype(mx.float32)
    direction = None if centre is None else centre.direction[:, :, None]
    packed = coder.encode(rows if centre is None else rows - centre.mean[:, :, None], direction)
    raw = mx.concatenate([x[:, :, : middle.start], x[:, :, middle.stop :]], axis=2)
    return Side(raw, coder, packed)


def a_view(case: Case, sizes: Sizes) -> View:
    """Return keys of a large bias and values, some of them packed."""
    shape = (sizes.batch, HEADS, sizes.columns, case.dim)
    bias = 4 * mx.random.normal((1, HEADS, 1, case.dim))
    keys = (mx.random.normal(shape) + bias).astype(case.dtype)
    values = mx.random.normal(shape).astype(case.dtype)
    centre = None
    if case.centred and case.key_bits:
        mean = mx.mean(keys.astype(mx.float32), axis=2)
        unit = mean / mx.linalg.norm(mean, axis=-1, keepdims=True)
        rotation = codec(case.dim, case.key_bits, 42, KEY_SCALE).rotation
        centre = Centre(mean, rotation.rotate(unit))
    return View(
        a_side(keys, case.key_bits, KEY_SCALE, sizes, centre),
        a_side(values, case.value_bits, VALUE_SCALE, sizes, None),
        sizes.layout,
        centre,
    )


def some_queries(case: Case, batch: int = 1) -> mx.array:
    return mx.random.normal((batch, HEADS * case.groups, case.length, case.dim)).astype(case.dtype)


def decoded(side: Side, sizes: Sizes, centre: Centre | None) -> mx.array:
    """Return a side's columns in order, in float32, keys less their mean."""
    raw = side.raw.astype(mx.float32)
    mean = 0 if centre is None else centre.mean[:, :, None]
    if side.codec is None:
        return raw - mean
    direction = None if centre is None else centre.direction[:, :, None]
    packed = side.codec.decode(side.packed, direction)
    raw = raw - mean
    return mx.concatenate([raw[:, :, : sizes.first], packed, raw[:, :, sizes.first :]], axis=2)


def plain_attention(
    queries: mx.array, view: View, sizes: Sizes, scale: float, sinks: mx.array | None = None
) -> mx.array:
    batch, query_heads, length, dim = queries.shape
    keys = decoded(view.keys, sizes, view.centre)
    values = decoded(view.values, sizes, None)
    grouped = queries.astype(mx.float32).reshape(batch, HEADS, -1, dim) * scale
    scores = (grouped @ keys.swapaxes(-1, -2)).reshape(batch, query_heads, length, -1)
    scores = mx.where(view.layout.mask(length, None), scores, -1e30)
    if sinks is not None:
        lacking = (
            mx.zeros((batch, HEADS, 1, dim))
            if view.centre is None
            else view.centre.mean[:, :, None]
        )
        less = mx.sum(grouped * lacking, axis=-1).reshape(batch, query_heads, length, 1)
        extra = sinks[None, :, None, None] - less
        scores = mx.concatenate([scores, extra], axis=-1)
    weights = mx.softmax(scores, axis=-1)[..., : sizes.columns]
    found = weights.reshape(batch, HEADS, -1, sizes.columns) @ values
    return found.reshape(batch, query_heads, length, dim)


def relative_error(found: mx.array, expected: mx.array) -> float:
    difference = (found.astype(mx.float32) - expected).reshape(-1)
    return (mx.linalg.norm(difference) / mx.linalg.norm(expected.reshape(-1))).item()
