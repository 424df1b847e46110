"""Attention of 1 to 8 query tokens over a packed cache on a GPU: the switch, and the launches.

Threadgroups take spans of tokens. On CUDA the last one to end joins the spans and rotates the sums
of values back; Metal, which gives no order between threadgroups, needs a second launch for that.
"""

from __future__ import annotations

import threading
import warnings
from functools import lru_cache
from itertools import cycle

import mlx.core as mx
import numpy as np

from . import kernel_launch
from .codec import Codec, Packed
from .kernel_source import (
    ATTEND_INPUTS,
    ATTEND_SOURCE,
    DIMENSIONS,
    JOINING_INPUTS,
    JOINING_OPENING,
    JOINING_SOURCE,
    MERGE_INPUTS,
    MERGE_SOURCE,
    MOST_SPANS,
    Variant,
)
from .layout import Layout
from .packing import words
from .view import Centre, Side, View

LONGEST_QUERY = 8
MOST_RAW = 1024
_FEWEST = 32  # packed tokens: a tile is read whole
_LOG2_E = 1.4426950408889634
_LOWEST = -1e30
_MOST_PLANS = 64
_COUNTERS = 128  # so many launches of one plan never run at once
_RAW_COSTS = 5  # times what as many packed tokens do, with all that a second span needs
SMALLEST = 8  # elements: MLX hands smaller arrays to Metal in another address space

_state = {"enabled": True}
_local = threading.local()


def runs_here() -> bool:
    """Tell whether the default device is one that the kernels run on."""
    return mx.default_device().type == mx.DeviceType.gpu


def enabled() -> bool:
    """Tell whether the kernels are to be used: there is a GPU, and nobody found them wrong."""
    return _state["enabled"] and runs_here()


def enable(*, kernels: bool) -> None:
    """Use the kernels, for attention and for encoding, or leave them alone, in this process."""
    _state["enabled"] = kernels


def fused_attention(
    queries: mx.array,
    view: View,
    scale: float,
    mask: mx.array | str | None,
    sinks: mx.array | None = None,
) -> mx.array | None:
    """Attend with queries [B, Hq, L, dim] that are the newest tokens of a view.

    ``sinks`` [Hq] are logits of one more term of the softmax. Returns None where the kernels cannot
    do it; the portable path can.
    """
    length = queries.shape[2]
    raw = view.first_length + view.tail_length
    if length > LONGEST_QUERY or not length <= raw <= MOST_RAW or view.packed_length < _FEWEST:
        return None
    if not (isinstance(mask, str) or (mask is None and length == 1)):
        return None
    keys, values = view.keys, view.values
    key = (
        id(keys.codec),
        id(values.codec),
        *queries.shape,
        keys.raw.shape[1],
        queries.dtype,
        keys.raw.dtype,
        scale,
        view.centre is None,
        view.layout.padding is None,
    )
    plans: dict[tuple[object, ...], Plan | None] = vars(_local).setdefault("plans", {})
    if key not in plans:
        if len(plans) == _MOST_PLANS:
            plans.clear()
        plans[key] = _planned(queries, view, scale)
    plan = plans[key]
    return None if plan is None else plan(queries, view, sinks)


def _planned(queries: mx.array, view: View, scale: float) -> Plan | None:
    """Return what attends to such views; None where there is no kernel, or none that compiles."""
    if queries.shape[3] not in DIMENSIONS or view.values.raw.shape[3] != queries.shape[3]:
        return None
    plan = Plan(queries, view, scale)
    return plan if plan.starts() else None


class Plan:
    """The kernels for one variant and dtype, with everything that no length changes.

    Python's own time counts here, at some microseconds a layer: what the layers of one token share
    is made by the first of them.
    """

    def __init__(self, queries: mx.array, view: View, scale: float) -> None:
        batch, query_heads, length, dim = queries.shape
        keys, values = view.keys.codec, view.values.codec
        heads, raw = view.keys.raw.shape[1], view.keys.raw.dtype
        prelude = kernel_launch.prelude()
        self._variant = variant = _variant(queries, view, prelude)
        products = products_for(prelude, raw)
        rows = (batch, heads, LONGEST_QUERY, dim)
        self._like = ((queries.shape, queries.dtype), (rows, raw))
        self._attend, self._merge = _kernels(variant, prelude, products, queries.dtype, raw)
        self._scale = scale
        self._codecs = (keys, values)  # alive, for the plan is found by their ids
        self._constants = constants(keys, values, scale)
        none = [
            mx.zeros((batch, heads, dim)),
            mx.zeros(8, dtype=mx.uint32),
            mx.zeros(8, dtype=mx.float16),
        ]
        self._no_centre, *self._nothing = none
        self._no_sinks = mx.full(max(batch * query_heads * length, SMALLEST), _LOWEST)
        self._no_padding = mx.zeros(SMALLEST, dtype=mx.int32)
        groups = batch * heads * variant.row_blocks
        counters = [mx.zeros(max(groups, SMALLEST), dtype=mx.uint32) for _ in range(_COUNTERS)]
        mx.eval(none, self._no_sinks, self._no_padding, counters)
        self._counters = cycle(counters)
        self._at_once = variant.tokens_at_once(products)
        spans = kernel_launch.threadgroups(variant.resident) // groups
        self._most_groups = max(spans, 1)
        self._rows = batch * query_heads * length
        threads = 32 * variant.simdgroups
        self._threadgroup = (threads, 1, 1)
        self._merge_grid = (-(-self._rows // variant.simdgroups) * threads, 1, 1)
        self._groups = (heads * variant.row_blocks * threads, batch)
        self._out = (queries.shape, queries.dtype)
        self._lengths: tuple[int, int, int] | None = None
        self._shape: mx.array
        self._partial: tuple[int, ...]
        self._grid: tuple[int, int, int]

    def __call__(self, queries: mx.array, view: View, sinks: mx.array | None) -> mx.array:
        """Attend with queries [B, Hq, L, dim]."""
        first, packed, tail, _, _ = view.layout
        lengths = (packed, first, tail)
        if lengths != self._lengths:
            self._measure(*lengths)
        inputs = self._inputs(queries, view)
        terms = self._no_sinks if sinks is None else self._terms(sinks, queries, view)
        if self._merge is None:
            out, _ = self._attend(
                inputs=[*inputs, terms, next(self._counters)],
                output_shapes=[self._out[0], self._partial],
                output_dtypes=[self._out[1], mx.float32],
                grid=self._grid,
                threadgroup=self._threadgroup,
            )
        else:
            (partial,) = self._attend(
                inputs=inputs,
                output_shapes=[self._partial],
                output_dtypes=[mx.float32],
                grid=self._grid,
                threadgroup=self._threadgroup,
            )
            (out,) = self._merge(
                inputs=[partial, self._constants, terms, self._shape],
                output_shapes=[self._out[0]],
                output_dtypes=[self._out[1]],
                grid=self._merge_grid,
                threadgroup=self._threadgroup,
            )
        result: mx.array = out
        return result

    def _inputs(self, queries: mx.array, view: View) -> list[mx.array]:
        """Return what `ATTEND_INPUTS` names; something small where a view has nothing."""
        codes, scales = self._nothing
        keys, values, centre, padding = view.keys, view.values, view.centre, view.layout.padding
        key, value = keys.packed, values.packed
        return [
            queries,
            codes if key is None else key.codes,
            scales if key is None else key.scales,
            scales if key is None or key.along is None else key.along,
            keys.raw,
            codes if value is None else value.codes,
            scales if value is None else value.scales,
            values.raw,
            self._no_centre if centre is None else centre.mean,
            self._no_centre if centre is None else centre.direction,
            self._constants,
            self._no_padding if padding is None else padding,
            self._shape,
        ]

    def starts(self) -> bool:
        """Compile the kernels and run them once on nothing; say so where they do not compile."""
        try:
            mx.eval(self(*self._trial(), None))
        except RuntimeError as error:
            device = mx.device_info().get("device_name", "this GPU")
            warnings.warn(
                f"the turbo cache's kernels do not run on {device}, so attention takes the slower "
                f"portable path ({self._variant}): {str(error)[:500]}",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        return True

    def _trial(self) -> tuple[mx.array, View]:
        """Return queries and a view of such shapes, of a few tokens that are zero."""
        queries, raw = (mx.zeros(shape, dtype) for shape, dtype in self._like)
        batch, heads, _, _ = raw.shape
        rows = (batch, heads, _FEWEST)

        def side(codec: Codec | None) -> Side:
            if codec is None:
                whole = (*rows[:2], _FEWEST + LONGEST_QUERY, raw.shape[3])
                return Side(mx.zeros(whole, raw.dtype), None, None)
            codes = mx.zeros((*rows, words(codec.dim, codec.bits)), dtype=mx.uint32)
            scales = mx.zeros(rows, dtype=mx.float16)
            return Side(raw, codec, Packed(codes, scales, scales))

        padding = mx.zeros(batch, dtype=mx.int32) if self._variant.padded else None
        layout = Layout(0, _FEWEST, LONGEST_QUERY, padding)
        centre = Centre(self._no_centre, self._no_centre) if self._variant.centred else None
        keys, values = map(side, self._codecs)
        return queries, View(keys, values, layout, centre)

    def _terms(self, sinks: mx.array, queries: mx.array, view: View) -> mx.array:
        """Return each query row's sink over ln 2, less what all its logits lack: q . mean."""
        batch, query_heads, length, dim = queries.shape
        terms = sinks.astype(mx.float32)[:, None]
        if view.centre is not None:
            heads = view.centre.mean.shape[1]
            grouped = queries.astype(mx.float32).reshape(batch, heads, -1, dim)
            lacking = mx.sum(grouped * view.centre.mean[:, :, None], axis=-1) * self._scale
            terms = terms - lacking.reshape(batch, query_heads, length)
        terms = mx.broadcast_to(terms * _LOG2_E, (batch, query_heads, length)).reshape(-1)
        return mx.pad(terms, (0, self._no_sinks.size - terms.size))

    def _measure(self, packed: int, first: int, tail: int) -> None:
        at_once = self._at_once
        raw_spans = -(-(first + tail) // at_once)
        span, groups = spans_of(packed, raw_spans, at_once, self._most_groups)
        spans = -(-packed // span) + raw_spans
        shape = (packed + 8, first + 1, first + tail + 1, span, spans - raw_spans + 1)
        # An array's shape tells the kernels these lengths; it holds nothing, so is never copied.
        self._shape = mx.array(np.zeros((*shape, 0), np.float32))
        self._partial = (self._rows, spans, self._variant.dim + 2)
        self._grid = (*self._groups, groups)
        self._lengths = (packed, first, tail)


def spans_of(packed: int, raw_spans: int, at_once: int, most: int) -> tuple[int, int]:
    """Choose how many packed tokens a span has, and how many threadgroups take all spans.

    All run at once where they fit: one that waits for another doubles the time. Raw spans have
    threadgroups of their own, or share the last ones with spans of packed tokens, whichever ends
    first.
    """
    most = max(min(most, MOST_SPANS - raw_spans), 1)
    apart = -(-packed // (max(most - raw_spans, 1) * at_once))
    shared = -(-(packed + raw_spans * _RAW_COSTS * at_once) // (most * at_once))
    span = max(min(apart, shared), 1) * at_once
    spans = -(-packed // span)
    return span, max(min(spans + raw_spans, most), spans, raw_spans)


def _variant(queries: mx.array, view: View, prelude: str) -> Variant:
    batch, query_heads, length, dim = queries.shape
    keys, values, heads = view.keys.codec, view.values.codec, view.keys.raw.shape[1]
    return Variant(
        dim,
        0 if keys is None else keys.bits,
        0 if values is None else values.bits,
        heads,
        query_heads // heads,
        length,
        centred=view.centre is not None,
        padded=view.layout.padding is not None,
        simdgroups=kernel_launch.simdgroups(prelude),
        resident=kernel_launch.resident(prelude, batch * heads, dim),
    )


def products_for(prelude: str, raw: mx.Dtype) -> str:
    """Name the way to multiply: matrix units take float16, which float32 does not fit."""
    if raw == mx.float32:
        return "lanes"
    return "simdgroups" if prelude == "metal" else "mma"


def constants(keys: Codec | None, values: Codec | None, scale: float) -> mx.array:
    """Return what `tokens.h` finds there: the scale over ln 2, and the rotation; float32."""
    either = keys or values
    if either is None:
        raise ValueError("neither keys nor values are packed")
    found = mx.concatenate([mx.array([scale * _LOG2_E]), mx.zeros(7), either.rotation.numbers])
    mx.eval(found)
    return found


@lru_cache(maxsize=64)
def _kernels(
    variant: Variant, prelude: str, products: str, dtype: mx.Dtype, raw: mx.Dtype
) -> tuple[kernel_launch.Kernel, kernel_launch.Kernel | None]:
    """Return the launch that attends, and one that joins the spans where it does not."""
    text, types = variant.attending(prelude, products), (dtype, raw)
    if prelude != "metal":
        names, outputs = ATTEND_INPUTS + JOINING_INPUTS, ("out", "partial")
        texts = (text, JOINING_OPENING + ATTEND_SOURCE + JOINING_SOURCE)
        device = (prelude, variant.arena_bytes(products))
        attend = kernel_launch.kernel(
            "attend", names, outputs, texts, types, device, contiguous=True
        )
        return attend, None
    texts, device = (text, ATTEND_SOURCE), (prelude, 0)
    attend = kernel_launch.kernel(
        "attend", ATTEND_INPUTS, ("partial",), texts, types, device, contiguous=True
    )
    texts = (variant.merging(prelude), MERGE_SOURCE)
    merge = kernel_launch.kernel("merge", MERGE_INPUTS, ("out",), texts, types, (prelude, 0))
    return attend, merge
