"""What a busy machine does to figures: ``python -m farm.bench.busy runs|ways|gates|bytes``.

``runs``: the default suite on the quiet machine and with one core taken by this script, so many
times each; minutes, what counts, ratios to fp16. ``ways``: the same ratio from a fresh process for
each cache and round, and from rounds of both caches in one process. ``gates``: equal builds, values
scaled by 1.02 and decode slowed by 8 %, with and without the load. ``bytes``: the memory benchmark
in many fresh processes, quiet and busy; which figures differ, and how often. Each prints a table;
what the terminal showed is kept with ``--keep FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from farm.bench.end_to_end import Repository
from farm.bench.terminal import Watch, run
from farm.report.forecast import clock
from farm.report.table import aligned
from worker.metrics import METRICS

ROOT = Path(__file__).parents[2]
TURBO = ROOT / "worker" / "turbo"
RATIOS = {
    "k8v4": {"key_bits": 8, "value_bits": 4},
    "k4v4": {"key_bits": 4, "value_bits": 4},
}
SCALED = """
_plain = TurboKVCache.update_and_fetch
TurboKVCache.update_and_fetch = lambda self, k, v: _plain(self, k, v * 1.02)
"""
EXACT_SUITE = """
description: what no load can change
models: [reference]
caches: {turbo: {kind: turbo, key_bits: 4, value_bits: 4}}
cells:
  - {benchmark: memory, contexts: [1024]}
  - {benchmark: divergence, contexts: [512], params: {positions: 64}}
  - {benchmark: perplexity, contexts: [512]}
"""
SLOW_SUITE = """
description: a build with itself slowed by 8 %
models: [reference]
injection: {share: 0.08}
caches: {turbo: {kind: turbo, key_bits: 4, value_bits: 4}}
cells:
  - {benchmark: decode, contexts: [512], params: {tokens: 32, trials: 3}}
"""


@contextmanager
def load(cores: int) -> Iterator[None]:
    """Keep so many cores busy all the time."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


class Place:
    """A folder with an inventory; what each command showed is kept in ``keep``."""

    def __init__(self, folder: Path, repository: Path, path: str, keep: Path | None) -> None:
        self.folder, self.keep = folder, keep
        subject = f"subject: {{repository: {repository}, path: {path}}}\n"
        (folder / "inventory.yaml").write_text(subject)

    def farm(
        self, name: str, *arguments: str, watch: Watch | None = None
    ) -> tuple[int, str, float]:
        """Run a command of the farm; return its exit code, its output and the seconds."""
        command = [sys.executable, "-m", "farm", *arguments]
        shown = run(command, self.folder, _environment(), watch)
        if self.keep:
            self.keep.mkdir(parents=True, exist_ok=True)
            (self.keep / f"{name}.txt").write_text(shown.terminal)
        return shown.code, shown.output, shown.seconds


def _environment() -> dict[str, str]:

    return os.environ | {"PYTHONPATH": str(ROOT)}


def runs(times: int, cores: int, keep: Path | None) -> None:
    """Measure the default suite, quiet and busy in turn."""
    rows: list[list[str]] = []
    ratios: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), ROOT, "worker/turbo", keep)
        for number in range(times):
            for state, taken in (("quiet", 0), ("busy", cores)):
                with load(taken):
                    code, output, seconds = place.farm(f"run-{state}-{number}", "run", "--json")
                summary = json.loads(output.splitlines()[-1])["summary"]
                found = _ratios(summary)
                for title, ratio in found.items():
                    ratios.setdefault((state, title), []).append(ratio["value"])
                rows.append([state, str(number), str(code), clock(seconds), *_counting(summary),
                             *(_shown(found.get(title)) for title in _TITLES)])  # fmt: skip
                print(*rows[-1], sep=" | ", flush=True)
    header = ["state", "run", "exit", "time", "exact counted", "timed counted", *_TITLES]
    print(aligned(header, rows), end="\n\n")
    print(aligned(["ratio", "quiet", "busy, farthest", "off by"], [*_apart(ratios)]))


_TITLES = [f"{metric} {cache}" for metric in ("generation_tps", "prompt_tps") for cache in RATIOS]


def _counting(summary: dict[str, Any]) -> list[str]:
    """Return how many exact and how many timed figures count, of how many."""
    told = []
    for exact in (True, False):
        some = [one for one in summary["figures"] if METRICS[one["metric"]].exact is exact]
        told.append(f"{sum(one['counts'] for one in some)} of {len(some)}")
    return told


def _ratios(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{one['metric']} {cache}": one["ratio"]
        for one in summary["figures"]
        for cache, params in RATIOS.items()
        if one["ratio"] and (one["cell"]["cache"] or {}).get("params") == params
    }


def _shown(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return "-"
    mark = "" if ratio["counts"] else "*"
    return f"{ratio['value']:.3f}{mark} {ratio['low']:.3f} to {ratio['high']:.3f}"


def _apart(ratios: dict[tuple[str, str], list[float]]) -> Iterator[list[str]]:
    """Compare the busy runs' ratios with the median of the quiet ones."""
    for title in _TITLES:
        quiet, busy = (ratios.get((state, title), []) for state in ("quiet", "busy"))
        if quiet and busy:
            level = median(quiet)
            farthest = max(busy, key=lambda ratio: abs(ratio / level - 1))
            off = f"{farthest / level - 1:+.1%}"
            yield [title, f"{level:.3f}", f"{farthest:.3f}", off]


IN_ONE = """
import json, random, sys, time
import mlx.core as mx
from worker import registry
from worker.generation import generate, held_out, prefill, rewind
sys.path.append("{root}/worker")  # where the subject is, as a host has its build
model, tokenizer = registry.load_model(registry.entries("benchmarks")["decode"], "reference")
kinds = {{"fp16": ("fp16", {{}}), "k4v4": ("turbo", {params})}}
prompt, filled, speeds = held_out(tokenizer, 1024), {{}}, {{name: [] for name in kinds}}
for name, (kind, params) in kinds.items():
    params = registry.entries("caches")[kind].defaults | params
    cache = registry.load("caches", kind).make_cache(model, **params)
    prefill(model, prompt[:-1], cache)
    filled[name] = rewind(cache, 1023)
for number in range(-1, {rounds}):
    for name in random.sample(list(kinds), 2):
        cache = filled[name]()
        mx.synchronize()
        begun = time.perf_counter()
        for _ in generate(model, prompt[-1], 32, cache):
            pass
        if number >= 0:
            speeds[name].append(32 / (time.perf_counter() - begun))
print(json.dumps([b / a for a, b in zip(speeds["fp16"], speeds["k4v4"])]))
"""

TWO_SUITE = """
description: two caches in rounds
models: [reference]
rounds: {rounds}
caches: {{fp16: {{kind: fp16}}, k4v4: {{kind: turbo, key_bits: 4, value_bits: 4}}}}
cells:
  - {{benchmark: decode, contexts: [1024], params: {{tokens: 32, trials: 1}}}}
"""


def ways(times: int, cores: int, keep: Path | None) -> None:
    """Ask both ways for K4V4's decode over fp16's, three rounds a time, quiet and busy in turn."""
    rounds, found = 3, dict[tuple[str, str], list[tuple[float, float]]]()
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), ROOT, "worker/turbo", keep)
        (place.folder / "two.yaml").write_text(TWO_SUITE.format(rounds=rounds))
        script = IN_ONE.format(params=RATIOS["k4v4"], rounds=rounds, root=ROOT)
        for _ in range(times):
            for state, taken in (("quiet", 0), ("busy", cores)):
                with load(taken):
                    command = ("run", "--suite", "two.yaml", "--json", "--anyway", "--again", "0")
                    _, output, seconds = place.farm(f"ways-{state}", *command)
                    summary = json.loads(output.splitlines()[-1])["summary"]
                    ratio = _ratios(summary)["generation_tps k4v4"]["value"]
                    found.setdefault((state, "a process a round"), []).append((ratio, seconds))
                    begun = time.perf_counter()
                    inside = json.loads(
                        subprocess.run(
                            [sys.executable, "-c", script], env=_environment(), cwd=place.folder,
                            capture_output=True, text=True, check=True,
                        ).stdout
                    )  # fmt: skip
                    seconds = time.perf_counter() - begun
                    found.setdefault((state, "one process"), []).append((median(inside), seconds))
    rows = [[*key, *_spread(values)] for key, values in sorted(found.items())]
    print(aligned(["state", "way", "median", "lowest", "highest", "seconds"], rows))


def _spread(values: Sequence[tuple[float, float]]) -> list[str]:
    ratios, seconds = zip(*values, strict=True)
    told = [f"{figure:.3f}" for figure in (median(ratios), min(ratios), max(ratios))]
    return [*told, f"{median(seconds):.1f}"]


def gates(times: int, cores: int, keep: Path | None, only: str) -> None:
    """Gate equal, wrong and slower builds, with the load where load must not matter."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        equal, scaled = _commits(root / "repository")
        place = Place(root, root / "repository", "turbo", keep)
        (root / "exact.yaml").write_text(EXACT_SUITE)
        (root / "slow.yaml").write_text(SLOW_SUITE)
        steps = {
            "equal, bytes and quality": (cores, [*equal, "--suite", "exact.yaml"]),
            "values times 1.02": (cores, [*scaled, "--suite", "exact.yaml"]),
            "speeds on the busy machine": (cores, [*equal, "--suite", "gate"]),
            "decode slowed by 8 %": (0, [equal[0], "--suite", "slow.yaml"]),
        }
        for number in range(times):
            for title, (taken, arguments) in steps.items():
                if only not in title:
                    continue
                with load(taken):
                    command = ("gate", *arguments, "--json", "verdict.json")
                    code, _, seconds = place.farm(f"gate-{title}-{number}", *command)
                rows.append([title, f"{taken} cores taken", str(code), clock(seconds),
                             *_verdict(root / "verdict.json")])  # fmt: skip
                print(*rows[-1], sep=" | ", flush=True)
    print(aligned(["gate", "load", "exit", "time", "verdict", "pairs", "series"], rows))


def beginning(root: Path) -> Repository:
    """Make a repository with this checkout's cache, not yet committed."""
    repository = Repository(root)
    root.mkdir()
    repository.git("init", "-qb", "main")
    repository.git("config", "user.email", "farm@example.org")
    repository.git("config", "user.name", "farm")
    shutil.copytree(TURBO, root / "turbo", ignore=shutil.ignore_patterns("__pycache__", "bench"))
    return repository


def _commits(root: Path) -> tuple[list[str], list[str]]:
    """Make commits of this checkout's cache; return pairs of base and head: equal, and scaled."""
    repository = beginning(root)
    package = root / "turbo" / "__init__.py"
    base = repository.commit("the cache")
    package.write_text(package.read_text() + "# nothing that matters\n")
    same = repository.commit("a comment")
    package.write_text(package.read_text() + SCALED)
    return [base, same], [base, repository.commit("values times 1.02")]


def _verdict(path: Path) -> list[str]:
    document = json.loads(path.read_text())
    pairs = sum(one["pairs_used"] for one in document["series"])
    told = [f"{one['metric'] or 'cell'} {one['verdict']}" for one in document["series"]]
    return [document["verdict"], str(pairs), ", ".join(told)]


BYTES_SUITE = """
description: the memory benchmark again and again
models: [reference]
rounds: 5
caches:
  fp16: {kind: fp16}
  turbo: {kind: turbo, key_bits: 4, value_bits: 4}
cells:
  - {benchmark: memory, contexts: [1024]}
"""


def repeated_bytes(times: int, cores: int, keep: Path | None) -> None:
    """Measure bytes in five fresh processes of each cache a time, quiet and busy in turn."""
    found: dict[tuple[str, str], Counter[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), ROOT, "worker/turbo", keep)
        (place.folder / "bytes.yaml").write_text(BYTES_SUITE)
        for number in range(times):
            for taken in (0, cores):
                with load(taken):
                    command = ("run", "--suite", "bytes.yaml", "--json", "--anyway")
                    _, output, _ = place.farm(f"bytes-{taken}-{number}", *command)
                for line in output.splitlines()[:-1]:
                    record = json.loads(line)
                    for sample in record["samples"]:
                        kind = record["job"]["cell"]["cache"]["name"]
                        figures = found.setdefault((kind, sample["metric"]), Counter())
                        figures[sample["value"]] += 1
    rows = [
        [*key, str(figures.total()), str(len(figures)), f"{max(figures) / min(figures) - 1:.2%}"]
        for key, figures in found.items()
    ]
    print(aligned(["cache", "metric", "processes", "values", "farthest apart"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("runs", "ways", "gates", "bytes"))
    parser.add_argument("--times", type=int, default=5, help="of each (default: 5)")
    parser.add_argument("--cores", type=int, default=1, help="that the load takes (default: 1)")
    parser.add_argument("--keep", type=Path, help="folder for what the terminal showed")
    parser.add_argument("--only", default="", help="the gates whose title has this word")
    args = parser.parse_args()
    if args.what == "gates":
        gates(args.times, args.cores, args.keep, args.only)
    else:
        asked = {"runs": runs, "ways": ways, "bytes": repeated_bytes}
        asked[args.what](args.times, args.cores, args.keep)


if __name__ == "__main__":
    main()
