"""llama.cpp's own KV cache, of one ggml type for keys and one for values, for llama_bench."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DEFAULTS = {"keys": "f16", "values": "f16"}
LOADER = "gguf"


@dataclass
class Types:
    """The types that are asked for; ``said`` is what llama.cpp then told of its cache."""

    keys: str
    values: str
    said: dict[str, Any] = field(default_factory=dict)


def make_cache(model: str, *, keys: str, values: str) -> list[Types]:
    """Return the types for the command line; llama.cpp makes the cache itself."""
    del model
    return [Types(keys, values)]


def describe(cache: list[Types]) -> dict[str, Any]:
    """Return the types asked for beside those used: forks may change what they are asked for."""
    (types,) = cache
    return {"asked_keys": types.keys, "asked_values": types.values, **types.said}
