"""A job in a process of its own: whatever happens to it, there is a record."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

import jobs
from worker.job import Order
from worker.process.launch import exclusive, launch
from worker.record import Record


@pytest.fixture
def run(tmp_path):
    def run(source, **changes):
        build = jobs.unpacked_build(tmp_path / "builds", source)
        return launch(Order(job=jobs.job(build, **changes)), tmp_path / "builds", tmp_path / "lock")

    return run


def test_a_job_that_crashes_leaves_a_record_with_the_signal_and_the_log(run):
    record = run(
        "import os, signal, sys\nprint('last words', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    assert record.status == "failed"
    assert record.failure.kind == "crash"
    assert "SIGSEGV" in record.failure.message
    assert "last words" in record.failure.log


@pytest.mark.slow
def test_a_killed_job_is_suspected_of_taking_too_much_memory(run):
    record = run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert "SIGKILL, perhaps for want of memory" in record.failure.message


@pytest.mark.slow
def test_a_job_that_exits_without_a_record_is_a_crash(run):
    record = run("import os\nos._exit(7)")
    assert "status 7" in record.failure.message


@pytest.mark.slow
def test_a_job_that_hangs_is_ended_at_its_deadline_with_all_its_children(run, tmp_path):
    pids = tmp_path / "pids"
    record = run(
        "import os, subprocess, time\n"
        f"child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)",
        deadline=15.0,
    )
    assert record.failure.kind == "deadline"
    assert "15 s" in record.failure.message
    for pid in pids.read_text().split():
        assert jobs.ended(int(pid))


@pytest.mark.slow
def test_an_exception_in_the_subject_is_told_with_its_traceback(run):
    record = run("raise RuntimeError('broken subject')")
    assert record.failure.kind == "exception"
    assert record.failure.message == "RuntimeError: broken subject"
    assert "Traceback" in record.failure.log


@pytest.mark.slow
def test_a_figure_that_is_none_fails_the_job_and_is_named(run):
    record = run("from worker.record import Sample\nSample(metric='kl', value=float('nan'))")
    assert record.failure.message == "kl is nan, no finite figure"


@pytest.mark.slow
def test_what_a_subject_prints_does_not_spoil_the_record(run):
    record = run("print('noise on standard output')\nraise RuntimeError('broken')")
    assert record.failure.message == "RuntimeError: broken"


@pytest.mark.slow
def test_a_build_with_other_bytes_than_its_name_is_refused(tmp_path):
    builds = tmp_path / "builds"
    build = jobs.unpacked_build(builds, "x = 1")
    (builds / build.hash / "turbo" / "__init__.py").write_text("x = 2")
    record = launch(Order(job=jobs.job(build)), builds, tmp_path / "lock")
    assert record.failure.kind == "refused"
    assert "delete it and run again" in record.failure.message


def test_an_absent_build_is_refused(tmp_path):
    record = launch(Order(job=jobs.job()), tmp_path / "builds", tmp_path / "lock")
    assert "is not on this host" in record.failure.message


def test_an_unknown_benchmark_is_refused_with_the_names_that_exist(run):
    record = run("", cell=jobs.job().cell.model_copy(update={"benchmark": "decoed"}))
    assert "decode" in record.failure.message


def test_a_record_names_the_bytes_that_ran_and_the_machine(run):
    record = run("raise RuntimeError('broken')")
    assert record.build_hash == record.job.build.hash
    assert record.environment.device != "unknown device"
    assert record.phases["start"] > 0


def test_waiting_for_another_job_on_the_machine_is_told(tmp_path):
    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda _: told.set()
    log = logging.getLogger("worker.process.launch")
    log.addHandler(handler)

    def second():
        with exclusive(tmp_path / "lock"):
            pass

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "lock"):
        thread.start()
        assert told.wait(10)
    thread.join(10)
    log.removeHandler(handler)
    assert not thread.is_alive()


def test_the_record_of_an_order_says_its_attempt_and_host_and_reads_back_as_it_was_written(
    tmp_path,
):
    build = jobs.unpacked_build(tmp_path / "builds", "")
    order = Order(job=jobs.job(build, host="m5"), attempt=2, host="mini")
    command = [sys.executable, "-m", "worker", "--builds", str(tmp_path / "builds")]
    told = subprocess.run(
        command, input=order.model_dump_json() + "\n", capture_output=True, text=True, check=True
    ).stdout.strip()
    record = Record.model_validate_json(told)
    assert (record.attempt, record.host, record.place) == (2, "mini", "mini")
    assert record.model_dump_json() == told


def test_a_bare_job_is_an_order_for_a_first_attempt():
    order = Order.model_validate_json(jobs.job().model_dump_json())
    assert order == Order(job=jobs.job(), attempt=1, host=None)
