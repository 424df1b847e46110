"""A GGUF of llama or qwen2 architecture as an mlx-lm model and its tokenizer.

On Metal, weights of Q4_0, Q4_1 and Q8_0 stay quantized. Elsewhere they are decoded: MLX's code for
a CPU takes seconds for a token with them (8 s, of a model of 135 million weights), that for CUDA
never ended with a few rows. Everything is float16, on a CPU float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models import llama, qwen2

from worker.models import ModelError, gguf_header, gguf_tokenizer
from worker.models.gguf_header import Header

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
    header = gguf_header.read(path)
    try:
        tokenizer = gguf_tokenizer.tokenizer(header.metadata)
        model = _model(header, path)
    except (gguf_tokenizer.TokenizerError, _MisfitError, ValueError, RuntimeError) as error:
        what = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{path}: no model can be made of it: {what}; take another, or a folder of mlx-lm's"
        ) from error
    return model, tokenizer


class _MisfitError(Exception):
    """What the file asks for that mlx-lm's model does not do."""


def _model(header: Header, path: Path) -> Any:
    arguments = _arguments(header)
    weights = {_renamed(name): array for name, array in _weights(path).items()}
    module = _MODULES[arguments["model_type"]]
    model = module.Model(module.ModelArgs(**arguments))
    if _on_metal():
        nn.quantize(model, class_predicate=lambda name, _: _quantization(weights, name) or False)
    else:
        weights = _dense(weights)
    model.load_weights(list(weights.items()))
    model.set_dtype(mx.float32 if mx.default_device().type == mx.cpu else mx.float16)
    model.eval()
    mx.eval(model.parameters())
    return model


def _on_metal() -> bool:
    return bool(mx.metal.is_available() and mx.default_device().type == mx.gpu)


def _weights(path: Path) -> Weights:
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict)  # noqa: S101  by the file's name
    return loaded


def _renamed(name: str) -> str:
    first, *rest = name.split(".")
    match first, rest:
        case "blk", [layer, part, kind] if part in _LAYER:
            return f"model.layers.{layer}.{_LAYER[part]}.{kind}"
        case _, [kind] if first in _WHOLE:
            return f"{_WHOLE[first]}.{kind}"
    raise _MisfitError(f"no place for its weights {name}")


def _quantization(weights: Weights, name: str) -> dict[str, int]:
    """Return group size and bits of a module that the file holds quantized, else nothing."""
    scales = weights.get(f"{name}.scales")
    if scales is None:
        return {}
    words = weights[f"{name}.weight"].shape[-1]
    return {"group_size": _GROUP, "bits": words * _WORD // (scales.shape[-1] * _GROUP)}


def _dense(weights: Weights) -> Weights:
    dense = {}
    for name, array in weights.items():
        module, _, part = name.rpartition(".")
        how = _quantization(weights, module)
        if not how or part == "bias":
            dense[name] = array
        elif part == "weight":
            sides = (weights[f"{module}.{side}"] for side in ("scales", "biases"))
            scales, biases = (side.astype(mx.float32) for side in sides)
            dense[name] = mx.dequantize(array, scales, biases, how["group_size"], how["bits"])
    return dense


def _arguments(header: Header) -> dict[str, Any]:
    """Return mlx-lm's arguments: sizes by the weights, which cannot be wrong; the rest as said."""
    kind = header.metadata.get("general.architecture")
    if kind not in _MODULES:
        raise _MisfitError(f"its architecture is {kind!r}, and {', '.join(_MODULES)} are known")
    (vocabulary, hidden), (inner, _) = (
        _shape(header, name) for name in ("token_embd.weight", "blk.0.ffn_up.weight")
    )
    heads = _number(header, f"{kind}.attention.head_count")
    key_heads = _number(header, f"{kind}.attention.head_count_kv", heads)
    if hidden % heads or heads % key_heads:
        raise _MisfitError(f"{heads} heads, {key_heads} of keys, do not divide {hidden}")
    _refuse_others(header, kind, hidden // heads)
    if (tokens := len(header.metadata["tokenizer.ggml.tokens"])) > vocabulary:
        raise _MisfitError(f"it has {tokens} tokens, and weights for {vocabulary}")
    biases = {"attention_bias": "blk.0.attn_q.bias" in header.shapes} if kind == "llama" else {}
    return {
        "model_type": kind,
        "hidden_size": hidden,
        "num_hidden_layers": len({name.split(".")[1] for name in header.shapes if "blk." in name}),
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "rms_norm_eps": _number(header, f"{kind}.attention.layer_norm_rms_epsilon"),
        "vocab_size": vocabulary,
        "max_position_embeddings": _number(header, f"{kind}.context_length", 2048),
        "rope_theta": _number(header, f"{kind}.rope.freq_base", 10000.0),
        "rope_traditional": kind == "llama",
        "tie_word_embeddings": "output.weight" not in header.shapes,
        **biases,
    }


def _shape(header: Header, name: str) -> tuple[int, int]:
    match header.shapes.get(name):
        case (rows, columns):
            return rows, columns
    raise _MisfitError(f"it has no matrix {name}")


def _number(header: Header, name: str, usual: float | None = None) -> Any:
    value = header.metadata.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise _MisfitError(f"{name} is {value!r}, and a number above 0 is needed")
    return value


def _refuse_others(header: Header, kind: str, dim: int) -> None:
    """Refuse what llama.cpp makes of these architectures beyond mlx-lm's."""
    said = header.metadata
    for name in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        if said.get(f"{kind}.{name}", dim) != dim:
            raise _MisfitError(f"{kind}.{name} is not the {dim} of a head")
    if (
        said.get(f"{kind}.rope.scaling.type", "none") != "none"
        or "rope_freqs.weight" in header.shapes
    ):
        raise _MisfitError("its positions are scaled")
    if said.get(f"{kind}.expert_count"):
        raise _MisfitError("it has experts")
