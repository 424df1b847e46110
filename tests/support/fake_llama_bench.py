"""A stand-in for llama-bench that repeats what a real one said, and tests of other versions."""

import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden" / "llama_bench"

PROGRAM = """#!{python}
import json, pathlib, sys

golden = pathlib.Path({golden!r})
options = dict(zip(sys.argv[1::], sys.argv[2::]))
if "--help" in sys.argv:
    sys.exit(print((golden / "help.txt").read_text()))
types = {{options["-ctk"], options["-ctv"]}}
if not types <= {types!r}:
    print((golden / "unknown_type.txt").read_text(), file=sys.stderr)
    sys.exit(1)
if "missing" in options["-m"]:
    print((golden / "no_model.txt").read_text(), file=sys.stderr)
    sys.exit(1)
if "-v" in sys.argv:
    print((golden / "verbose.txt").read_text(), file=sys.stderr)
wanted = "n_prompt" if options["-p"] != "0" else "n_gen"
found = [test for test in json.loads((golden / "reference.json").read_text()) if test[wanted]]
print(json.dumps(found[:1]))
"""

#: As printed in 2023: a flag for the cache's type, no depth, backends as flags.
OLD = {
    "build_commit": "1e35d619",
    "build_number": 1614,
    "cuda": False,
    "metal": True,
    "gpu_blas": True,
    "cpu_info": "",
    "gpu_info": "",
    "model_filename": "models/7B/ggml-model-q8_0.gguf",
    "model_type": "llama 7B mostly Q8_0",
    "f16_kv": True,
    "n_gpu_layers": 99,
    "n_prompt": 512,
    "n_gen": 0,
    "test_time": "2023-12-07T11:58:50Z",
    "avg_ns": 1_000_000_000,
    "stddev_ns": 0,
    "samples_ns": [1_000_000_000, 2_000_000_000],
    "samples_ts": [512.0, 256.0],
}
#: As printed in 2026: how a model is loaded is one word, and speeds may be all there is.
NEW = {
    "build_commit": "84f712946",
    "build_number": 10359,
    "cpu_info": "Accelerate, Apple M4 Max",
    "gpu_info": "Apple M4 Max",
    "backends": "MTL,BLAS",
    "model_filename": "tiny.gguf",
    "type_k": "q8_0",
    "type_v": "turbo3",
    "flash_attn": -1,
    "load_mode": "mmap",
    "n_prompt": 0,
    "n_gen": 128,
    "n_depth": 4096,
    "avg_ts": 60.0,
    "samples_ts": [50.0, 70.0],
    "a_field_of_tomorrow": {"nested": [1]},
}


def install(folder, types=("f16", "q8_0", "q4_0")):
    """Write the program into ``folder``; it knows these types of the cache."""
    source = PROGRAM.format(python=sys.executable, golden=str(GOLDEN), types=set(types))
    return program(folder, source)


def program(folder, source):
    """Write any program under the name of llama-bench."""
    folder.mkdir()
    path = folder / "llama-bench"
    path.write_text(source)
    path.chmod(0o755)
    return path
