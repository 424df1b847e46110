"""The bundled reference model: small, as its card says, and good enough to judge a cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm import load
from mlx_lm.generate import generate_step

from worker.text import corpus

FOLDER = Path(__file__).parents[2] / "worker" / "models" / "reference"


@pytest.fixture(scope="module")
def reference():
    return load(str(FOLDER))


def test_the_folder_is_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 12e6


def test_the_card_names_the_weights_by_their_hash():
    weights = (FOLDER / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in (FOLDER / "README.md").read_text()


def test_each_word_of_the_corpus_is_one_token_and_comes_back(reference):
    _, tokenizer = reference
    text = corpus.text(7, 100)
    tokens = tokenizer.encode(text)
    assert tokens == [corpus.VOCABULARY.index(word) for word in text.split()]
    assert tokenizer.decode(tokens).strip() == text


def test_other_text_is_spelt_within_the_vocabulary(reference):
    model, tokenizer = reference
    assert max(tokenizer.encode("Zebras, 42 of them!")) < model.args.vocab_size


def test_key_biases_are_large_where_rope_hardly_turns(reference):
    model, _ = reference
    biases = [np.array(layer.self_attn.k_proj.bias.astype(mx.float32)) for layer in model.layers]
    norms = [np.linalg.norm(bias) for bias in biases]
    assert min(norms[0], norms[-1]) > 5 * np.median(norms)
    for at in (0, -1):
        assert np.linalg.norm(biases[at].reshape(2, 32)[:, 24:]) > 0.9 * norms[at]


def test_a_needle_is_found(reference):
    model, tokenizer = reference
    haystack = corpus.needles(17, 512, (0.2,), lambda text: len(tokenizer.encode(text)))
    (needle,) = haystack.needles
    prompt = mx.array(tokenizer.encode(f"{haystack.text} {needle.question}"))
    said = [int(token) for token, _ in generate_step(prompt, model, max_tokens=4)]
    assert tokenizer.decode(said).strip() == needle.answer
