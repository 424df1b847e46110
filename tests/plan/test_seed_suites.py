"""The seed's tables as suites: each runs whole on a tiny random model of its architecture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

import fake_llama_bench
import tiny_models
import tiny_vision
from farm.plan import suite as suites
from programs import words
from worker.models import REFERENCE

REPOSITORY = Path(__file__).parents[2]
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


pytestmark = pytest.mark.slow
LLAMA, VISION = "seed-mlx-vs-llama.cpp", "seed-mm-niah"


def test_every_seed_suite_is_tried():
    seed = {name for name in suites.names() if name.startswith("seed-")}
    assert seed == {*ARCHITECTURES, LLAMA, VISION}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_seed_suite_runs_whole_on_a_tiny_model(name, tmp_path):
    model = save(ARCHITECTURES[name], tmp_path / "model")
    done = run(tmp_path, name, SMALL, model)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"local: {model}")


def test_the_suite_of_mlx_and_llama_cpp_runs_whole_on_a_tiny_model_of_each(tmp_path):
    model = save("qwen2", tmp_path / "model")
    gguf = tmp_path / "tiny.gguf"
    gguf.write_bytes(b"GGUF")
    program = fake_llama_bench.install(tmp_path / "bin")
    done = run(tmp_path, LLAMA, SMALL, model, gguf, TURBOFARM_LLAMA_BENCH=str(program))
    assert done.returncode == 0, done.stderr
    assert f"local: {model}" in done.stdout
    of_gguf = done.stdout.partition(f"local: {gguf}\n")[2]
    assert "llama_cpp(keys=q4_0, values=q4_0)" in of_gguf


def test_without_llama_bench_its_cells_are_refused_and_the_others_run(tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    (tmp_path / "mine.yaml").write_text(
        "description: both\nmodels: [reference]\n"
        "caches: {a: {kind: fp16}, b: {kind: llama_cpp}}\n"
        f"cells:\n- {{benchmark: llama_bench, models: [{tmp_path}/tiny.gguf], caches: [b]}}\n"
        "- {benchmark: decode, contexts: [64], caches: [a], params: {trials: 1, warmups: 0}}\n"
    )
    suite = str(tmp_path / "mine.yaml")
    done = run(tmp_path, suite, {}, TURBOFARM_LLAMA_BENCH="/nowhere/llama-bench")
    assert done.returncode == 3
    (last,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert "no program '/nowhere/llama-bench' on this host; install llama.cpp" in last
    assert "Traceback" not in done.stderr
    assert "generation_tps@64" in done.stdout


def test_the_suite_of_texts_with_images_runs_whole_on_a_tiny_model(tmp_path):
    model = tiny_vision.save(tmp_path / "model")
    file = tiny_vision.haystack(tmp_path / "niah")
    small = {"context": 1000, "file": str(file), "tokens": 4}
    done = run(tmp_path, VISION, small, model)
    assert done.returncode == 0, done.stderr
    columns = done.stdout.splitlines()[1].split()
    assert {"kv_saving@1000", "needle_agreement@1000", "generation_tps@1000"} < set(columns)


def run(folder, suite, params, *models, **variables):
    """Let ``farm run`` measure a suite on these models, as somebody in ``folder`` would."""
    has = {key for cell in suites.cells(suites.load(suite)) for key in cell.params}
    changes = [f"--set={key}={json.dumps(value)}" for key, value in params.items() if key in has]
    changes += [f"--model={model}" for model in models]
    changes += ["--again=0", "--anyway"]  # what disturbs this machine is no matter here
    if suite in suites.names():  # one round shows that every cell runs
        whole = (suites.FOLDER / f"{suite}.yaml").read_text()
        suite = str(folder / f"{suite}.yaml")
        Path(suite).write_text(f"{whole}\nrounds: 1\n")
    subject = f"subject: {{repository: {REPOSITORY}}}\n"
    (folder / "inventory.yaml").write_text(subject)
    return subprocess.run(
        [*words("farm_in_one"), "run", "--suite", suite, *changes],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


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
