"""The oracle of the turbo cache's attention."""

from worker.turbo import TurboKVCache


class DecodedCache(TurboKVCache):
    """What the turbo cache stores, handed out as plain arrays for MLX's own attention."""

    def update_and_fetch(self, keys, values):
        return super().update_and_fetch(keys, values)[0].decoded()
