"""A KV cache for MLX language models that keeps keys and values as packed codes (TurboQuant)."""

from .attention import attend, attention_path
from .batch import BatchTurboKVCache
from .cache import TurboKVCache, TurboKVCacheLite
from .conformance import ConformanceError
from .fit import UnfitError
from .make import (
    compact_turbo_cache,
    describe,
    make_cache,
    make_turbo_cache,
    patch_mlx_lm,
    unpatch_mlx_lm,
    use,
)
from .settings import Settings
from .state import StateError
from .store import NotFiniteError

__all__ = [
    "BatchTurboKVCache",
    "ConformanceError",
    "NotFiniteError",
    "Settings",
    "StateError",
    "TurboKVCache",
    "TurboKVCacheLite",
    "UnfitError",
    "attend",
    "attention_path",
    "compact_turbo_cache",
    "describe",
    "make_cache",
    "make_turbo_cache",
    "patch_mlx_lm",
    "unpatch_mlx_lm",
    "use",
]
