"""``farm doctor`` here: its findings, its bundle, and that nobody is named in it."""

from __future__ import annotations

import getpass
import io
import json
import socket
from pathlib import Path

import pytest

from db import queries
from db.engine import open_database
from farm.__main__ import main
from farm.campaign.doctor import Chart
from farm.exchange import bundle

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """Let the doctor look at this machine once; return the status and the bundle's path."""
    folder = tmp_path_factory.mktemp("doctor")
    inventory = f"subject: {{repository: {REPOSITORY}}}\nhosts:\n  secret-name: {{local: true}}\n"
    (folder / "inventory.yaml").write_text(inventory)
    path = folder / "doctor.zip"
    options = ["--inventory", str(folder / "inventory.yaml"), "--bundle", str(path), "--yes"]
    return main(["doctor", "secret-name", *options]), path


@pytest.mark.slow
def test_this_machine_computes_what_it_must(sent):
    status, path = sent
    assert status == 0
    found = bundle.read(path).manifest.doctor
    assert found is not None
    states = {finding.name: finding.state for finding in found.findings}
    assert states.pop("kernels of the suites") in {"well", "skipped"}
    assert set(states.values()) <= {"well", "doubtful"}
    assert found.raw is not None
    assert len(found.canaries) == 5


@pytest.mark.slow
def test_the_bundle_names_nobody(sent):
    read = bundle.read(sent[1])
    text = read.manifest.model_dump_json() + json.dumps([r.model_dump_json() for r in read.records])
    assert "secret-name" not in text
    for name in {getpass.getuser(), socket.gethostname()} - {"root", "vm", "runner"}:
        assert name not in text


@pytest.mark.slow
def test_the_bundle_is_imported_with_its_findings(sent, tmp_path, capsys):
    database = str(tmp_path / "farm.db")
    assert main(["import", str(sent[1]), "--db", database, "--origin", "tester"]) == 0
    said = capsys.readouterr()
    assert "4 records stored" in said.out
    (run,) = queries.runs(open_database(database))
    assert run.id.startswith("doctor-")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Be in a folder with a small subject, where the doctor finds nothing and takes no time."""
    monkeypatch.setattr("farm.campaign.doctor.examine", lambda patient, begin: Chart())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turbo").mkdir()
    (tmp_path / "turbo" / "__init__.py").write_text("")
    (tmp_path / "inventory.yaml").write_text("subject: {repository: ., path: turbo}\n")
    return tmp_path


@pytest.mark.parametrize(("answer", "written"), [("yes\n", True), ("\n", False), ("", False)])
def test_a_bundle_is_shown_and_written_after_a_yes_alone(
    shop, capsys, monkeypatch, answer, written
):
    said = io.StringIO(answer)
    monkeypatch.setattr(said, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", said)
    assert main(["doctor", "--bundle", "d.zip"]) == 0
    assert "All that d.zip will hold" in capsys.readouterr().err
    assert (shop / "d.zip").exists() == written


def test_where_nobody_can_say_yes_it_is_asked_for_before_anything_is_done(shop, capsys):
    assert main(["doctor", "--bundle", "d.zip"]) == 2
    said = capsys.readouterr().err
    assert "nobody is here to say yes to it; add --yes" in said
    assert "will hold" not in said


def test_several_hosts_are_not_looked_over_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turbo").mkdir()
    (tmp_path / "inventory.yaml").write_text(
        "subject: {repository: ., path: turbo}\ngroups: {both: [a, b]}\n"
        "hosts:\n  a: {local: true}\n  b: {address: b.example}\n"
    )
    assert main(["doctor", "both"]) == 2
    assert "host 'both': is several hosts; name one of them" in capsys.readouterr().err


def test_a_host_that_cannot_be_reached_has_failed(shop, capsys):
    with (shop / "inventory.yaml").open("a") as file:
        file.write("hosts:\n  mini: {address: 127.0.0.1, port: 1}\n")
    assert main(["doctor", "mini"]) == 3
    assert "host 'mini' (127.0.0.1, port 1): " in capsys.readouterr().err
