"""The seed's tables as suites: each runs whole on a tiny random model of its architecture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

import tiny_models
from farm import suites
from worker.models import REFERENCE

REPOSITORY = Path(__file__).parents[1]
ARCHITECTURES = {
    "seed-context-scaling": "qwen2",
    "seed-dense-short": "phi3, head dimension 96",
    "seed-m2pro-1.5b": "qwen2",
    "seed-quality-7b": "qwen2",
    "seed-qwen2.5-3b": "qwen2",
    "seed-qwen3.5-27b": "qwen3_5",
    "seed-qwen3.5-35b-moe": "qwen3_5_moe",
}
SMALL = {
    "context": 200,
    "tokens": 3,
    "trials": 1,
    "warmups": 0,
    "positions": 3,
    "greedy": 2,
    "texts": 1,
    "depths": [0.5],
}


def test_every_seed_suite_is_tried():
    assert {name for name in suites.names() if name.startswith("seed-")} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_seed_suite_runs_whole_on_a_tiny_model(name, tmp_path):
    model = save(ARCHITECTURES[name], tmp_path / "model")
    has = {key for cell in suites.cells(suites.load(name)) for key in cell.params}
    changes = [f"--set={key}={json.dumps(value)}" for key, value in SMALL.items() if key in has]
    changes.append("--again=0")  # what disturbs this machine is no matter here
    subject = f"subject: {{repository: {REPOSITORY}}}\n"
    (tmp_path / "inventory.yaml").write_text(subject)
    done = subprocess.run(
        [sys.executable, "-m", "farm", "run", "--suite", name, f"--model={model}", *changes],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"local: {model}")


def save(architecture, folder):
    """Write a tiny random model in mlx-lm's format, with the reference model's tokenizer."""
    size = json.loads((REFERENCE / "config.json").read_text())["vocab_size"]
    # Twelve layers, so that hybrids have some with keys and values between the boundary layers.
    config = json.loads(
        json.dumps(tiny_models.CONFIGS[architecture])
        .replace(f": {tiny_models.VOCABULARY},", f": {size},")
        .replace('"num_hidden_layers": 4', '"num_hidden_layers": 12')
    )
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for file in REFERENCE.glob("tokenizer*"):
        shutil.copy(file, folder)
    tiny = tiny_models.of(config)
    mx.save_safetensors(
        str(folder / "model.safetensors"), dict(tree_flatten(tiny.parameters())), {"format": "mlx"}
    )
    return folder
