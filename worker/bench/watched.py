"""Run a command of mlx-lm's or ours that says what it holds in memory when it is asked.

``python watched.py FILE PROGRAM ARGUMENTS...``, run by the environment that `worker.bench.serving`
makes; it knows nothing of this project. At SIGUSR1 it adds a line of JSON to the file.
"""

import gc
import json
import runpy
import signal
import sys
from pathlib import Path

import mlx.core as mx
from mlx_lm.models.cache import LRUPromptCache


def main() -> None:
    """Run the program, a script of Python's, as if it had been called."""
    file, program, *rest = sys.argv[1:]
    signal.signal(signal.SIGUSR1, lambda *_: _tell(Path(file)))
    sys.argv = [program, *rest]
    runpy.run_path(program, run_name="__main__")


def _tell(file: Path) -> None:
    """Write bytes and tokens of the states in prompt caches, and the bytes of all arrays."""
    entries = [each for each in gc.get_objects() if type(each) is LRUPromptCache.CacheEntry]
    layers = [layer for entry in entries for layer in entry.prompt_cache]
    held = {
        "states": len(entries),
        "tokens": sum(max(int(layer.offset) for layer in each.prompt_cache) for each in entries),
        "bytes": sum(int(layer.nbytes) for layer in layers),
        "active": mx.get_active_memory(),
    }
    with file.open("a") as lines:
        lines.write(json.dumps(held) + "\n")


if __name__ == "__main__":
    main()
