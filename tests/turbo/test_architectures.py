"""Architectures of mlx-lm on the turbo cache: near fp16, or why not, before anything is read.

A sample of each way to attend; `architectures` run as a script tries all of them.
"""

import pytest
from mlx_lm.models.cache import make_prompt_cache

import architectures
from worker.turbo import describe, make_cache

WORK = (
    "llama",
    "gpt2",
    "mixtral",
    "cohere2",  # sliding windows beside
    "gemma3n",  # layers that share keys
    "minicpm3",  # latents, which it makes keys of before it stores them
    "qwen3_next",
    "nemotron_h",
    "lfm2",
    "llama4",  # attends in chunks
    "gpt_oss",  # attention sinks
    "mimo_v2_flash",
    "stablelm",  # casts the keys
    "falcon_h1",  # a list of caches for each layer
    "baichuan_m1",
)
READ_BY_ITSELF = (
    "deepseek_v32",  # latents, and keys of an indexer
    "glm4_moe_lite",
    "longcat_flash",
    "mistral4",
    "minimax_m3_vl",  # sparse attention by blocks
    "gemma2",  # soft-capped scores
    "plamo",
)
NOTHING_TO_COMPRESS = ("mamba", "recurrent_gemma", "deepseek_v41")


@pytest.mark.parametrize("name", WORK)
def test_an_architecture_works_exactly_unpacked_and_nearly_packed(name):
    model = architectures.model(name)
    exact = architectures.logits(model, make_prompt_cache(model))
    for bits, bound in ((8, 0.01), (4, 0.1)):
        settings = {"key_bits": bits, "value_bits": bits, "tail_tokens": 16}
        error, said = architectures.distance(model, exact, **settings)
        assert said["compressed_tokens"] > 0
        assert error < bound
    error, said = architectures.distance(model, exact, compress_from=architectures.TOKENS + 1)
    assert error < 1e-6


@pytest.mark.parametrize("name", READ_BY_ITSELF)
def test_a_model_that_reads_keys_by_itself_is_refused_when_its_cache_is_made(name):
    with pytest.raises(ValueError, match=f"^{name}: its attention reads keys and values by itself"):
        make_cache(architectures.model(name))


@pytest.mark.parametrize("name", NOTHING_TO_COMPRESS)
def test_a_model_without_a_plain_cache_is_told_so(name):
    with pytest.raises(ValueError, match="no layer to compress: 0 of 4 layers have a KVCache"):
        make_cache(architectures.model(name))


def test_what_is_no_model_of_mlx_lm_is_not_tried():
    class Layers:
        layers = (None, None)

    assert describe(make_cache(Layers()))["turbo_layers"] == 2
