"""Codes of 2, 3, 4, 6 or 8 bits packed without gaps into 32-bit words.

Value i of a vector occupies the bits ``i * bits ... (i + 1) * bits - 1`` of the vector's words,
least significant first, so a 3-bit value may straddle two words. On the (little-endian) machines
that MLX runs on, the words read as bytes form the same stream, which lets 3 and 6 bits be handled
in units of three bytes that hold whole values.
"""

from __future__ import annotations

import mlx.core as mx

_WORD = 32
_TRIPLE = 24
_WHOLE = {8: mx.uint8, 16: mx.uint16}


def words(dim: int, bits: int) -> int:
    """Count the 32-bit words that hold one vector's codes."""
    return -(-dim * bits // _WORD)


def pack(codes: mx.array, bits: int) -> mx.array:
    """Pack codes [..., dim] of any integer dtype into uint32 [..., words]."""
    *batch, dim = codes.shape
    unit = _unit(bits)
    per_unit = unit // bits
    units = -(-dim // per_unit)
    codes = _pad(codes.astype(mx.uint32), units * per_unit).reshape(*batch, units, per_unit)
    packed = mx.sum(codes << _shifts(unit, bits), axis=-1)
    if unit == _WORD:
        return packed
    stream = (packed[..., None] >> _shifts(_TRIPLE, 8)).astype(mx.uint8)
    stream = _pad(stream.reshape(*batch, 3 * units), 4 * words(dim, bits))
    return stream[..., : 4 * words(dim, bits)].view(mx.uint32)


def unpack(packed: mx.array, width: int, count: int) -> mx.array:
    """Read ``count`` fields of ``width`` bits from uint32 [..., words]; returns [..., count]."""
    *batch, size = packed.shape
    if width in _WHOLE:
        return packed.view(_WHOLE[width])[..., :count]
    unit = _unit(width)
    if unit == _TRIPLE:
        units = -(-count * width // _TRIPLE)
        stream = _pad(packed.view(mx.uint8), 3 * units)[..., : 3 * units].astype(mx.uint32)
        stream = stream.reshape(*batch, units, 3)
        packed = stream[..., 0] | (stream[..., 1] << 8) | (stream[..., 2] << 16)
        size = units
    fields = (packed[..., None] >> _shifts(unit, width)) & (2**width - 1)
    values: mx.array = fields.reshape(*batch, size * (unit // width))[..., :count]
    return values


def _unit(bits: int) -> int:
    return _TRIPLE if _WORD % bits else _WORD


def _shifts(unit: int, bits: int) -> mx.array:
    return mx.arange(0, unit, bits, dtype=mx.uint32)


def _pad(x: mx.array, size: int) -> mx.array:
    missing = size - x.shape[-1]
    return mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing > 0 else x
