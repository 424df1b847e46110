"""The tokenizer that a GGUF describes."""

from __future__ import annotations

from typing import Any

from mlx_lm.tokenizer_utils import TokenizerWrapper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def tokenizer(metadata: dict[str, Any]) -> TokenizerWrapper:
    words = metadata["tokenizer.ggml.tokens"]
    pairs = [tuple(pair.split(" ", 1)) for pair in metadata["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, pairs))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    made.decoder = decoders.ByteLevel()
    eos = words[int(metadata["tokenizer.ggml.eos_token_id"].item())]
    return TokenizerWrapper(PreTrainedTokenizerFast(tokenizer_object=made, eos_token=eos))
