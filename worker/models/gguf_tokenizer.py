"""The tokenizer that a GGUF describes: byte-level BPE, or SentencePiece's with scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_lm.tokenizer_utils import TokenizerWrapper
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import PreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

Metadata = dict[str, Any]

_KEY = "tokenizer.ggml"
_CONTROL, _USER = 3, 4  # types of tokens
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's
_PATTERNS = {
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
#: How llama.cpp splits a text before BPE: as GPT-2 did, after another step, or by a pattern.
_SPLITS: dict[str, list[PreTokenizer]] = {
    "gpt-2": [],
    "default": [],
    "smollm": [pre_tokenizers.Digits(individual_digits=True)],
    **{way: [pre_tokenizers.Split(Regex(p), "isolated")] for way, p in _PATTERNS.items()},
}


class TokenizerError(Exception):
    """What of a tokenizer is missing or unknown."""


def tokenizer(metadata: Metadata) -> TokenizerWrapper:
    """Return the tokenizer as mlx-lm wraps one; raises TokenizerError."""
    words = _texts(metadata, "tokens")
    kind = metadata.get(f"{_KEY}.model")
    if kind not in _KINDS:
        raise TokenizerError(f"its tokenizer is {kind!r}, and {', '.join(_KINDS)} are known")
    made: Tokenizer = _KINDS[kind](metadata, {word: index for index, word in enumerate(words)})
    types = metadata.get(f"{_KEY}.token_type", [])
    for word, type_ in zip(words, types, strict=False):
        if type_ in (_CONTROL, _USER):
            made.add_tokens([AddedToken(word, normalized=False, special=type_ == _CONTROL)])
    begin, end = (_special(metadata, words, name) for name in ("bos", "eos"))
    if begin and metadata.get(f"{_KEY}.add_bos_token", kind == "llama"):
        template = {"single": f"{begin} $A", "pair": f"{begin} $A $B"}
        special = [(begin, words.index(begin))]
        made.post_processor = TemplateProcessing(**template, special_tokens=special)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=begin, eos_token=end)
    fast.chat_template = metadata.get("tokenizer.chat_template")
    return TokenizerWrapper(fast)


def _byte_level(metadata: Metadata, ids: dict[str, int]) -> Tokenizer:
    """Return a tokenizer of the GPT-2 kind, which splits a text as ``tokenizer.ggml.pre`` says."""
    made = Tokenizer(BPE(ids, [_pair(merge, ids) for merge in _texts(metadata, "merges")]))
    way = metadata.get(f"{_KEY}.pre", "default")
    if way not in _SPLITS:
        raise TokenizerError(f"it splits texts as {way!r}, and {', '.join(_SPLITS)} are known")
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=way not in _PATTERNS)
    made.pre_tokenizer = pre_tokenizers.Sequence([*_SPLITS[way], last])
    made.decoder = decoders.ByteLevel()
    return made


def _sentence_piece(metadata: Metadata, ids: dict[str, int]) -> Tokenizer:
    """Return a tokenizer of SentencePiece's BPE: of two neighbours the best score is merged."""
    scores = metadata.get(f"{_KEY}.scores", [])
    if len(scores) != len(ids):
        raise TokenizerError(f"it has {len(scores)} scores for {len(ids)} tokens")
    merges = [
        (scores[index], (word[:cut], word[cut:]))
        for word, index in ids.items()
        for cut in range(1, len(word))
        if word[:cut] in ids and word[cut:] in ids
    ]
    merges.sort(key=lambda scored: -scored[0])
    unknown = metadata.get(f"{_KEY}.unknown_token_id", 0)
    bpe = BPE(ids, [pair for _, pair in merges], fuse_unk=True, byte_fallback=True)
    bpe.unk_token = next(word for word, index in ids.items() if index == unknown)
    made = Tokenizer(bpe)
    begin = [normalizers.Prepend(_SPACE)] if metadata.get(f"{_KEY}.add_space_prefix", True) else []
    made.normalizer = normalizers.Sequence([*begin, normalizers.Replace(" ", _SPACE)])
    made.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if begin else [])
    )
    return made


_KINDS: dict[str, Callable[[Metadata, dict[str, int]], Tokenizer]] = {
    "gpt2": _byte_level,
    "llama": _sentence_piece,
}


def _texts(metadata: Metadata, name: str) -> list[str]:
    found = metadata.get(f"{_KEY}.{name}")
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise TokenizerError(f"it has no {_KEY}.{name}")
    return found


def _pair(merge: str, ids: dict[str, int]) -> tuple[str, str]:
    first, _, second = merge.partition(" ")
    if not {first, second, first + second} <= ids.keys():
        raise TokenizerError(f"its merge {merge!r} does not make a token of two")
    return first, second


def _special(metadata: Metadata, words: list[str], name: str) -> str | None:
    index = metadata.get(f"{_KEY}.{name}_token_id")
    if index is None:
        return None
    if not isinstance(index, int) or not 0 <= index < len(words):
        raise TokenizerError(f"its {name} token is {index}, of {len(words)}")
    return words[index]
