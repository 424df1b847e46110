"""A GGUF as a model of MLX: the answers of the weights it was written from, or one sentence."""

from __future__ import annotations

import random

import mlx.core as mx
import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten
from mlx_lm.models import llama, qwen2

import tiny_gguf
from worker.models import ModelError, from_gguf
from worker.models.loading import load
from worker.text import passages

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
}
TOKENS = tiny_gguf.byte_tokens("t h", "th e")
MODULES = {"llama": llama, "qwen2": qwen2}


@pytest.fixture
def written(tmp_path):
    """Write a random model of an architecture in a type; return its file and the model decoded."""

    def write(kind="llama", weights="F16", *, tied=True, tokens=TOKENS, **changes):
        mx.random.seed(3)
        vocabulary = len(tokens["tokenizer.ggml.tokens"])
        sizes = SIZES | {"vocab_size": vocabulary, "tie_word_embeddings": tied}
        args = MODULES[kind].ModelArgs(model_type=kind, **sizes)
        model = MODULES[kind].Model(args)
        model.apply(lambda array: array + 0.05 * mx.random.normal(array.shape))
        heads = {"q_proj": args.num_attention_heads, "k_proj": args.num_key_value_heads}
        tensors, turn = [], {}
        for name, array in tree_flatten(model.parameters()):
            values = np.array(array)
            if kind == "llama" and name.split(".")[-2] in heads:
                turn[name] = heads[name.split(".")[-2]]
                values = tiny_gguf.interleaved(values, turn[name])
            tensors.append((name, values, weights if values.ndim > 1 else "F32"))
        file = tmp_path / f"{kind}-{weights}.gguf"
        metadata = tiny_gguf.architecture(kind, args) | tokens | changes
        named = [(tiny_gguf.renamed(name), array, how) for name, array, how in tensors]
        decoded = tiny_gguf.write(file, metadata, named)
        back = {name: decoded[tiny_gguf.renamed(name)] for name, *_ in tensors}
        for name, count in turn.items():
            back[name] = _straight(back[name], count)
        model.load_weights([(name, mx.array(array)) for name, array in back.items()])
        return file, model

    return write


def _straight(array, heads):
    rows, columns = array.shape
    pairs = array.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(array.shape)


@pytest.mark.parametrize("weights", ["F16", "Q8_0", "Q4_1", "Q4_0"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_gguf_answers_as_the_weights_that_it_holds(written, kind, weights):
    file, model = written(kind, weights, tied=weights != "Q8_0")
    loaded, tokenizer = load(str(file))
    tokens = mx.array([tokenizer.encode("over the hills")])
    assert mx.allclose(loaded(tokens), model(tokens), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weights", ["Q8_0", "Q4_1", "Q4_0"])
def test_quantized_weights_stay_quantized_on_metal(written, weights, monkeypatch):
    monkeypatch.setattr(from_gguf, "_on_metal", lambda: True)
    file, model = written(weights=weights)
    loaded, _ = load(str(file))
    assert loaded.model.layers[1].mlp.down_proj.bits == int(weights[1])
    tokens = mx.array([[1, 2, 3]])
    assert mx.allclose(loaded(tokens), model(tokens), atol=0.02 * mx.abs(model(tokens)).max())


def test_the_tokenizer_is_the_file_s_and_ends_where_the_file_says(written):
    file, _ = written(**{"tokenizer.chat_template": "{{ messages[0].content }}"})
    _, tokenizer = load(str(file))
    words = TOKENS["tokenizer.ggml.tokens"]
    assert [words[token] for token in tokenizer.encode("the hat")] == ["the", "Ġ", "h", "a", "t"]
    assert tokenizer.encode(tiny_gguf.END) == [words.index(tiny_gguf.END)]
    assert tokenizer.decode(tokenizer.encode("über\nthe 12")) == "über\nthe 12"
    assert tokenizer.eos_token_ids == {words.index(tiny_gguf.END)}
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "the"}], tokenize=False) == "the"
    )


@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ("gpt-2", ["1234"]),
        ("smollm", ["1", "2", "3", "4"]),
        ("qwen2", ["1", "2", "3", "4"]),
        ("llama-bpe", ["123", "4"]),
    ],
)
def test_numbers_are_split_as_the_file_says(written, way, parts):
    tokens = tiny_gguf.byte_tokens("1 2", "12 3", "123 4") | {"tokenizer.ggml.pre": way}
    _, tokenizer = load(str(written(tokens=tokens)[0]))
    assert [tokens["tokenizer.ggml.tokens"][token] for token in tokenizer.encode("1234")] == parts


@pytest.fixture(scope="module")
def sentence_piece(tmp_path_factory):
    """Train a small SentencePiece model on English; return it and what a GGUF says of it."""
    prefix = tmp_path_factory.mktemp("spm") / "m"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(passages.sentences(passages.read("english"))),
        model_prefix=str(prefix),
        vocab_size=700,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    ids = range(model.vocab_size())
    return model, {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [model.get_score(i) for i in ids],
        "tokenizer.ggml.token_type": [_type(model, i) for i in ids],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _type(model, i):
    return 2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1


@pytest.mark.parametrize(
    "text", ["The woman of Bohemia.", "two  spaces\nand a line", "ünïcödé 中 9"]
)
def test_a_tokenizer_with_scores_does_as_sentencepiece(written, sentence_piece, text):
    model, tokens = sentence_piece
    _, tokenizer = load(str(written(tokens=tokens)[0]))
    assert tokenizer.encode(text) == [1, *model.encode(text)]
    assert tokenizer.decode(model.encode(text)) == text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"general.architecture": "mamba"}, "its architecture is 'mamba', and llama, qwen2 are"),
        ({"llama.attention.head_count": 5}, "5 heads, 2 of keys, do not divide 64"),
        ({"llama.attention.head_count": "four"}, "head_count is 'four', and a number above 0"),
        ({"llama.rope.scaling.type": "yarn"}, "its positions are scaled"),
        ({"llama.expert_count": 8}, "it has experts"),
        ({"llama.rope.dimension_count": 8}, "rope.dimension_count is not the 16 of a head"),
        ({"tokenizer.ggml.model": "rwkv"}, "its tokenizer is 'rwkv', and gpt2, llama are known"),
        ({"tokenizer.ggml.pre": "tekken"}, "it splits texts as 'tekken'"),
        ({"tokenizer.ggml.merges": ["th"]}, "its merge 'th' does not make a token of two"),
        ({"tokenizer.ggml.merges": ["q q"]}, "its merge 'q q' does not make"),
        ({"tokenizer.ggml.tokens": 3}, "it has no tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.eos_token_id": 9999}, "its eos token is 9999, of"),
        (
            {"tokenizer.ggml.tokens": [*TOKENS["tokenizer.ggml.tokens"], *"ÀÁ"]},
            "261 tokens, and weights for",
        ),
        ({"general.alignment": 0}, "its general.alignment is 0"),
    ],
)
def test_what_mlx_s_model_does_not_do_is_refused_in_one_sentence(written, changes, told):
    file, _ = written(**changes)
    with pytest.raises(ModelError) as caught:
        load(str(file))
    assert str(file) in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["blk.1.ffn_up.weight", "token_embd.weight", "output_norm.weight"])
def test_weights_that_are_missing_or_have_no_place_are_named(written, tmp_path, part):
    whole = written()[0].read_bytes()
    file = tmp_path / "changed.gguf"
    file.write_bytes(whole.replace(part.encode(), part[::-1].encode()))
    with pytest.raises(ModelError, match=r"no (model can be made|matrix|place)"):
        load(str(file))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it ends too early"),
        (b"no model", "it does not begin with GGUF"),
        (b"GGUF" + bytes([1, 0, 0, 0]), "its version is 1"),
    ],
)
def test_a_file_that_is_no_gguf_is_refused(tmp_path, data, told):
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(ModelError, match=told):
        load(str(tmp_path / "a.gguf"))


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), cut=st.booleans())
def test_a_damaged_file_gives_a_model_or_one_sentence(written, tmp_path, seed, cut):
    data, drawn = bytearray(written()[0].read_bytes()), random.Random(seed)  # noqa: S311
    header = data.index(b"blk.1") if drawn.random() < 0.5 else 400
    for _ in range(drawn.randint(1, 4)):
        data[drawn.randrange(header)] = drawn.choice([0, 1, 2, 127, 255, drawn.randrange(256)])
    if cut:
        del data[drawn.randrange(len(data)) :]
    file = tmp_path / "damaged.gguf"
    file.write_bytes(data)
    told = ""
    try:
        load(str(file))
    except ModelError as error:
        told = str(error)
    assert "\n" not in told
