"""A GGUF of llama or qwen2 architecture as an mlx-lm model and its tokenizer.

Weights of Q4_0, Q4_1 and Q8_0 stay quantized where there is a GPU, F16 and F32 become float16.
MLX's code for a CPU takes 8 s for a token of a small model so: there, all weights are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models import llama, qwen2

from worker.models import ModelError, gguf_tokenizer

Metadata = dict[str, Any]
Weights = dict[str, mx.array]

_MODULES = {"llama": llama, "qwen2": qwen2}
#: GGUF's names of a layer's parts, and mlx-lm's.
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_GROUP, _WORD = 32, 32  # weights of a block of each quantized type, bits of a word of codes


def load(path: Path) -> tuple[Any, Any]:
    """Return (model, tokenizer); raises ModelError for a file that cannot become a model."""
    weights, metadata = mx.load(str(path), return_metadata=True)
    kind = metadata["general.architecture"]
    renamed = {_renamed(name): array for name, array in weights.items()}
    module = _MODULES[kind]
    model = module.Model(module.ModelArgs(**_arguments(kind, metadata, renamed)))
    if mx.default_device().type == mx.cpu:
        renamed = _dense(renamed)
    else:
        nn.quantize(model, class_predicate=lambda name, _: _quantization(renamed, name))
    model.load_weights(list(renamed.items()))
    model.set_dtype(mx.float32 if mx.default_device().type == mx.cpu else mx.float16)
    model.eval()
    mx.eval(model.parameters())
    return model, gguf_tokenizer.tokenizer(metadata)


def _renamed(name: str) -> str:
    first, *rest = name.split(".")
    if first == "blk":
        return f"model.layers.{rest[0]}.{_LAYER[rest[1]]}.{rest[2]}"
    return f"{_WHOLE[first]}.{rest[0]}"


def _quantization(weights: Weights, name: str) -> dict[str, int] | bool:
    """Return group size and bits of a module that the file holds quantized."""
    scales = weights.get(f"{name}.scales")
    if scales is None:
        return False
    words = weights[f"{name}.weight"].shape[-1]
    return {"group_size": _GROUP, "bits": words * _WORD // (scales.shape[-1] * _GROUP)}


def _dense(weights: Weights) -> Weights:
    dense = {}
    for name, array in weights.items():
        module, _, part = name.rpartition(".")
        how = _quantization(weights, module)
        if not how:
            dense[name] = array
        elif part == "weight":
            scales, biases = weights[f"{module}.scales"], weights[f"{module}.biases"]
            dense[name] = mx.dequantize(array, scales, biases, **how)
    return dense


def _arguments(kind: str, metadata: Metadata, weights: Weights) -> Metadata:
    def of(name: str) -> Any:
        return metadata[f"{kind}.{name}"].item()

    return {
        "model_type": kind,
        "hidden_size": of("embedding_length"),
        "num_hidden_layers": of("block_count"),
        "intermediate_size": of("feed_forward_length"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "max_position_embeddings": of("context_length"),
        "rope_theta": of("rope.freq_base"),
        "rope_traditional": kind == "llama",
        "tie_word_embeddings": "lm_head.weight" not in weights,
    }
