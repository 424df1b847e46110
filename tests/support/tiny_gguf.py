"""GGUF files of a tiny model, written from its float weights in each type that we read."""

from __future__ import annotations

import struct

import numpy as np
from tokenizers import pre_tokenizers

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8}
#: GGUF's numbers of a value's type.
NUMBERS = {str: 8, bool: 7, int: 5, float: 6}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
END = "<|end|>"


def byte_tokens(*more):
    """Return the metadata of a tokenizer of bytes, with the tokens that merges make."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = ["".join(merge.split(" ")) for merge in more]
    words = [*letters, *made, END]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.merges": list(more),
        "tokenizer.ggml.token_type": [1] * (len(words) - 1) + [3],
        "tokenizer.ggml.eos_token_id": len(words) - 1,
    }


def architecture(kind, args):
    """Return the metadata of an architecture for mlx-lm's arguments."""
    said = {
        "context_length": args.max_position_embeddings,
        "embedding_length": args.hidden_size,
        "block_count": args.num_hidden_layers,
        "feed_forward_length": args.intermediate_size,
        "attention.head_count": args.num_attention_heads,
        "attention.head_count_kv": args.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(args.rms_norm_eps),
        "rope.freq_base": float(args.rope_theta),
    }
    return {"general.architecture": kind} | {f"{kind}.{key}": said[key] for key in said}


def renamed(name):
    """Return GGUF's name of a weight of mlx-lm's llama or qwen2."""
    module, _, part = name.rpartition(".")
    if module in WHOLE:
        return f"{WHOLE[module]}.{part}"
    layer, inner = module.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{LAYER[inner]}.{part}"


def interleaved(array, heads):
    """Return rows of queries or keys in the order that llama.cpp's rotation of pairs wants."""
    rows, *rest = array.shape
    return array.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(array.shape)


def encoded(array, kind):
    """Return an array's bytes in a type, and what they decode to."""
    if kind == "F32":
        return array.astype("<f4").tobytes(), array.astype(np.float32)
    if kind == "F16":
        half = array.astype("<f2")
        return half.tobytes(), half.astype(np.float32)
    blocks = array.reshape(-1, 32).astype(np.float32)
    low, high = blocks.min(1, keepdims=True), blocks.max(1, keepdims=True)
    if kind == "Q4_1":
        scale, start = _half((high - low) / 15), _half(low)
        codes = _codes((blocks - start) / scale, 0, 15)
        decoded, heads = codes * scale + start, [scale, start]
    else:
        most = 7 if kind == "Q4_0" else 127
        scale = _half(np.abs(blocks).max(1, keepdims=True) / most)
        codes = _codes(blocks / scale, -most - 1, most)
        decoded, heads = codes * scale, [scale]
    if kind == "Q8_0":
        body = codes.astype(np.int8).view(np.uint8)
    else:
        nibbles = (codes + (8 if kind == "Q4_0" else 0)).astype(np.uint8)
        body = nibbles[:, :16] | nibbles[:, 16:] << 4
    first = np.concatenate([head.astype("<f2").view(np.uint8) for head in heads], axis=1)
    return np.concatenate([first, body], axis=1).tobytes(), decoded.reshape(array.shape)


def write(path, metadata, tensors, version=3):
    """Write a file; ``tensors`` are (name, array, type). Returns what they decode to, by name."""
    decoded, offset, infos, body = {}, 0, b"", b""
    for name, array, kind in tensors:
        data, decoded[name] = encoded(array, kind)
        dims = struct.pack(f"<{array.ndim}Q", *reversed(array.shape))
        infos += _text(name) + struct.pack("<I", array.ndim) + dims
        infos += struct.pack("<IQ", TYPES[kind], offset)
        data += bytes(-len(data) % 32)
        body, offset = body + data, offset + len(data)
    pairs = b"".join(_text(key) + _value(value) for key, value in metadata.items())
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata)) + pairs + infos
    path.write_bytes(head + bytes(-len(head) % 32) + body)
    return decoded


def _half(array):
    return np.maximum(array.astype(np.float16).astype(np.float32), -6e4) + 0.0


def _codes(array, low, high):
    return np.clip(np.round(np.nan_to_num(array)), low, high)


def _text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    if isinstance(value, list):
        kind = NUMBERS[type(value[0])]
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(map(_bare, value))
    return struct.pack("<I", NUMBERS[type(value)]) + _bare(value)


def _bare(value):
    if isinstance(value, str):
        return _text(value)
    return struct.pack({bool: "<?", int: "<i", float: "<f"}[type(value)], value)
