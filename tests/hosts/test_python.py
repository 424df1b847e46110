"""A host's Python and what is put there: found as people have it, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from farm.errors import HostError, HostRefusedError
from farm.hosts import bootstrap, python, transfer
from farm.hosts.ssh import shell
from farm.hosts.ssh.channel import Outcome
from farm.plan.inventory import Host

PYENV = Path("~/.pyenv/versions").expanduser()
CLT = """#!/bin/sh
echo "xcode-select: note: No developer tools were found, requesting install." >&2
echo "See man xcode-select for more details." >&2
exit 1
"""


PYENV_SHIM = """#!/bin/sh
echo "pyenv: python3: command not found" >&2
echo "The python3 command exists in these Python versions:" >&2
exit 127
"""


def pythons():
    """Return every Python of this machine that the farm promises to work with, the oldest first."""
    places = [*Path("/usr/bin").glob("python3.1[1-9]"), *PYENV.glob("3.1[1-9]*/bin/python3")]
    found = {}
    for place in [*places, Path(sys.executable)]:
        ask = [place, "-c", "import sys; print(*sys.version_info[:3])"]
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        found.setdefault(tuple(map(int, said.split())), place)
    return [str(place) for _, place in sorted(found.items())]


class Here:
    """A connection to this machine: commands run as they do over SSH, by a shell, in ``home``."""

    def __init__(self, home, path="/usr/bin:/bin", **host):
        self.name, self.home, self.path = "mini", home, path
        self.host = Host.model_validate({"address": "mini.local"} | host)

    def run(self, command, deadline, stdin=()):
        begun = time.time()
        done = subprocess.run(
            ["/bin/bash", "--norc", "-c", shell.line(command, "MARK")],
            input=b"".join(stdin),
            capture_output=True,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": self.path},
            timeout=deadline,
            check=False,
        )
        said = [shell.after("MARK", raw) for raw in (done.stdout, done.stderr)]
        return Outcome(done.returncode, *(raw.decode() for raw in said), begun)


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("path", pythons())
def test_files_arrive_with_every_python_from_3_11_0_on(tmp_path, path):
    (tmp_path / "one").write_bytes(b"1" * 100_000)
    (tmp_path / "two").write_bytes(b"")
    long = "worker/" + "a" * 120 + "/two"
    files = {"worker/one": tmp_path / "one", long: tmp_path / "two"}
    transfer.send(Here(tmp_path), path, "farm/harness/x", files)
    there = tmp_path / "farm" / "harness"
    assert (there / "x" / "worker" / "one").read_bytes() == b"1" * 100_000
    assert (there / "x" / long).read_bytes() == b""
    assert [one.name for one in there.iterdir()] == ["x"]


def test_a_load_that_ends_early_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "one").write_bytes(b"1" * 512)
    files = {"one": tmp_path / "one", "two": tmp_path / "one"}
    whole = b"".join(transfer._stream(files))
    for end in (0, 300, 512, 1024, 1024 + 300, 1536):
        here = Here(tmp_path)
        monkeypatch.setattr(transfer, "_told", lambda *_, end=end: [whole[:end]])
        with pytest.raises(HostError, match="'mini': "):
            transfer.send(here, sys.executable, "farm/wheels/x", files)
        assert list((tmp_path / "farm" / "wheels").iterdir()) == []


def test_what_a_power_cut_left_is_removed_a_day_later(tmp_path):
    left = [tmp_path / "farm" / "wheels" / f"unfinished-{age}" for age in ("old", "new")]
    for folder in left:
        folder.mkdir(parents=True)
    os.utime(left[0], (time.time() - 2 * 86400,) * 2)
    (tmp_path / "one").write_bytes(b"1")
    transfer.send(Here(tmp_path), sys.executable, "farm/wheels/x", {"one": tmp_path / "one"})
    assert [folder.exists() for folder in left] == [False, True]


def test_a_load_is_a_tar_file_that_others_can_read(tmp_path):
    (tmp_path / "one").write_bytes(b"x" * 700)
    whole = b"".join(transfer._stream({"a/one": tmp_path / "one"}))
    (tmp_path / "whole.tar").write_bytes(whole)
    with tarfile.open(tmp_path / "whole.tar") as tar:
        assert tar.extractfile("a/one").read() == b"x" * 700


def too_old(version):
    return f'#!/bin/sh\necho "$3 is Python {version}, too old" >&2; exit 1\n'


def test_a_newer_python_elsewhere_is_taken_where_the_first_one_is_too_old(tmp_path, monkeypatch):
    path = only(tmp_path / "bin", too_old("3.9.6"))
    monkeypatch.setattr(shell, "FOLDERS", "$HOME/.local/bin")
    own = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    newer = program(tmp_path / ".local" / "bin" / "python3", own)
    found = python.find(Here(tmp_path, path=path))
    assert found.path == str(newer)
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.skew == 0.0


def only(folder, text):
    """Return a PATH of a folder with a python3 that says this, and of what ``sh`` needs."""
    program(folder / "python3", text)
    for tool in ("sh", "env", "uname"):
        (folder / tool).symlink_to(shutil.which(tool))
    return str(folder)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (CLT, "xcode-select: note: No developer tools were found"),
        (too_old("3.9.6"), "is Python 3.9.6, too old"),
        (PYENV_SHIM, "pyenv: python3: command not found"),
    ],
)
def test_a_python_that_does_not_do_is_told_by_the_line_that_says_it(
    tmp_path, monkeypatch, said, words
):
    monkeypatch.setattr(shell, "FOLDERS", only(tmp_path / "bin", said))
    here = Here(tmp_path, path=str(tmp_path / "bin"), python=f"{tmp_path}/bin/python3")
    with pytest.raises(HostRefusedError, match="install Python 3.11 or newer") as caught:
        python.find(here)
    assert words in str(caught.value)


def test_tools_of_homebrew_and_of_the_user_are_found_although_sshd_s_path_has_them_not(tmp_path):
    program(tmp_path / ".local" / "bin" / "macmon", "#!/bin/sh\n")
    done = Here(tmp_path).run(["sh", "-c", "command -v macmon"], 60)
    assert done.output.strip() == str(tmp_path / ".local" / "bin" / "macmon")
    assert "/opt/homebrew/bin" in Here(tmp_path).run(["sh", "-c", "echo $PATH"], 60).output


def test_a_python_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HostRefusedError, match="python9: not found in"):
        python.find(Here(tmp_path, python="python9"))


@pytest.mark.skipif(len(pythons()) == 1, reason="this machine has one Python")
def test_environments_are_named_by_the_python_that_they_were_made_with(tmp_path):
    sites = [bootstrap.site(Here(tmp_path, python=path)) for path in pythons()[:2]]
    assert len({site.python for site in sites}) == 2
    assert len({site.harness for site in sites}) == 1


@pytest.mark.slow
def test_packages_that_cannot_be_installed_leave_no_environment_and_pip_says_why(
    tmp_path, monkeypatch
):
    lock = tmp_path / "lock.txt"
    lock.write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(bootstrap, "LOCK", lock)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "other-1.0-py3-none-any.whl").write_bytes(b"")
    here = Here(tmp_path, python=pythons()[0], wheels=str(tmp_path / "wheels"))
    site = bootstrap.site(here)
    step = next(one for one in bootstrap.steps(site, {}) if one.name == "environment")
    with pytest.raises(HostError, match="Could not find a version .*no-such-package") as caught:
        step.apply(lambda _: None)
    assert "package index" in str(caught.value)
    assert list((tmp_path / ".turbofarm" / "environments").iterdir()) == []


def tiny_wheel(folder):
    """Write a package of one file; return the line of a lock that pins it."""
    folder.mkdir()
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    about = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "HERE = True\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{about}/RECORD": record}.items():
            archive.writestr(name, text)
    return f"tiny==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_wheels_are_carried_and_installed_by_uv_where_the_host_has_it(tmp_path, monkeypatch, tool):
    lock = tmp_path / "lock.txt"
    lock.write_text(tiny_wheel(tmp_path / "wheels"))
    monkeypatch.setattr(bootstrap, "LOCK", lock)
    monkeypatch.setattr(shell, "FOLDERS", "$HOME/.local/bin")
    if tool == "uv":
        (tmp_path / ".local" / "bin").mkdir(parents=True)
        (tmp_path / ".local" / "bin" / "uv").symlink_to(Path(sys.executable).parent / "uv")
    here = Here(tmp_path, python=sys.executable, wheels=str(tmp_path / "wheels"))
    site = bootstrap.site(here)
    step = next(one for one in bootstrap.steps(site, {}) if one.name == "environment")
    told = []
    step.apply(told.append)
    assert told[-1].startswith("installing the packages")
    assert here.run([site.python, "-c", "import tiny"], 60).status == 0
    settings = (tmp_path / site.python).parents[1] / "pyvenv.cfg"
    assert ("uv =" in settings.read_text()) == (tool == "uv")


def test_the_harness_is_what_a_host_runs_and_nothing_else():
    names = set(bootstrap._harness())
    assert {"worker/run.py", "worker/process/serve.py", "worker/turbo/cache.py"} <= names
    assert not [name for name in names if name.endswith(".md") or "bench/" in name]
    assert not [name for name in names if "train" in name]


def test_the_harness_is_the_coordinator_s_whatever_lies_in_the_current_folder(tmp_path):
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    from worker.process import harness  # noqa: PLC0415

    done = subprocess.run(
        harness.command("worker.process.serve", str(tmp_path / "state")),
        env=harness.environment(),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == '{"ready":true}'
