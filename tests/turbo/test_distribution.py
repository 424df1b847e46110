"""The turbo cache as a distribution of its own: the very files that the farm measures."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import worker.turbo
from worker.build import tree_hash
from worker.turbo import state

SOURCE = Path(worker.turbo.__file__).parent
PROJECT = SOURCE.parents[1] / "packages" / "turbo_kv"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build wheel and sdist as pip would, but with what is installed."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(PROJECT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    wheel = next(built.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder)], check=True)
    return folder


def test_the_wheel_holds_the_files_that_the_farm_measures_and_nothing_of_the_farm(installed):
    assert tree_hash(installed / "turbo_kv") == tree_hash(SOURCE)
    about = next(installed.glob("*.dist-info")).name
    assert {path.name for path in installed.iterdir()} == {about, "turbo_kv"}
    assert not (installed / "turbo_kv" / "bench").exists()
    assert about.split("-")[1].startswith(f"{state.VERSION}.")


def test_the_sdist_is_whole(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "turbo_kv/codec.py"} <= names


def run(installed, folder, script):
    """Run Python beside the wheel's files, away from the project; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(installed), "PATH": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_the_wheel_runs_by_its_own_name(installed, tmp_path):
    said = run(
        installed,
        tmp_path,
        "import turbo_kv, sys; print(turbo_kv.__file__, 'worker' in sys.modules)",
    )
    assert said.split() == [str(installed / "turbo_kv" / "__init__.py"), "False"]


@pytest.mark.slow
def test_the_command_alone_says_what_it_can_do(installed, tmp_path):
    script = """
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="turbo-kv")
command.load()()
"""
    said = run(installed, tmp_path, script)
    assert "{generate,chat,server,cache_prompt,batch,vlm-generate,vlm-server}" in said
