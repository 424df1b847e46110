"""The very text that MLX would hand to Metal, compiled by a clang that knows address spaces.

    python tests/support/metal_text.py    # every text of every mode, and mutants, with counts

MLX writes the text itself: on Linux too, `mx.fast.metal_kernel` prints it while a function is
exported. `msl.h` is the part of the language that the kernels use. Needs clang 15 or later with
the AMDGPU target: `clang++`, or what the variable CLANG names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Self
from unittest import mock

import mlx.core as mx

from host_kernels import on_host
from packed_views import Case, Sizes, a_view, some_queries
from worker.turbo import kernel_launch
from worker.turbo.codec import codec
from worker.turbo.fused import fused_attention
from worker.turbo.fused_codec import fused_encode
from worker.turbo.fused_decode import fused_rotated
from worker.turbo.kernel_source import DIMENSIONS, body

_HERE = Path(__file__).parent
BITS = (2, 3, 4, 6, 8)
DTYPES = (mx.float16, mx.bfloat16, mx.float32)
MODES = {
    "C++14": ["-x", "c++", "-std=c++14"],
    "C++17": ["-x", "c++", "-std=c++17"],
    # C++ for OpenCL 1.0, where the address space of `this` is generic.
    "generic this": [
        *("-x", "clcpp", "-cl-std=CLC++1.0", "-target", "amdgcn-amd-amdhsa", "-nogpulib"),
        *("-mcpu=gfx1100", "-cl-no-stdinc", "-Xclang", "-fno-builtin"),
    ],
}
_WARNINGS = [
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-attributes", "-Wno-unused-parameter"),
    *("-Wno-unused-variable", "-Wno-undefined-internal", "-Wno-undefined-inline"),
    *("-Wno-unused-function", "-Wno-unused-but-set-variable", "-Wno-pass-failed"),
    *("-Wno-sign-compare", "-Wno-uninitialized"),
]


def clang() -> str | None:
    names = [os.environ.get("CLANG", ""), "clang++-19", "clang++"]
    return next((found for found in map(shutil.which, filter(None, names)) if found), None)


@dataclass(frozen=True)
class Text:
    """One kernel as MLX writes it for Metal."""

    part: str
    name: str
    source: str


class _Recorder:
    """Stands for MLX's launcher: keeps the text of each launch, and gives zeros."""

    texts: list[tuple[str, str]] = []

    def __init__(self, part, inputs, outputs, texts, types, device) -> None:
        self._part = part
        self._arguments = {
            "name": f"turbo_{part}",
            "input_names": list(inputs),
            "output_names": list(outputs),
            "header": texts[0],
            "source": body("metal", texts[1]),
            "ensure_row_contiguous": False,
        }

    def __call__(self, *, inputs, output_shapes, output_dtypes, grid, threadgroup):
        def function(*given):
            launch = mx.fast.metal_kernel(**self._arguments)
            return tuple(
                launch(
                    inputs=list(given),
                    output_shapes=output_shapes,
                    output_dtypes=output_dtypes,
                    grid=grid,
                    threadgroup=threadgroup,
                    verbose=True,
                )
            )

        with tempfile.TemporaryDirectory() as folder, _Printed() as printed:
            mx.export_function(str(Path(folder, "x.mlxfn")), function, *inputs)
        (text,) = re.findall(r"```\n(.*?)\n```", printed.text, re.DOTALL)
        self.texts.append((self._part, text))
        return [mx.zeros(*out) for out in zip(output_shapes, output_dtypes, strict=True)]


class _Printed:
    """What C++ prints to standard output meanwhile."""

    def __enter__(self) -> Self:
        sys.stdout.flush()
        self._kept, self._file = os.dup(1), tempfile.TemporaryFile()
        os.dup2(self._file.fileno(), 1)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._kept, 1)
        os.close(self._kept)
        self._file.seek(0)
        self.text = self._file.read().decode()
        self._file.close()


@contextmanager
def _recorded() -> Iterator[list[tuple[str, str]]]:
    _Recorder.texts = []
    with on_host("metal"), mock.patch.object(kernel_launch, "kernel", _Recorder):
        yield _Recorder.texts


def texts_of(name: str, work: Callable[[], object]) -> list[Text]:
    """Return the texts of the kernels that a function launches."""
    with _recorded() as texts:
        work()
    return [Text(part, name, text) for part, text in texts]


def attention_texts(case: Case, sizes: Sizes) -> list[Text]:
    view, queries = a_view(case, sizes), some_queries(case, sizes.batch)
    return texts_of(str(case), lambda: fused_attention(queries, view, 0.1, "causal"))


def prompt_texts(case: Case) -> list[Text]:
    """Return what packs and what decodes a layer."""
    view = a_view(case, Sizes(40))
    keys, values = ((side.codec, side.raw[:, :, :9]) for side in (view.keys, view.values))

    def work() -> None:
        fused_rotated(view)
        fused_encode(keys, values, view.centre)

    return texts_of(str(case), work)


def few() -> Iterator[Text]:
    """Yield a text for every way that the kernels differ, each once."""
    for case, sizes in (
        (Case(128, 4, 4, 7, 1, mx.float16), Sizes(40, 4)),
        (Case(80, 3, 8, 1, 2, mx.bfloat16), Sizes(40, 4, 40, (60, 30), 2)),
        (Case(96, 6, 2, 3, 1, mx.float32), Sizes(40)),
        (Case(256, 0, 4, 16, 8, mx.float16), Sizes(40)),
        (Case(64, 8, 0, 2, 1, mx.bfloat16, centred=False), Sizes(40)),
    ):
        yield from attention_texts(case, sizes)
        yield from prompt_texts(case)


def all_texts() -> Iterator[Text]:
    """Yield the texts of all dimensions, bits, groups, lengths and dtypes."""
    sides = [(k, v) for k in (0, *BITS) for v in (0, *BITS) if k or v]
    cases = [Case(128, k, v, 7, 1, mx.float16) for k, v in sides]
    cases += [
        Case(dim, k, v, 4, 2, dtype)
        for dim in DIMENSIONS
        for k, v in ((4, 4), (8, 3), (0, 6), (3, 0), (6, 2))
        for dtype in DTYPES
    ]
    cases += [
        Case(128, 4, 4, groups, length, dtype)
        for groups in (1, 2, 5, 7, 8, 16)
        for length in range(1, 9)
        for dtype in (mx.bfloat16, mx.float32)
    ]
    cases += [replace(case, centred=False) for case in cases[::7]]
    for case in dict.fromkeys(cases):
        yield from attention_texts(case, Sizes(40))
        if case.groups in {4, 7} and case.length < 3:
            yield from prompt_texts(case)
    for case in cases[::9]:
        yield from attention_texts(case, Sizes(40, 4, 40, (60, 30), 2))
    for bits in BITS:
        coder = codec(128, bits, 42, "matched_norm")
        rows = mx.zeros((1, 2, 9, 128), mx.float16)
        yield from texts_of(
            f"encode {bits}", partial(fused_encode, (coder, rows), (coder, rows), None)
        )


def problems(text: str, mode: str) -> list[str]:
    """Return what clang says against a text."""
    source = f'#include "{_HERE / "msl.h"}"\n' + _translated(text, mode)
    command = [clang() or "clang++", *MODES[mode], *_WARNINGS, "-fsyntax-only", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    found = re.findall(r"(?:error|warning): [^\n]*", done.stderr)
    return found or ([done.stderr[:200]] if done.returncode else [])


def _translated(text: str, mode: str) -> str:
    """Express what no macro can: the kernel attribute, and a kernel's own threadgroup memory."""
    if mode == "generic this":
        text = text.replace("[[kernel]] void", "__kernel void")
        return re.sub(r"\[\[\w+(\(\d+\))?\]\]", "", text)
    return re.sub(r"^threadgroup (\w+ \w+\[)", r"static threadgroup \1", text, flags=re.MULTILINE)


def unqualified(text: str) -> list[str]:
    """Return pointers and references, wherever declared, that name no address space.

    A type's name before ``*`` or ``&`` is a declaration or a cast, as no value has such a name.
    """
    words = re.findall(r"\w+|[^\w\s]", _expanded(text))
    types = {"void", "bool", "char", "short", "int", "uint", "long", "ulong", "half", "float"}
    types |= {"half2", "float2", "uint2", "uint3", "uint4", "auto", "uint32_t", "int32_t"}
    types |= {"bfloat", "float16_t", "bfloat16_t"}
    types |= {b for a, b in pairwise(words) if a in {"struct", "class", "typename", "using"}}
    found = []
    for i in range(2, len(words) - 3):
        start = _type_before(words, i)
        if words[i] not in "*&" or words[start] not in types or not _declares(words, i):
            continue
        first = start
        while words[first - 1] in {"const", "volatile", "static", "typename", *_SPACES}:
            first -= 1
        if words[first - 1] in "(,;{}<>" and not _SPACES & set(words[first:i]):
            found.append(" ".join(words[first : i + 2]))
    return found


def _declares(words: list[str], i: int) -> bool:
    """Tell whether a name, or the end of a type, follows a ``*`` or ``&`` after a type's name."""
    after = words[i + 1 : i + 4]
    if words[i - 1] == "(":  # ``float (&rows)[4]``, and not ``float(*place)``
        return after[1] == ")" and after[2] == "["
    return after[0] in "),>" or (after[0].isidentifier() and after[1] in ",()=;[")


_SPACES = {"device", "constant", "threadgroup", "thread"}


def _type_before(words: list[str], i: int) -> int:
    """Return where the type begins whose name, parameters and qualifiers end before a word."""
    i -= 1 + (words[i - 1] == "(")  # as in ``float (&rows)[4]``
    while words[i] in {"const", *_SPACES}:
        i -= 1
    if words[i] != ">":
        return i
    depth = 1
    while depth and i:
        i -= 1
        depth += (words[i] == ">") - (words[i] == "<")
    return i - 1


def _expanded(text: str) -> str:
    command = [clang() or "clang++", "-E", "-P", "-x", "c++", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


def mutants(texts: list[Text]) -> Iterator[tuple[str, str]]:
    """Yield texts with one address space replaced by another or by none, and what and where."""
    for text in texts:
        start = text.source.index("struct Place")
        for found in re.finditer(r"\b(GLOBAL|SHARED|LOCAL) ", text.source[start:]):
            at = start + found.start()
            for other in sorted({"", "GLOBAL ", "SHARED ", "LOCAL "} - {found[0]}):
                begin, end = text.source.rfind("\n", 0, at) + 1, text.source.find("\n", at)
                line, column = text.source[begin:end].strip(), at - begin
                where = f"{found[1]} -> {other.strip() or 'none'}, {column}: {line}"
                yield where, text.source[:at] + other + text.source[at + len(found[0]) :]


def seen(mutant: str) -> bool:
    """Tell whether the check objects to a text."""
    return bool(
        unqualified(mutant) or problems(mutant, "generic this") or problems(mutant, "C++17")
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _lanes(text: Text) -> bool:
    """Tell whether an attention multiplies without matrix units, which is other code."""
    return text.part == "attend" and "float32" in text.name


def main() -> int:
    everything = {text.source: text for text in all_texts()}
    _say(f"{len(everything)} different texts")
    failed = 0
    with ThreadPoolExecutor() as pool:
        for mode in MODES:
            found = list(pool.map(lambda source, mode=mode: problems(source, mode), everything))
            bad = [(t, p) for t, p in zip(everything.values(), found, strict=True) if p]
            failed += len(bad)
            _say(f"{mode}: {len(everything) - len(bad)} clean, {len(bad)} not")
            for text, said in bad[:5]:
                _say(f"    {text.part} {text.name}: {said[0]}")
        bare = {each for source in everything for each in unqualified(source)}
        _say(f"pointers that name no address space: {sorted(bare) or 'none'}")
        tried = list(mutants(list({(text.part, _lanes(text)): text for text in few()}.values())))
        caught = list(pool.map(lambda pair: seen(pair[1]), tried))
    # What one text declares and does not use, another may use.
    told = {where: False for where, _ in tried}
    for (where, _), was in zip(tried, caught, strict=True):
        told[where] |= was
    _say(f"mutants: {sum(told.values())} of {len(told)} caught in a text that uses the place")
    for where in (where for where, was in told.items() if not was):
        _say(f"    survives {where}")
    return int(bool(failed or bare))


if __name__ == "__main__":
    sys.exit(main())
