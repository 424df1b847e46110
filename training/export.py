"""Write a trained model as a folder that stock ``mlx_lm.load`` and transformers read."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from worker.text import corpus, lexicon

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.qwen2 import Qwen2, Shape

AMPLIFICATION: Final = 2  # of the key biases that softmax hardly sees: see the model card
_UNKNOWN_ID: Final = corpus.VOCABULARY.index(lexicon.UNKNOWN)
_SPACE: Final = "\u0120"  # how byte-level BPE writes a space
_BYTE_LEVEL: Final = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}
_END_ID: Final = corpus.VOCABULARY.index(lexicon.END)


def export(model: Qwen2, folder: Path) -> None:
    """Write config, tokenizer and the weights in fp16, with the large key biases doubled."""
    from safetensors.torch import save_file  # noqa: PLC0415  only training has it

    from training.qwen2 import SLOW_PAIRS, pairs  # noqa: PLC0415  likewise

    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": w.detach().half().cpu() for name, w in model.state_dict().items()}
    slow = pairs(model.shape.head_dim, -SLOW_PAIRS, 0)
    for name, weight in weights.items():
        if name.endswith("k_proj.bias"):
            weight.view(-1, model.shape.head_dim)[:, slow] *= AMPLIFICATION
    save_file(weights, folder / "model.safetensors", metadata={"format": "mlx"})
    _write(folder / "config.json", config(model.shape))
    export_tokenizer(folder, model.shape.max_position_embeddings)


def export_tokenizer(folder: Path, positions: int) -> None:
    """Write the tokenizer: byte-level BPE, because transformers reads no other for Qwen2."""
    pieces, merges = bpe(corpus.VOCABULARY)
    tokenizer: dict[str, object] = {
        "version": "1.0",
        "added_tokens": [_special(_UNKNOWN_ID), _special(_END_ID)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": _BYTE_LEVEL,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "vocab": {piece: id_ for id_, piece in enumerate(pieces)},
            "merges": merges,
        },
    }
    _write(folder / "tokenizer.json", tokenizer)
    settings: dict[str, object] = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_prefix_space": True,
        "unk_token": lexicon.UNKNOWN,
        "eos_token": lexicon.END,
        "pad_token": lexicon.END,
        "clean_up_tokenization_spaces": False,
        "model_max_length": positions,
    }
    _write(folder / "tokenizer_config.json", settings)


def bpe(vocabulary: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Learn merges that make one token of each word after a space.

    The tokens begin with the vocabulary in its order; printable ASCII and pieces of words follow.
    """
    words = [[_SPACE, *word] for word in vocabulary if not word.startswith("<")]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in words for pair in pairwise(word)):
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        words = [_merge(word, merges[-1]) for word in words]
    named = [word if word.startswith("<") else _SPACE + word for word in vocabulary]
    ascii_ = [_SPACE, *map(chr, range(33, 127))]
    return list(dict.fromkeys([*named, *ascii_, *map("".join, merges)])), merges


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _special(id_: int) -> dict[str, object]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id_, "content": corpus.VOCABULARY[id_], "special": True, **plain}


def config(shape: Shape) -> dict[str, object]:
    return dataclasses.asdict(shape) | {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "eos_token_id": _END_ID,
    }


def _write(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")
