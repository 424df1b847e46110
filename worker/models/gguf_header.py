"""What a GGUF says before its weights, read with every length checked against the file's end.

MLX reads such a file too, but a damaged one can end its process. Format: ggml's ``docs/gguf.md``,
versions 2 and 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from worker.models import ModelError

#: Types of weights by their number in a file: name, weights of a block, bytes of a block.
TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    8: ("Q8_0", 32, 34),
    14: ("Q6_K", 256, 210),
}
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"} | {
    12: "d"
}
_Taken = TypeVar("_Taken")

_TEXT, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_DEEPEST = 4  # dimensions of a tensor


@dataclass(frozen=True)
class Header:
    """The metadata as Python's numbers, texts and lists, and the shape of each tensor by its name.

    Shapes are in the order of MLX: the last dimension is contiguous.
    """

    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def read(path: Path) -> Header:
    """Read a file's header; raises ModelError for one that is damaged or of unknown types."""
    try:
        data = path.read_bytes()
        return _header(_Reader(data))
    except (OSError, struct.error, UnicodeDecodeError, _DamagedError) as error:
        raise ModelError(
            f"{path}: not a GGUF that can be read: {error}; get the whole file again, or another"
        ) from error


class _DamagedError(Exception):
    """What contradicts itself in the file."""


class _Reader:
    """Takes one value after the other out of a file's bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.place : self.place + size]
        if len(taken) < size:
            raise _DamagedError("it ends too early")
        self.place += size
        return taken

    def scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]

    def text(self) -> str:
        return self.take(self.scalar("Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind == _ARRAY:
            return self._array(self.scalar("I"), self.scalar("Q"))
        return self.scalar(self._code(kind))

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind == _TEXT:
            return [self.text() for _ in range(count)]
        code = self._code(kind)
        values = self.take(count * struct.calcsize(code))
        return [value for (value,) in struct.iter_unpack(f"<{code}", values)]

    def _code(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise _DamagedError(f"it holds a value of unknown type {kind}")
        return _SCALARS[kind]


def _header(reader: _Reader) -> Header:
    if reader.take(4) != b"GGUF":
        raise _DamagedError("it does not begin with GGUF")
    version = reader.scalar("I")
    if version not in _VERSIONS:
        raise _DamagedError(f"its version is {version}, and {_VERSIONS} are known")
    tensors, pairs = reader.scalar("Q"), reader.scalar("Q")
    metadata = dict(_each(pairs, lambda: (reader.text(), reader.value(reader.scalar("I")))))
    shapes, ends = {}, [0]
    for name, shape, end in _each(tensors, lambda: _tensor(reader)):
        shapes[name] = shape
        ends.append(end)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError(f"its general.alignment is {alignment}")
    start = math.ceil(reader.place / alignment) * alignment
    if start + max(ends) > len(reader.data):
        raise _DamagedError("it ends before its weights do")
    return Header(metadata, shapes)


def _each(count: int, take: Callable[[], _Taken]) -> list[_Taken]:
    return [take() for _ in range(count)]


def _tensor(reader: _Reader) -> tuple[str, tuple[int, ...], int]:
    """Return a tensor's name, shape, and where it ends, from the start of all weights."""
    name, depth = reader.text(), reader.scalar("I")
    if not 0 < depth <= _DEEPEST:
        raise _DamagedError(f"{name} has {depth} dimensions")
    shape = tuple(_each(depth, lambda: int(reader.scalar("Q"))))[::-1]
    kind, offset = reader.scalar("I"), reader.scalar("Q")
    if kind not in TYPES:
        known = ", ".join(name for name, *_ in TYPES.values())
        raise _DamagedError(f"{name} is of type {kind}, and {known} are known")
    _, weights, size = TYPES[kind]
    if not all(shape) or shape[-1] % weights:
        raise _DamagedError(f"{name} has a shape of {shape}")
    return name, shape, offset + math.prod(shape) // weights * size
