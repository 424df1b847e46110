"""Models by name: what a name may be, and models that have no weights yet."""

from __future__ import annotations

import json

import mlx.core as mx
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from worker.models import ModelError
from worker.models.loading import load

CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
    "vocab_size": 2048,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def architecture(tmp_path):
    """Write a config.json with some changes and return the name of its random model."""

    def write(**changes):
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
        return f"random:{tmp_path}"

    return write


def test_an_architecture_without_weights_is_loaded_with_the_same_random_ones_each_time(
    architecture,
):
    name = architecture()
    (first, tokenizer), (second, _) = load(name), load(name)
    weights, again = tree_flatten(first.parameters()), tree_flatten(second.parameters())
    assert {array.dtype for _, array in weights} == {mx.bfloat16}
    assert all(mx.array_equal(a, b) for (_, a), (_, b) in zip(weights, again, strict=True))
    logits = first(mx.array([tokenizer.encode("one")]))
    assert mx.isfinite(logits).all()


def test_a_quantized_architecture_has_quantized_layers(architecture):
    model, _ = load(architecture(quantization={"group_size": 64, "bits": 8}))
    assert isinstance(model.model.layers[0].mlp.up_proj, nn.QuantizedLinear)


def test_an_architecture_that_nobody_knows_is_refused(architecture):
    with pytest.raises(ModelError, match="no architecture 'abacus' in mlx-lm"):
        load(architecture(model_type="abacus"))


def test_a_vocabulary_too_small_for_the_text_is_refused(architecture):
    with pytest.raises(ModelError, match="vocabulary of 100"):
        load(architecture(vocab_size=100))


def test_a_configuration_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load(f"random:{tmp_path}")


def test_a_configuration_that_lacks_something_is_refused(tmp_path):
    lacking = {name: value for name, value in CONFIG.items() if name != "rms_norm_eps"}
    (tmp_path / "config.json").write_text(json.dumps(lacking))
    with pytest.raises(ModelError, match="does not fit 'qwen2'"):
        load(f"random:{tmp_path}")


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(f"random:{tmp_path}")
