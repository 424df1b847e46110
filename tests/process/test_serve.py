"""A session on a host: what it says, what it keeps, and that it ends with its coordinator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

import jobs


@pytest.fixture
def serve(tmp_path):
    def serve(*lines, start=("-m", "worker.process.serve"), **options):
        return subprocess.run(
            [sys.executable, *start, str(tmp_path)],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **options,
        )

    return serve


def said(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_session_ends_with_its_input_even_where_signals_were_blocked(serve):
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})

    done = serve(preexec_fn=block)
    assert (done.returncode, said(done)) == (0, [{"ready": True}])


def test_a_session_ends_even_where_the_first_signal_wakes_nobody(serve):
    # One that comes as a thread is about to wait: 27 of 498,000 did, on a busy machine.
    code = (
        "import os; from worker.process import serve\n"
        "kill, lost = os.kill, []\n"
        "os.kill = lambda *one: kill(*one) if lost else lost.append(one)\n"
        "serve.main()\n"
    )
    done = serve("{}", start=("-c", code))
    assert (done.returncode, said(done), done.stderr) == (0, [{"ready": True}, {}], "")


@pytest.mark.parametrize("line", ["nojson", "5", '{"job": 1}', '{"acknowledge": "a/b\\u0000"}'])
def test_a_session_ends_at_a_line_that_is_none(serve, line):
    done = serve(line, "{}")
    assert (done.returncode, said(done)) == (0, [{"ready": True}])
    assert "Error" in done.stderr


def test_a_sign_of_life_is_answered(serve):
    assert said(serve("{}", "{}")) == [{"ready": True}, {}, {}]


def test_what_was_kept_is_said_first_and_until_it_is_acknowledged(serve, tmp_path):
    record = jobs.record()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / f"{record.name}.json").write_text(record.model_dump_json())
    again = {"record": json.loads(record.model_dump_json())}
    assert said(serve()) == [again, {"ready": True}]
    assert said(serve(json.dumps({"acknowledge": record.name}))) == [again, {"ready": True}]
    assert said(serve()) == [{"ready": True}]


def test_what_is_no_record_of_this_version_is_put_aside(serve, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old-1.json").write_text('{"version": 99}')
    assert said(serve()) == [{"ready": True}]
    assert (tmp_path / "kept" / "old-1.unreadable").read_text() == '{"version": 99}'
