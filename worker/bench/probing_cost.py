"""What knowing the machine costs: a probe, a canary, and sampling while a job is timed.

    python -m worker.bench.probing_cost

The processor time of the whole process is measured while it does nothing but sample, so the figure
is that of the sampling; a meter (macmon, nvidia-smi) is a process of its own and counted too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from worker.build import files_hash
from worker.job import Build, Cell, Job, Order
from worker.machine import canary
from worker.machine.canary import History
from worker.machine.environment import probe
from worker.machine.watch import Watch
from worker.process.launch import launch

SECONDS = 20.0
TRIALS = 15


def quantiles(work: Callable[[], object]) -> str:
    """Time some calls: median and worst, in milliseconds."""
    times = []
    for _ in range(TRIALS):
        started = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - started))
    return f"median {statistics.median(times):6.1f} ms, worst {max(times):6.1f} ms"


def spent() -> float:
    """Return processor time of this process and its living children, in seconds."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def sampling_cost() -> float:
    """Return the cores that sampling uses."""
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(probe(), History(Path(folder) / "canaries.json", "here"), probe)
        watch.start()
        before, began = spent(), time.perf_counter()
        time.sleep(SECONDS)
        used = (spent() - before) / (time.perf_counter() - began)
        watch.stop()
    return used


def coordinating_cost() -> tuple[float, float]:
    """Return the cores that the launching process uses while a job runs, and the job's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        name = files_hash([("__init__.py", b"")])
        (Path(folder) / "builds" / name / "turbo").mkdir(parents=True)
        (Path(folder) / "builds" / name / "turbo" / "__init__.py").touch()
        cell = Cell(benchmark="bandwidth", params={"megabytes": 256, "trials": 10})
        job = Job(run="cost", host="here", build=Build(hash=name), cell=cell)
        before = time.process_time()
        record = launch(Order(job=job), Path(folder) / "builds", Path(folder) / "lock")
        used = time.process_time() - before
    if record.failure:
        raise SystemExit(record.failure.message)
    measured = record.phases["measure"]
    return used / measured, measured


if __name__ == "__main__":
    started = time.perf_counter()
    probe()
    print(f"first probe, with MLX {1e3 * (time.perf_counter() - started):.1f} ms")
    print(f"probe    {quantiles(probe)}")
    print(f"canary   {quantiles(canary.measure)}")
    print(f"sampling {sampling_cost():.3%} of a core over {SECONDS:.0f} s")
    used, seconds = coordinating_cost()
    print(f"launching {used:.3%} of a core over a job of {seconds:.0f} s")
