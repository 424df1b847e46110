"""One file a kind of cache.

Each has a docstring, ``DEFAULTS``, ``make_cache(model, *, ...) -> list`` of per-layer caches, and
``describe(cache) -> dict`` with at least ``compressed_tokens`` if it compresses.
"""
