"""A tiny random model of every architecture of mlx-lm, made by the names of its arguments.

Run as a script it prints how each of them does with the turbo cache (two minutes on 2 cores):

    .venv/bin/python tests/support/architectures.py [NAME ...]
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import mlx.core as mx
import mlx_lm.models
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

from worker.turbo import describe, make_cache

VOCABULARY = 128
LAYERS = 4
TOKENS = 150

#: What an argument of this name is in each architecture that has it, if `OTHERS` says nothing.
SMALL = {
    name: value
    for value, names in (
        (VOCABULARY, "vocab_size vocab_size_per_layer_input"),
        (64, "hidden_size n_embd d_model model_dim hidden_dim dim_model_base index_topk block_dim"),
        (64, "moe_hidden_size"),
        (LAYERS, "num_hidden_layers n_layer n_layers num_layers num_transformer_layers"),
        (4, "num_attention_heads n_head n_heads num_heads num_query_heads swa_num_attention_heads"),
        (4, "num_experts num_local_experts n_routed_experts moe_num_experts conv_kernel"),
        (4, "mamba_num_heads mamba_n_heads mamba_d_conv linear_num_value_heads conv1d_width"),
        (4, "linear_conv_kernel_dim"),
        (96, "intermediate_size ffn_hidden_size n_inner shared_intermediate_size"),
        (96, "intermediate_size_mlp ff_intermediate_size dense_intermediate_size"),
        (2, "num_key_value_heads num_kv_heads n_kv_heads num_attention_groups"),
        (2, "swa_num_key_value_heads linear_num_key_heads index_n_heads num_kv_shared_layers"),
        (2, "num_experts_per_tok num_experts_per_token moe_topk moe_top_k zero_expert_num"),
        (2, "mamba_expand layer_group_size conv_window altup_num_inputs sliding_window_pattern"),
        (2, "attn_layer_period expert_layer_period emb_neighbor_num emb_split_num"),
        (2, "ngram_vocab_size_ratio"),
        (16, "head_dim qk_nope_head_dim v_head_dim swa_head_dim swa_v_head_dim mamba_head_dim"),
        (16, "mamba_d_head linear_key_head_dim linear_value_head_dim index_head_dim kv_channels"),
        (16, "state_size ssm_state_size mamba_d_state hidden_size_per_layer_input"),
        (16, "query_pre_attn_scalar"),
        (8, "rotary_dim qk_rope_head_dim time_step_rank laurel_rank ffn_dim_divisor mamba_dt_rank"),
        (8, "a_low_rank_dim v_low_rank_dim gate_low_rank_dim decay_low_rank_dim"),
        (32, "moe_intermediate_size expert_ffn_hidden_size shared_expert_intermediate_size"),
        (32, "share_expert_dim kv_lora_rank q_lora_rank block_multiple_of attention_chunk_size"),
        (32, "sliding_window sliding_window_size attention_window_size"),
        (1, "n_shared_experts num_shared_experts num_shared_expert first_k_dense_replace n_group"),
        (1, "topk_group num_expert_group moe_layer_freq decoder_sparse_step num_dense_layers"),
        (1, "n_groups mamba_n_groups group_norm_size num_kv_reuse_layers attn_layer_offset"),
        (1, "expert_layer_offset interleave_moe_layer_step"),
        (0, "altup_active_idx num_nextn_predict_layers"),
        (3, "conv_L_cache"),
        (1e-5, "rms_norm_eps layer_norm_epsilon layer_norm_eps norm_eps layernorm_epsilon"),
        (1e-5, "norm_epsilon post_norm_eps"),
        (4096, "max_position_embeddings n_positions n_ctx model_max_length"),
        (4096, "original_max_position_embeddings"),
        (10000.0, "rope_theta swa_rope_theta rope_local_base_freq"),
        (10000, "rotary_emb_base"),
        (0.25, "attention_multiplier"),
        (0.5, "partial_rotary_factor rotary_pct"),
        (1.0, "routed_scaling_factor logits_scaling embedding_multiplier residual_multiplier"),
        (1.0, "scale_emb scale_depth altup_coef_clip block_ffn_dim_multiplier output_multiplier"),
        (30.0, "final_logit_softcapping logits_soft_cap"),
        (True, "norm_topk_prob tie_word_embeddings use_qk_norm qk_norm use_conv_bias conv_bias"),
        (True, "altup_correct_scale mla_scale_q_lora mla_scale_kv_lora use_expert_bias"),
        (True, "mamba_conv_bias ffn_with_glu"),
        (False, "attention_bias mlp_bias use_bias use_qkv_bias mamba_proj_bias post_norm"),
        (False, "block_auto_adjust_ff_dim linear_allow_neg_eigval"),
        ("silu", "hidden_act"),
        ("noaux_tc", "topk_method"),
        ("sigmoid", "scoring_func"),
        ("MLA", "attention_method"),
        ("identity", "zero_expert_type"),
        (["sliding_attention", "full_attention"] * 2, "layer_types"),
        ([0.0] * LAYERS, "activation_sparsity_pattern"),
        ([], "mlp_only_layers"),
        ((0.0, 100.0), "time_step_limit"),
    )
    for name in names.split()
}
_PLAIN = {"type": "default", "rope_type": "default", "rope_theta": 10000.0}
_BOTH = {"sliding_attention": _PLAIN, "full_attention": _PLAIN}
_YARN = {
    "type": "yarn",
    "factor": 2.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "rope_theta": 10000.0,
    "llama_4_scaling_beta": 0.1,
}
_LONG = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0] * 4}
_CONVOLUTIONS = {"layer_types": ["conv", "full_attention"] * 2}
_DELTA = {
    "full_attn_layers": [2, 4],
    "kda_layers": [1, 3],
    "num_heads": 4,
    "head_dim": 16,
    "short_conv_kernel_size": 4,
}
OTHERS = {
    "afm7": {"head_dim": 16},
    "baichuan_m1": {"sliding_window_layers": [1, 3], "tie_word_embeddings": False},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    },
    "deepseek_v2": {"rope_scaling": _YARN, "topk_method": "greedy", "scoring_func": "softmax"},
    "exaone4": {"rope_scaling": None, "sliding_window_pattern": "LG"},
    "exaone_moe": {"is_moe_layer": [False, True, True, True]},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma4_text": {"global_head_dim": 16, "num_experts": None},
    "glm4_moe": {"rope_scaling": None},
    "glm_moe_dsa": {"rope_parameters": _PLAIN},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "hunyuan": {
        "use_mixed_mlp_moe": True,
        "use_cla": True,
        "cla_share_factor": 2,
        "rope_scaling": {"factor": 1.0, "type": "dynamic", "alpha": 1.0},
    },
    "kimi_linear": {"linear_attn_config": _DELTA},
    "lfm2": _CONVOLUTIONS,
    "lfm2_moe": _CONVOLUTIONS,
    "lille-130m": {"block_size": 4096},
    "llama4_text": {"no_rope_layers": [1, 1, 1, 0]},
    "mellum": {"rope_parameters": _BOTH},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [0, 1, 0, 1],
        "moe_layer_freq": [0, 1, 1, 1],
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": True,
    },
    "minicpm3": {"rope_scaling": _LONG | {"original_max_position_embeddings": 64}},
    "ministral3": {
        "rope_parameters": _PLAIN
        | {"original_max_position_embeddings": 4096}
        | {"llama_4_scaling_beta": 0.1}
    },
    "mistral4": {"rope_parameters": _YARN},
    "nemotron-nas": {
        "block_configs": [{"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.5}}] * LAYERS
    },
    "nemotron_h": {"hybrid_override_pattern": ["M", "*", "-", "E"], "layer_types": None},
    "olmo_hybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "openelm": {"num_query_heads": [4] * 4, "num_kv_heads": [2] * 4, "ffn_multipliers": [1.0] * 4},
    "phi3small": {"dense_attention_every_n_layers": 2, "gegelu_limit": 20.0},
    "plamo": {"n_shared_head": 2},
    "qwen": {"intermediate_size": 192},
    "recurrent_gemma": {"block_types": ["recurrent", "recurrent", "attention"]},
    "spark2_5": {"rope_parameters": _BOTH, "hidden_act": "gelu"},
}
#: Of models around a text model: where its arguments are described, and what is not `SMALL`.
INNER = {
    "gemma3": ("gemma3_text", "ModelArgs", {}),
    "gemma3n": ("gemma3n", "TextConfig", {}),
    "gemma4": ("gemma4_text", "ModelArgs", OTHERS["gemma4_text"]),
    "kimi_k25": ("deepseek_v3", "ModelArgs", {}),
    "kimi_k3": (
        "kimi_k3",
        "TextArgs",
        {
            "hidden_act": "situ",
            "activation_situ_beta": 1.0,
            "linear_attn_config": _DELTA,
            "attn_res_block_size": 2,
        },
    ),
    "kimi_vl": ("kimi_vl", "TextArgs", {}),
    "lfm2-vl": ("lfm2", "ModelArgs", _CONVOLUTIONS),
    "llama4": ("llama4", "TextArgs", {"rope_scaling": None, "num_experts_per_tok": 1}),
    "minimax_m3_vl": (
        "minimax_m3_vl",
        "TextArgs",
        {"moe_layer_freq": [0, 1, 1, 1], "index_block_size": 8, "index_topk_blocks": 4},
    ),
    "mistral3": ("llama", "ModelArgs", {}),
    "muse_spark": (
        "muse_spark",
        "TextArgs",
        {
            "num_shared_experts": 0,
            "mlp_layer_types": ["sparse"] * LAYERS,
            "rope_parameters": _PLAIN,
            "layer_rope_theta": [10000.0, 0, 10000.0, 0],
        },
    ),
    "pixtral": ("llama", "ModelArgs", {}),
    "qwen2_vl": ("qwen2", "ModelArgs", {}),
    "qwen3_5": ("qwen3_5", "TextModelArgs", {"num_experts": 0}),
    "qwen3_5_moe": ("qwen3_5", "TextModelArgs", {}),
    "qwen3_vl": ("qwen3", "ModelArgs", {}),
    "qwen3_vl_moe": ("qwen3_moe", "ModelArgs", {}),
}
#: Why an architecture is not tried.
LEFT_OUT = {
    "bitnet": "mlx-lm runs it on Metal alone",
    "muse_spark": "mlx-lm runs it on Metal alone",
    "olmo": "needs another package",
    "phi3small": "mlx-lm's block-sparse attention ends the process on a CPU at this size",
    "prism_hadamard_qwen35": "needs a pack of weights",
}


def names() -> list[str]:
    """Return every architecture of mlx-lm that is tried."""
    folder = Path(next(iter(mlx_lm.models.__path__)))
    found = sorted(
        path.stem for path in folder.glob("*.py") if "class ModelArgs" in path.read_text()
    )
    return [name for name in found if name not in LEFT_OUT]


def model(name):
    """Return a random model in float32."""
    module = importlib.import_module(f"mlx_lm.models.{name}")
    changes = dict(OTHERS.get(name, {}))
    if name in INNER:
        inner, described, others = INNER[name]
        text = getattr(importlib.import_module(f"mlx_lm.models.{inner}"), described)
        changes["text_config"] = _arguments(inner, text, others)
    arguments = module.ModelArgs.from_dict(_arguments(name, module.ModelArgs, changes))
    mx.random.seed(0)
    made = module.Model(arguments)
    made.apply(_noisy)  # some begin with zeros
    return made


def logits(model, cache):
    """Read a prompt, single tokens, four at once, and more; return logits (tokens, vocabulary)."""
    ids, at, parts = mx.random.randint(0, VOCABULARY, (1, TOKENS), key=mx.random.key(5)), 0, []
    for length in (100, *[1] * 10, 4, TOKENS - 114):
        parts.append(model(ids[:, at : at + length], cache=cache).astype(mx.float32))
        mx.eval(parts[-1])
        at += length
    return np.array(mx.concatenate(parts, axis=1)[0])


def distance(model, exact, **settings):
    """Return the mean error of logits with a turbo cache, in standard deviations of the exact."""
    cache = make_cache(model, **settings)
    error = np.abs(logits(model, cache) - exact).mean() / exact.std()
    return error, describe(cache)


def _noisy(array):
    if not mx.issubdtype(array.dtype, mx.floating):
        return array
    return array + 0.02 * mx.random.normal(array.shape).astype(array.dtype)


def _arguments(name, described, changes):
    given = {"model_type": name} | SMALL | changes
    fields = {field.name for field in dataclasses.fields(described)}
    return {key: value for key, value in given.items() if key in fields or key in changes}


def main():
    for name in sys.argv[1:] or names():
        made = model(name)
        exact = logits(made, make_prompt_cache(made))
        sys.stdout.write(f"{name:22} {_found(made, exact)}\n")
        sys.stdout.flush()


def _found(made, exact):
    try:
        errors = [
            distance(made, exact, **settings)[0]
            for settings in (
                {"compress_from": TOKENS + 1},
                {"key_bits": 8, "value_bits": 8, "tail_tokens": 16},
                {"key_bits": 4, "value_bits": 4, "tail_tokens": 16},
            )
        ]
    except ValueError as error:
        return str(error)
    return "unpacked {:.1e}, 8 bits {:.1e}, 4 bits {:.1e}".format(*errors)


if __name__ == "__main__":
    main()
