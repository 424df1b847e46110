"""What a turbo cache is told once, and keeps with its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .codebook import BITS
from .codec import ScaleRule

KeyCentring = Literal["mean", "none"]

# What gave the smaller KL divergence on two models, see README.md.
KEY_SCALE: ScaleRule = "matched_norm"
VALUE_SCALE: ScaleRule = "unbiased"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one layer's keys and values are stored.

    Attributes
    ----------
    key_bits, value_bits
        2, 3, 4, 6 or 8 bits a coordinate; 0 leaves that side in the model's dtype.
    seed
        Of the rotation.
    first_tokens
        So many tokens at the very start of a sequence stay uncompressed: models attend to them
        heavily, and they are unlike all others.
    tail_tokens
        At most so many of the newest tokens are uncompressed; when they are, the older three
        quarters of them are packed at once.
    compress_from
        Nothing is packed before the cache holds so many tokens.
    key_centring
        "mean" subtracts a mean per head from the keys, fixed at the first compression, which leaves
        the softmax as it is, and keeps what is left of them along the mean exact; "none" exists to
        measure what that is worth.
    """

    key_bits: int = 8
    value_bits: int = 4
    seed: int = 42
    first_tokens: int = 4
    tail_tokens: int = 96
    compress_from: int = 0
    key_centring: KeyCentring = "mean"

    def __post_init__(self) -> None:
        for name in ("key_bits", "value_bits"):
            if getattr(self, name) not in (0, *BITS):
                raise ValueError(f"{name}: {getattr(self, name)} is not offered; one of 0, {BITS}")
        if self.key_bits == self.value_bits == 0:
            raise ValueError("key_bits and value_bits are both 0: that is mlx-lm's KVCache")
        if self.key_centring not in {"mean", "none"}:
            raise ValueError(f"key_centring: {self.key_centring!r}; allowed: mean, none")
        if self.first_tokens < 0 or self.compress_from < 0:
            raise ValueError("first_tokens and compress_from cannot be negative")
        if self.tail_tokens < 2:  # noqa: PLR2004  some are packed, others stay
            raise ValueError(f"tail_tokens: {self.tail_tokens}; must be at least 2")

    @property
    def centred(self) -> bool:
        """Tell whether packed keys are centred."""
        return bool(self.key_bits) and self.key_centring == "mean"

    @property
    def kept_tokens(self) -> int:
        """Count the newest tokens that a compression leaves as they are."""
        return self.tail_tokens // 4
