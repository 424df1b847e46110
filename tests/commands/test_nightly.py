"""``farm nightly --launchd``: the night as a timetable of a Mac."""

import plistlib

import pytest

from farm.__main__ import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with an inventory and a suite."""
    (tmp_path / "inventory.yaml").write_text("hosts: {mini: {local: true}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_daemon_runs_the_same_night_every_day_and_is_not_throttled(folder, capsys):
    assert main(["nightly", "--branch", "main", "--host", "mini", "--launchd", "02:30"]) == 0
    service = plistlib.loads(capsys.readouterr().out.encode())
    assert service["StartCalendarInterval"] == {"Hour": 2, "Minute": 30}
    assert service["ProcessType"] == "Interactive"
    assert service["WorkingDirectory"] == str(folder)
    assert service["StandardErrorPath"] == str(folder / ".farm" / "nightly.err")
    assert (folder / ".farm").is_dir()
    assert "KeepAlive" not in service
    words = service["ProgramArguments"]
    assert words[1:6] == ["-m", "farm", "nightly", "--branch", "main"]
    assert main([*words[3:], "--launchd", "02:30"]) == 0
    again = plistlib.loads(capsys.readouterr().out.encode())
    assert again == service


@pytest.mark.parametrize(
    "wrong", [["--suite", "none"], ["--host", "none"], ["--inventory", "none.yaml"]]
)
def test_what_would_fail_at_night_fails_now(folder, wrong, capsys):
    assert main(["nightly", *wrong, "--launchd", "02:30"]) == 2
    assert capsys.readouterr().out == ""


def test_a_time_that_is_none_is_refused(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["nightly", "--launchd", "25:00"])
    assert ended.value.code == 2
    assert "'25:00' is no time; give one as 02:30" in capsys.readouterr().err
