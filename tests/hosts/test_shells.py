"""Login shells and start-up files as people have them: passed over, or one host's trouble."""

from __future__ import annotations

import json

import pytest

from lab import SUITE, lab, need

pytestmark = pytest.mark.network_namespaces

#: Each host's shell, and its start-up file with what that prints.
SHELLS = {
    "bash": ("/bin/bash", ".bashrc", b"echo 'Welcome to mini!'\nprintf 'and no end'\n"),
    "zsh": ("/usr/bin/zsh", ".zshenv", b"echo zsh says hi\n"),
    "fish": ("/usr/bin/fish", ".config/fish/config.fish", b"echo fastfetch here\n"),
    "tcsh": ("/usr/bin/tcsh", ".tcshrc", b"echo tcsh says hi\n"),
    "latin": ("/bin/bash", ".bashrc", b"printf 'Gr\xfc\xdfe\\n'; printf '\xe9\xe8\\n' >&2\n"),
    "json": ("/bin/bash", ".bashrc", b"echo '{\"ready\": true}'\n"),
}
REFUSED = {
    "nologin": ("/usr/sbin/nologin", {}, "", "This account is currently not available"),
    "forced": ("/bin/bash", {}, "ForceCommand echo none but git\n", "none but git"),
    "exits": ("/bin/bash", {".bashrc": b"echo out of order; exit 7\n"}, "", "out of order"),
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    need("zsh", "fish", "tcsh")
    folder = tmp_path_factory.mktemp("shells")
    (folder / "mine.yaml").write_text(SUITE)
    with lab(folder, [*SHELLS, *REFUSED]) as made:
        for name, (shell, path, text) in SHELLS.items():
            made.dress(name, shell, files={path: text})
        for name, (shell, files, sshd, _) in REFUSED.items():
            made.dress(name, shell, sshd, files)
        assert finish(made.quick("hosts", "trust", "--yes"))[0] == 0
        yield made


def finish(process):
    output, errors = process.communicate()
    assert "Traceback" not in output + errors
    return process.returncode, output, errors


def test_every_shell_runs_our_commands_and_what_runs_none_is_told_with_what_it_says(hosts):
    status, output, _ = finish(hosts.quick("hosts", "check", "--json"))
    found = {row["host"]: row for row in json.loads(output)}
    assert status == 3
    for name in SHELLS:
        assert found[name]["state"] == "to bring up", found[name]
        assert found[name]["clock_skew_s"] == 0.0
    for name, (*_, words) in REFUSED.items():
        assert found[name]["state"] == "failed"
        assert words in found[name]["details"]
        assert "ordinary shell" in found[name]["details"]


def test_a_run_measures_on_hosts_with_banners_and_names_the_one_without_a_shell(hosts):
    names = ("bash", "fish", "nologin")
    chosen = [word for name in names for word in ("--host", name)]
    status, output, errors = finish(hosts.farm("run", "--suite", "mine.yaml", "--json", *chosen))
    *records, _ = map(json.loads, output.splitlines())  # at last the summary
    states = {one["job"]["host"]: one["status"] for one in records}
    assert status == 3
    assert states == {"bash": "ok", "fish": "ok", "nologin": "failed"}, errors
    assert "This account is currently not available" in errors
