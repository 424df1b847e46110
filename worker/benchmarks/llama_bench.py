"""llama.cpp beside MLX: its own llama-bench, with the lengths of our prefill and decode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from worker import llama_cpp
from worker.caches.llama_cpp import Types
from worker.llama_cpp import LlamaOutputError, Test
from worker.machine import programs
from worker.record import Sample
from worker.refusal import RefusalError

SECONDS = 20.0
DEFAULTS = {"context": 512, "tokens": 128, "trials": 5, "binary": "llama-bench"}
LOADER = "gguf"

#: Names the program where it is not on PATH, without making another series of it.
VARIABLE = "TURBOFARM_LLAMA_BENCH"
#: Where Homebrew puts programs; a session over SSH does not have these on its PATH.
FOLDERS = ("/opt/homebrew/bin", "/usr/local/bin")
#: What of a test's facts describes the program and not the test.
ABOUT = ("build_commit", "build_number", "backends", "cpu_info", "gpu_info", "n_threads")
OF_MODEL = ("model_type", "model_size", "model_n_params", "flash_attn")
#: How much of the program's last words a refusal repeats, in lines.
LAST_WORDS = 3


def run(
    model: str,
    tokenizer: None,
    make_cache: Callable[[], list[Types]],
    *,
    context: int,
    tokens: int,
    trials: int,
    binary: str,
) -> Iterator[Sample | dict[str, Any]]:
    """Let llama-bench read ``context`` tokens, then generate ``tokens`` after as many.

    Yields ``prompt_tps`` and ``generation_tps`` of each of ``trials`` repetitions (llama-bench
    warms up before), and ``kv_bytes_claimed`` of llama.cpp's log. Attention is flash attention,
    which quantized values need. Raises RefusalError for a program that is not there, a type that
    it does not know, and a model that it does not load.
    """
    del tokenizer
    (types,) = make_cache()
    program = _find(binary)
    known = _run([program, "--help"]).stdout
    command = [program, *_model(model, known), *_flash(known), "-o", "json"]
    command += ["-ctk", types.keys, "-ctv", types.values]
    yield from _cache(command, known, context, types)
    # As in our decode, the first token that is timed is the context's last.
    lengths = (["-p", f"{context}", "-n", "0"], ["-p", "0", "-n", f"{tokens}"])
    lengths[1].extend(["-d", f"{context - 1}"])
    for asked in lengths:
        *_, test = _tests([*command, *asked, "-r", f"{trials}"], types)
        yield {"llama_bench": {"program": program, **_about(test)}}
        yield from _samples(test)


def _find(binary: str) -> str:
    named = os.environ.get(VARIABLE, "") if binary == DEFAULTS["binary"] else ""
    wanted = os.path.expanduser(named or binary)  # noqa: PTH111  a name must stay a name
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *FOLDERS))
    found = shutil.which(wanted, path=path)
    if found is None:
        raise RefusalError(
            f"no program {wanted!r} on this host; install llama.cpp (brew install llama.cpp), or "
            f"name llama-bench in {VARIABLE} or by the parameter binary"
        )
    return found


def _model(model: str, known: str) -> list[str]:
    if model.endswith(".gguf"):
        return ["-m", model]
    if "--hf-repo" not in known:
        raise RefusalError(
            f"model {model!r}: this llama-bench fetches no models; get a newer one, or name a file"
        )
    return ["-hf", model]


def _flash(known: str) -> list[str]:
    """Ask for flash attention in the words of this version, if it has them."""
    option = re.search(r"--flash-attn +<(.*?)>", known)
    if option is None:
        return []
    return ["-fa", "on" if "on" in option[1].split("|") else "1"]


def _cache(command: list[str], known: str, context: int, types: Types) -> Iterator[Sample]:
    """Read the context once with the log on, which would slow what is timed."""
    once = ["-p", f"{context}", "-n", "0", "-r", "1", "-v"]
    once += ["--no-warmup"] if "--no-warmup" in known else []
    done = _measured([*command, *once], types)
    found = llama_cpp.kept(done.stderr)
    if found:
        types.said.update(keys=found.keys, values=found.values)
        yield Sample(metric="kv_bytes_claimed", value=found.size)
    types.said["changes"] = llama_cpp.changes(done.stderr)


def _tests(command: list[str], types: Types) -> list[Test]:
    done = _measured(command, types)
    try:
        return llama_cpp.tests(done.stdout)
    except LlamaOutputError as error:
        raise RefusalError(f"{command[0]} said what is not its JSON: {error}") from error


def _samples(test: Test) -> Iterator[Sample]:
    assert test.metric  # noqa: S101  asked for one or the other
    for trial, speed in enumerate(test.speeds):
        yield Sample(metric=test.metric, value=speed, trial=trial)
        if test.metric == "generation_tps":
            yield Sample(metric="tpot", value=1 / speed, trial=trial)


def _about(test: Test) -> dict[str, Any]:
    facts = {name: test.facts[name] for name in (*ABOUT, *OF_MODEL) if name in test.facts}
    version = f"b{facts.get('build_number', '?')} ({facts.get('build_commit', 'unknown commit')})"
    return {"version": version, **facts}


def _measured(command: list[str], types: Types) -> subprocess.CompletedProcess[str]:
    done = _run(command)
    if llama_cpp.refused_type(done.stderr + done.stdout):
        raise RefusalError(
            f"{command[0]} has no KV cache of type {types.keys!r} and {types.values!r}; take "
            "another type, or the build of a fork that has it"
        )
    if done.returncode:
        words = "; ".join(done.stderr.strip().splitlines()[-LAST_WORDS:]) or "no reason given"
        raise RefusalError(
            f"{command[0]} ended with status {done.returncode}: {words}; "
            f"see it by hand: {' '.join(command)}"
        )
    return done


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the program; it is killed with the job at its deadline, being of the same group."""
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
        programs.counted(process.pid),
    ):
        output, log = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, log)
