"""A GGUF of llama or qwen2 architecture as an mlx-lm model and its tokenizer.

Weights of Q4_0, Q4_1 and Q8_0 stay quantized, as MLX reads them; F16 and F32 stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models import llama, qwen2

from worker.models import ModelError

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
_GROUP = 32  # weights of a block of each of GGUF's types that MLX keeps


def load_gguf(path: Path) -> tuple[Any, Metadata]:
    weights, metadata = mx.load(str(path), return_metadata=True)
    kind = metadata["general.architecture"]
    renamed = {_renamed(name): array for name, array in weights.items()}
    module = _MODULES[kind]
    model = module.Model(module.ModelArgs(**_arguments(kind, metadata, renamed)))
    for bits in (4, 8):
        nn.quantize(model, _GROUP, bits, class_predicate=_held_in(renamed, bits))
    model.load_weights(list(renamed.items()))
    model.set_dtype(mx.float16)
    model.eval()
    mx.eval(model.parameters())
    return model, metadata


def _held_in(weights: Weights, bits: int) -> Any:
    def predicate(name: str, module: nn.Module) -> bool:
        if type(module) not in (nn.Linear, nn.Embedding) or f"{name}.scales" not in weights:
            return False
        return weights[f"{name}.weight"].shape[-1] * 32 == bits * module.weight.shape[-1]
    return predicate


def _renamed(name: str) -> str:
    first, *rest = name.split(".")
    if first == "blk":
        return f"model.layers.{rest[0]}.{_LAYER[rest[1]]}.{rest[2]}"
    return f"{_WHOLE[first]}.{rest[0]}"


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
