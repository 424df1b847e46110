"""Small random instances of the model families that the turbo cache is for, in float32."""

import importlib

import mlx.core as mx

VOCABULARY = 128

_DENSE = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 8192,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
_HYBRID = {
    **_DENSE,
    "head_dim": 64,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 2,
    "rope_parameters": {
        "type": "default",
        "mrope_section": [4, 2, 2],
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.25,
    },
}
_EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
}
_SLIDING = {
    **_DENSE,
    "num_hidden_layers": 6,
    "head_dim": 64,
    "global_head_dim": 64,
    "sliding_window": 32,
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": VOCABULARY,
    "layer_types": ["sliding_attention", "full_attention"] * 3,
}
_PHI = {"hidden_size": 384, "rope_scaling": None, "original_max_position_embeddings": 4096}

CONFIGS = {
    "llama": {**_DENSE, "model_type": "llama", "head_dim": 64},
    "llama, head dimension 80": {**_DENSE, "model_type": "llama", "head_dim": 80},
    "qwen2": {**_DENSE, "hidden_size": 256, "model_type": "qwen2"},
    "phi3, head dimension 96": {**_DENSE, **_PHI, "model_type": "phi3"},
    "qwen3_5": {"model_type": "qwen3_5", "text_config": {**_HYBRID, "model_type": "qwen3_5_text"}},
    "qwen3_5_moe": {
        "model_type": "qwen3_5_moe",
        "text_config": {**_HYBRID, **_EXPERTS, "model_type": "qwen3_5_moe_text"},
    },
    "gemma4, shared layers": {**_SLIDING, "model_type": "gemma4_text"},
}


def tiny_model(name, seed=0):
    """Return a random model of `CONFIGS`."""
    return of(CONFIGS[name], seed)


def of(config, seed=0):
    """Return a random model of a configuration."""
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(seed)
    model = module.Model(module.ModelArgs.from_dict(config))
    mx.eval(model.parameters())
    return model


def tokens(count, seed=0):
    return mx.random.randint(0, VOCABULARY, (1, count), key=mx.random.key(seed))


class Tokenizer:
    """As much of a tokenizer as mlx-lm's generation asks for; ids are their own text."""

    eos_token_ids = frozenset()
    eos_token_id = -1
    bos_token = None
    has_thinking = False
    has_tool_calling = False

    def encode(self, text, **_):
        return [int(word) for word in text.split()]

    def decode(self, ids, **_):
        return " ".join(map(str, ids))
