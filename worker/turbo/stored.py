"""What a cache of one sequence and one of several have alike: they are what their store holds."""

from __future__ import annotations

import mlx.core as mx

from .store import Store
from .view import View


class StoredCache:
    """A layer's cache in mlx-lm's protocol, as far as the store alone answers for it."""

    store: Store

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[View, View]:
        """Store new tokens [B, H, L, dim]; returns a `View` in the place of both."""
        view = self.store.append(keys, values)
        return view, view

    def keys_and_values(self) -> tuple[View, View]:
        view = self.store.view()
        return view, view

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, the unused room in them included."""
        return sum(array.nbytes for array in self.store.arrays)

    def size(self) -> int:
        return self.store.length

    def empty(self) -> bool:
        return self.store.sides is None

    def is_trimmable(self) -> bool:
        return True

    def trim(self, n: int) -> int:
        return self.store.trim(n)
