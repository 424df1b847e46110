"""How often seeded disturbances make a job invalid, and how often an undisturbed job is rejected.

    python -m worker.bench.validity_trials --disturbed 40 --undisturbed 240

Every trial is a fresh process that probes, times its canary, works for a while under the sampler
and judges itself with the same code as ``worker.run``; kinds come in random order. Processor hog,
memory hog (page cache in a control group at its limit, needs root and version 1) and SIGSTOP are
real; clock jump, power mode and thermal level are injected into reading and probe.

Whatever else runs on the machine is a disturbance too, rightly flagged. So undisturbed trials are
also shown apart: those beside which, by the parent's own measure, nobody else ran.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import mlx.core as mx
import psutil
from scipy.stats import binomtest

from worker.machine.canary import History
from worker.machine.environment import probe
from worker.machine.readings import Moment, read
from worker.machine.reasons import Reason
from worker.machine.watch import Watch
from worker.record import Environment

WORK = 1.5  # seconds of timed work
STOPPED = 5.0  # seconds of SIGSTOP
GROUP = Path("/sys/fs/cgroup/memory/turbofarm_trials")
GROUP_LIMIT = 300 * 2**20
HOGS = {
    "cpu hog": "while True: pass",
    "memory hog": (
        "import itertools, os\n"
        "with open(r'{file}', 'rb') as file:\n"
        "    for _ in itertools.count():\n"
        # What another group has cached is not charged to this one.
        "        os.fsync(file.fileno())\n"
        "        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "        file.seek(0)\n"
        "        while file.read(2**20): pass\n"
    ),
}
INJECTED = ("clock jump", "power mode", "thermal level")
KINDS = (*HOGS, "SIGSTOP", *INJECTED)
# A disturbance that is flagged for another reason was not recognised.
OWN_REASON = {
    "cpu hog": {"busy", "busy for a second"},
    "memory hog": {"little memory", "waited for memory", "at its memory limit"},
    "SIGSTOP": {"stood still"},
    "clock jump": {"clock jumped"},
    "power mode": {"changed"},
    "thermal level": {"hot"},
}
ALONE = 0.1  # cores that others use beside a trial that counts as alone


def job(kind: str, folder: Path, seed: int) -> None:
    """Be one trial: print when the timed part begins, and at the end each reason on a line."""
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    asked: list[Environment] = []
    jump = rng.choice([-1, 1]) * rng.uniform(0.5, 3600)
    jumps_at = float("inf")

    def injected_probe() -> Environment:
        asked.append(probe())
        facts = asked[-1].facts | {"power_mode": "high", "thermal_level": "nominal"}
        if kind == "power mode" and len(asked) > 1:
            facts["power_mode"] = rng.choice(["automatic", "low"])
        if kind == "thermal level" and len(asked) > 1:
            facts["thermal_level"] = rng.choice(["moderate", "heavy", "trapping"])
        return asked[-1].model_copy(update={"facts": facts})

    def injected_reading() -> Moment:
        moment = read()
        jumped = kind == "clock jump" and moment.monotonic > jumps_at
        return replace(moment, wall=moment.wall + jump) if jumped else moment

    print("ready", flush=True)
    sys.stdin.readline()
    before = injected_probe()
    history = History(folder / "canaries.json", before.comparison_key)
    watch = Watch(before, history, injected_probe, reading=injected_reading)
    watch.start()
    print("timing", flush=True)
    jumps_at = time.monotonic() + WORK * rng.uniform(0.2, 0.8)
    work(WORK)
    watch.stop()
    print("\n".join(reason.model_dump_json() for reason in watch.reasons()))


def work(seconds: float) -> None:
    """Do small products, each evaluated, as a decoder does its steps."""
    matrix = mx.random.normal((128, 128))
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        mx.eval(matrix @ matrix)


def trial(kind: str, folder: Path, seed: int) -> tuple[list[Reason], float]:
    """Run one trial; return its reasons, and the cores that others used around it."""
    command = [sys.executable, __file__, "--job", kind, "--folder", str(folder)]
    with subprocess.Popen(
        [*command, "--seed", str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None  # noqa: S101  as asked for
        assert child.stdout is not None  # noqa: S101  as asked for
        child.stdout.readline()
        around = neighbours()
        with hog(kind, folder, child.pid):
            child.stdin.write("go\n")
            child.stdin.flush()
            child.stdout.readline()
            if kind == "SIGSTOP":
                stop(child.pid, WORK * (seed % 64 + 4) / 100)
            lines = child.stdout.read().splitlines()
    reasons = [Reason.model_validate_json(line) for line in lines]
    return reasons, max(around, neighbours())


def neighbours(seconds: float = 0.3) -> float:
    """Measure the cores in use while this process and its child wait."""
    before, began = busy(), time.monotonic()
    time.sleep(seconds)
    return (busy() - before) / (time.monotonic() - began)


def busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def stop(pid: int, delay: float) -> None:
    time.sleep(delay)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED)
    os.kill(pid, signal.SIGCONT)


@contextmanager
def hog(kind: str, folder: Path, pid: int) -> Iterator[None]:
    """Run the hog of this kind, if it has one, beside the process ``pid``."""
    if kind not in HOGS:
        yield
        return
    file = folder / "file"
    source = HOGS[kind].format(file=file)
    with group(pid, file) if kind == "memory hog" else nowhere() as procs:
        hogging = subprocess.Popen([sys.executable, "-c", source])
        procs.write(f"{hogging.pid}\n")
        procs.flush()
        time.sleep(0.5)
        try:
            yield
        finally:
            hogging.kill()
            hogging.wait()


@contextmanager
def nowhere() -> Iterator[IO[str]]:
    with Path(os.devnull).open("w") as sink:
        yield sink


@contextmanager
def group(pid: int, file: Path) -> Iterator[IO[str]]:
    """Put the process into a control group of little memory; a larger file is there to read."""
    if not file.exists():
        file.write_bytes(os.urandom(2**20) * (3 * GROUP_LIMIT // 2 // 2**20))
    GROUP.mkdir(exist_ok=True)
    (GROUP / "memory.limit_in_bytes").write_text(str(GROUP_LIMIT))
    with (GROUP / "cgroup.procs").open("w") as procs:
        procs.write(f"{pid}\n")
        procs.flush()
        yield procs


def share(hits: int, total: int) -> str:
    """Give a share with its exact 95 % confidence interval."""
    if total == 0:
        return "none"
    low, high = binomtest(hits, total).proportion_ci()
    return f"{hits:4d} of {total:4d}  {hits / total:6.1%}  [{low:.1%}, {high:.1%}]"


def main(disturbed: int, undisturbed: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    kinds = [kind for kind in KINDS for _ in range(disturbed)] + ["none"] * undisturbed
    rng.shuffle(kinds)
    outcomes: dict[str, list[tuple[list[Reason], float]]] = {kind: [] for kind in (*KINDS, "none")}
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(kinds):
            outcomes[kind].append(trial(kind, Path(folder), rng.randrange(2**32)))
            print(f"{number + 1}/{len(kinds)} {kind}: {outcomes[kind][-1]}", file=sys.stderr)
    for kind in KINDS:
        named = sum(
            any(r.kind in OWN_REASON[kind] for r in reasons) for reasons, _ in outcomes[kind]
        )
        print(
            f"{kind:22} flagged  {share(*count(outcomes[kind]))}"
            f"   for that reason {share(named, len(outcomes[kind]))}"
        )
    every = [outcome for kind in KINDS for outcome in outcomes[kind]]
    print(f"{'all disturbances':22} flagged  {share(*count(every))}")
    quiet = [outcome for outcome in outcomes["none"] if outcome[1] <= ALONE]
    print(f"{'undisturbed':22} rejected {share(*count(outcomes['none']))}")
    print(f"{'undisturbed, alone':22} rejected {share(*count(quiet))}")
    why = Counter(reason.kind for r, _ in quiet for reason in r)
    print(f"reasons among those alone: {dict(why)}")


def count(outcomes: list[tuple[list[Reason], float]]) -> tuple[int, int]:
    return sum(bool(reasons) for reasons, _ in outcomes), len(outcomes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disturbed", type=int, default=40, help="trials of each kind")
    parser.add_argument("--undisturbed", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        job(args.job, args.folder, args.seed)
    else:
        main(args.disturbed, args.undisturbed, args.seed)
