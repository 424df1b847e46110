"""What is held on a host ends with whoever asked for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

CHILD = "import os,time; os.setsid(); print('grown', flush=True); time.sleep(600)"
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}])
time.sleep(600)
"""


@pytest.fixture
def hold():
    """Hold a command; return the holder, its folder and its output after that."""
    started = []

    def begin(code, **files):
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.process.hold"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        command = [sys.executable, "-c", code]
        wish = {"command": command, "environment": {"SECRETS": "{folder}/x"}, "files": files}
        process.stdin.write(json.dumps(wish).encode() + b"\n")
        process.stdin.flush()
        return process, Path(process.stdout.readline().decode().strip())

    yield begin
    for process in started:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def living(folder):
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TURBOFARM_HELD") == str(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_the_command_finds_its_secrets_in_a_folder_of_its_own(hold):
    code = "import os; print(open(os.environ['SECRETS']).read(), flush=True)"
    process, folder = hold(code, x="a secret")
    assert process.stdout.readline() == b"a secret\n"
    assert process.wait() == 0
    assert not folder.exists()


def test_secrets_are_readable_by_their_user_only(hold):
    process, folder = hold("import time; print(1, flush=True); time.sleep(600)", x="a secret")
    assert process.stdout.readline() == b"1\n"
    assert (folder / "x").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_once_standard_input_is_closed_not_even_in_another_session(hold):
    process, folder = hold(PARENT, x="a secret")
    assert process.stdout.readline() == b"grown\n"
    assert len(living(folder)) == 2
    process.stdin.close()
    process.wait()
    assert living(folder) == []
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_is_left_once_a_signal_ends_the_holder_however_early(hold, number):
    # At the latest when the folder has its name, as its path is said then.
    process, folder = hold("import time; time.sleep(600)")
    os.kill(process.pid, number)
    assert process.wait() == 0
    assert living(folder) == []
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_an_orphan_that_hides_its_environment_ends_with_the_command(hold, tmp_path):
    # As agents of Ray do, which write a title over it, and would keep their ports.
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}], env={{}})\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    )
    process, folder = hold(code)
    process.wait()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert not folder.exists()


@pytest.mark.slow
def test_what_a_killed_holder_left_goes_with_the_next_one(hold):
    process, folder = hold(PARENT)
    assert process.stdout.readline() == b"grown\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert folder.exists()
    after, _ = hold("pass")
    after.wait()
    assert living(folder) == []
    assert not folder.exists()
