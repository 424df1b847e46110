"""The text of the kernels: one body in `kernels/`, over a prelude and a way to multiply.

A prelude gives the primitives of Metal, of CUDA or of the host, where the tests run the kernels.
What differs from model to model (sizes, the codebook's polynomials) is written before it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np

from .codebook import polynomial

DIMENSIONS = (64, 80, 96, 112, 128, 160, 192, 256)
MOST_SPANS = 256
# Of a threadgroup, where a variant does not say. Metal has 32 KB to share among them.
SIMDGROUPS = {"cuda": 8, "host": 8, "metal": 4}
_LONGEST_TABLED = 192
_TILES = {"lanes": 32, "mma": 16, "simdgroups": 16}
_KERNELS = Path(__file__).resolve().parent / "kernels"

ATTEND_INPUTS = (
    "queries",
    "key_codes",
    "key_scales",
    "key_along",
    "key_raw",
    "value_codes",
    "value_scales",
    "value_raw",
    "mean",
    "direction",
    "constants",
    "padding",
    "lengths",
)
# Where the launch that attends joins the spans too.
JOINING_INPUTS = ("sinks", "counters")
MERGE_INPUTS = ("partial", "constants", "sinks", "lengths")

# Where a thread stands, and the memory it shares: MLX looks for Metal's names in a kernel's source
# and declares those it finds.
OPENINGS = {
    "metal": """
const Place at = {int(thread_position_in_threadgroup.x), int(thread_index_in_simdgroup),
                  int(simdgroup_index_in_threadgroup)};
const int group_x = threadgroup_position_in_grid.x, group_y = threadgroup_position_in_grid.y;
const int group_z = threadgroup_position_in_grid.z;
const int batches = threadgroups_per_grid.y, groups = threadgroups_per_grid.z;
threadgroup float arena[ARENA];
""",
    "cuda": """
const Place at = {int(threadIdx.x), int(lane_index()), int(threadIdx.x / 32)};
const int group_x = blockIdx.x, group_y = blockIdx.y, group_z = blockIdx.z;
const int batches = gridDim.y, groups = gridDim.z;
extern __shared__ float4 shared[];
float* arena = reinterpret_cast<float*>(shared);
""",
    "host": """
const Place at = {index, index % 32, index / 32};
const int group_x = group[0], group_y = group[1], group_z = group[2];
const int batches = grid[1], groups = grid[2];
""",
}
ATTEND_SOURCE = """
const int head = group_x / ROW_BLOCKS, block = group_x % ROW_BLOCKS;
const int head_of_all = group_y * HEADS + head, row = head_of_all * TOTAL_ROWS + block * ROWS;
const int spans = spans_of(lengths_shape);
const Partial part = {partial, batches * HEADS * TOTAL_ROWS, row, group_z, spans, groups};
attend_group(
    at, asking(group_y, head, block, queries),
    whole_side(head_of_all, key_codes, key_scales, key_along, KEY_BITS > 0 ? key_codes_shape[2] : 0,
               key_raw, key_raw_shape[2], KEY_BITS),
    whole_side(head_of_all, value_codes, value_scales, value_scales,
               VALUE_BITS > 0 ? value_codes_shape[2] : 0, value_raw, value_raw_shape[2],
               VALUE_BITS),
    mean + head_of_all * DIM, direction + head_of_all * DIM, constants, lengths_shape,
    PADDED ? int(padding[group_y]) : 0, arena, part
);
"""
# Asked for long before they are read.
JOINING_OPENING = """
uint* const counter = (uint*)counters + group_y * HEADS * ROW_BLOCKS + group_x;
if (at.index == 0) {
    ask_for(counter);
    ask_for(sinks + (group_y * HEADS + group_x / ROW_BLOCKS) * TOTAL_ROWS
        + group_x % ROW_BLOCKS * ROWS);
}
"""
JOINING_SOURCE = """
if (!last_to_arrive(counter, groups, arena + AT_FLAG, at.index)) return;
const int packed_spans = lengths_shape[4] - 1;
for (int i = at.warp; i < smaller(ROWS, TOTAL_ROWS - block * ROWS); i += WARPS) {
    const Partial joined = {partial, part.rows, row, 0, spans, groups};
    merge_row(
        sums_of(joined, i), totals_of(joined, i), packed_spans, spans,
        float(sinks[row + i]), constants,
        arena + AT_SLOTS + at.warp * MERGE_FLOATS, out + long(row + i) * DIM, at.lane
    );
}
"""
# MLX writes a kernel's head; so many threadgroups of it are to fit a multiprocessor at once.
BOUNDS = """
#undef __global__
#define __global__ __attribute__((global)) __attribute__((launch_bounds({threads}, {resident})))
"""
MERGE_SOURCE = """
const int row = group_x * WARPS + at.warp, rows = partial_shape[0], all_spans = partial_shape[1];
if (row >= rows) return;
const int packed_spans = lengths_shape[4] - 1;
merge_row(
    partial + long(row) * all_spans * DIM, partial + (long(rows) * DIM + row * 2) * all_spans,
    packed_spans, all_spans, float(sinks[row]), constants,
    arena + at.warp * MERGE_FLOATS, out + long(row) * DIM, at.lane
);
"""
MERGE_ARENA = "enum { ARENA = WARPS * MERGE_FLOATS };\n"


@dataclass(frozen=True)
class Variant:
    """What attention is compiled for; no length of a cache is among it.

    Attributes
    ----------
    simdgroups
        Of a threadgroup.
    resident
        Threadgroups that are to be on a multiprocessor at once; 0 leaves it to the compiler.
    centred
        Packed keys are what is left of a mean and of one coordinate.
    padded
        Sequences of a batch have lengths of their own.
    """

    dim: int
    key_bits: int
    value_bits: int
    heads: int
    groups: int
    length: int
    centred: bool
    padded: bool
    simdgroups: int
    resident: int

    @property
    def rows(self) -> int:
        """Count the query rows of one threadgroup."""
        return min(self.groups * self.length, 8)

    @property
    def row_blocks(self) -> int:
        """Count the threadgroups that share out the query rows of one key head."""
        return -(-self.groups * self.length // self.rows)

    def attending(self, prelude: str, products: str) -> str:
        """Return the functions of the first launch."""
        units = {"lanes": (), "simdgroups": ("pairs",), "mma": ("tables", "pairs")}[products]
        text = self._text(prelude, (products, *units, "merge", "attention"))
        if prelude != "cuda":
            return text
        return text + BOUNDS.format(threads=32 * self.simdgroups, resident=self.resident)

    def merging(self, prelude: str) -> str:
        """Return the functions of the second launch."""
        return self._text(prelude, ("merge",)) + MERGE_ARENA

    def tokens_at_once(self, products: str) -> int:
        """Count the tokens that a threadgroup takes in one round."""
        return self.simdgroups * _TILES[products]

    def arena_bytes(self, products: str) -> int:
        """Count the first launch's shared memory; `attention.h` has the layout."""
        warps = self.simdgroups
        slot = 32 * (-(-self.dim // 32) if products == "lanes" else self.dim // 8)
        weights = 32 * self.rows if products == "lanes" else 0
        merge = MOST_SPANS + 2 * self.dim
        parts = warps * (max(slot, merge) + weights) + self._table_words(products)
        padding = 0 if products == "lanes" or self.dim // 16 % 2 else 16
        return 4 * (8 * (self.dim + padding) + 16 + 16 * warps + parts)

    def _table_words(self, products: str) -> int:
        """Count the words of the tables that `tables.h` keeps, two of them side by side."""
        tabled = self.dim <= _LONGEST_TABLED and {4, 8} & {self.key_bits, self.value_bits}
        return 256 * 64 if products == "mma" and tabled else 0

    def _text(self, prelude: str, files: tuple[str, ...]) -> str:
        sizes = {
            "HEADS": self.heads,
            "GROUPS": self.groups,
            "LENGTH": self.length,
            "PADDED": int(self.padded),
            "WARPS": self.simdgroups,
            "LONGEST_TABLED": _LONGEST_TABLED,
        }
        return kernel_text(
            prelude, files, self.dim, (self.key_bits, self.value_bits), self.centred, sizes
        )


def kernel_text(
    prelude: str,
    files: tuple[str, ...],
    dim: int,
    bits: tuple[int, int],
    centred: bool,  # noqa: FBT001  a number of the text, like the others
    sizes: dict[str, int],
) -> str:
    """Return some files of `kernels/` over a prelude, with what they all need.

    CUDA's run-time compiler reads files. MLX copies a kernel's text at every call, and for the
    tens of kilobytes that they hold the time of it shows in decoding.
    """
    given = (
        {
            "WARPS": SIMDGROUPS[prelude],
            "DIM": dim,
            "KEY_BITS": bits[0],
            "VALUE_BITS": bits[1],
            "CENTRED": int(centred),
            "HADAMARD": int(dim & (dim - 1) == 0),
        }
        | {"HEADS": 1, "GROUPS": 1, "LENGTH": 1, "PADDED": 0}
        | sizes
    )
    read = _include if prelude == "cuda" else _text
    return "".join(
        [
            *(f"#define {name} {value}\n" for name, value in given.items()),
            *map(read, (prelude, "tokens", "rotation")),
            _codes("KeyCodes", dim, bits[0]),
            _codes("ValueCodes", dim, bits[1]),
            *map(read, ("levels", *files)),
        ]
    )


def _codes(name: str, dim: int, bits: int) -> str:
    """Return a struct that evaluates the codebook's polynomial; nothing without codes."""
    if not bits:
        return ""
    terms = polynomial(dim, bits)
    return f"struct {name} {{\nenum {{ BITS = {bits} }};\n{_plain(terms)}{_pair(terms)}}};\n"


Terms = tuple[tuple[int, float], ...]


def _plain(terms: Terms) -> str:
    """Return a function of t in float32, by Horner's rule in t^2."""
    exponents, lines = [exponent for exponent, _ in terms], []
    total = f"{terms[-1][1]:.9e}f"
    for k in range(len(terms) - 2, -1, -1):
        power = " * s" * ((exponents[k + 1] - exponents[k]) // 2)
        lines.append(f"const float x{k} = {total}{power} + {terms[k][1]:.9e}f;")
        total = f"x{k}"
    return _function(
        "float polynomial(float t)", ["const float s = t * t;", *lines], f"{total} * t"
    )


def _pair(terms: Terms) -> str:
    """Return the same on two float16 in one word, over `unit`.

    Of three terms c t^5 + b t^3 + a t is c t ((t^2 + b / 2c)^2 + a / c - (b / 2c)^2).
    """
    factors = [factor for _, factor in terms]
    if [exponent for exponent, _ in terms] not in ([1, 3], [1, 3, 5]):
        return _unit(1.0) + _long_pair(terms)
    unit = factors[-1]
    if len(terms) == 2:  # noqa: PLR2004  c t^3 + a t
        lines = [f"const uint x = pair_multiply_add(t, t, {_twice(factors[0] / unit)});"]
    else:
        shift = factors[1] / (2 * unit)
        lines = [
            f"const uint u = pair_multiply_add(t, t, {_twice(shift)});",
            f"const uint x = pair_multiply_add(u, u, {_twice(factors[0] / unit - shift**2)});",
        ]
    return _unit(unit) + _function(_PAIRED, lines, "pair_multiply(x, t)")


def _long_pair(terms: Terms) -> str:
    """Return a polynomial of few high powers; a gap of n exponents costs a power n / 2 of t^2."""
    exponents = [exponent for exponent, _ in terms]
    gaps = [(b - a) // 2 for a, b in pairwise(exponents)]
    lines, known = ["const uint s1 = pair_multiply(t, t);"], {1}
    for gap in gaps:
        lines += _power(gap, known)
    total = _twice(terms[-1][1])
    for k in range(len(gaps) - 1, -1, -1):
        summed = f"pair_multiply_add({total}, s{gaps[k]}, {_twice(terms[k][1])})"
        total = f"x{k}"
        lines.append(f"const uint {total} = {summed};")
    return _function(_PAIRED, lines, f"pair_multiply({total}, t)")


def _power(n: int, known: set[int]) -> list[str]:
    """Return the lines that make s to the n, of halves that are known or made first."""
    if n in known:
        return []
    half = n // 2
    lines = _power(half, known) + _power(n - half, known)
    known.add(n)
    return [*lines, f"const uint s{n} = pair_multiply(s{half}, s{n - half});"]


_PAIRED = "uint polynomial_of_pair(uint t)"


def _unit(unit: float) -> str:
    return _function("float unit()", [], f"{unit:.9e}f")


def _function(declared: str, lines: list[str], result: str) -> str:
    body = "\n".join([*lines, f"return {result};"])
    return f"static FUNCTION {declared} {{\n{body}\n}}\n"


def _twice(x: float) -> str:
    """Return a float16 in both halves of a word."""
    return f"0x{int(np.float16(x).view(np.uint16)) * 0x10001:08x}u"


def body(prelude: str, source: str) -> str:
    """Return a kernel's body, with what says where a thread stands."""
    return _compact(OPENINGS[prelude] + source)


@lru_cache(maxsize=32)
def _text(name: str) -> str:
    return _compact((_KERNELS / f"{name}.h").read_text())


def _compact(text: str) -> str:
    """Return a text without comments and indentation: MLX copies it at every call."""
    lines = (re.sub(r"\s*//.*", "", line).strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def _include(name: str) -> str:
    return f'#include "{_KERNELS / name}.h"\n'


def kernel_name(part: str, header: str, source: str, *dtypes: mx.Dtype) -> str:
    """Return a name that differs wherever the code does: MLX keeps compiled kernels by name."""
    digest = hashlib.sha256((header + source).encode())
    for path in sorted(_KERNELS.iterdir()):
        digest.update(path.read_bytes())
    types = "_".join(str(dtype).rpartition(".")[2] for dtype in dtypes)
    return f"turbo_{part}_{types}_{digest.hexdigest()[:12]}"
