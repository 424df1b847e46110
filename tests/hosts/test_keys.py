"""Keys are found, matched with the agent's, and unlocked once, by a passphrase that stays here."""

from __future__ import annotations

import base64
import getpass
import subprocess
import sys
from contextlib import ExitStack

import paramiko
import pytest

from farm.hosts.ssh import keys
from farm.hosts.ssh.route import Keys


@pytest.fixture
def locked(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "_unlocked", {})
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    path = tmp_path / "id_ed25519"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "right", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def terminal(monkeypatch, *answers):
    """Be on a terminal where somebody answers so; return what was asked."""
    asked, left = [], iter(answers)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda words: asked.append(words) or next(left))
    return asked


def security_key(path, *, beside):
    """Write a security key's file as ``ssh-keygen -t ed25519-sk`` does; nobody here has one."""
    public, whole = paramiko.Message(), paramiko.Message()
    kind = "sk-ssh-ed25519@openssh.com"
    for part in (kind, b"p" * 32, "ssh:"):
        public.add_string(part)
    secret = paramiko.Message()
    for number in (7, 7):
        secret.add_int(number)
    for part in (kind, b"p" * 32, "ssh:"):
        secret.add_string(part)
    secret.add_byte(b"\x01")
    for part in (b"handle" * 20, b"", "me"):
        secret.add_string(part)
    padded = secret.asbytes() + bytes(range(1, 1 + -len(secret.asbytes()) % 8))
    whole.add_bytes(b"openssh-key-v1\0")
    for part in ("none", "none", ""):
        whole.add_string(part)
    whole.add_int(1)
    whole.add_string(public.asbytes())
    whole.add_string(padded)
    text = base64.encodebytes(whole.asbytes()).decode()
    frame = "-----{} OPENSSH PRIVATE KEY-----\n"
    path.write_text(frame.format("BEGIN") + text + frame.format("END"))
    if beside:
        told = base64.b64encode(public.asbytes()).decode()
        path.with_name(f"{path.name}.pub").write_text(f"{kind} {told} me\n")
    return path


@pytest.mark.parametrize("beside", [True, False])
def test_a_security_key_says_what_to_do_instead(monkeypatch, tmp_path, beside):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (said,) = loaded(security_key(tmp_path / "id_ed25519_sk", beside=beside))
    assert said.startswith("is a security key's, which wants a touch each time; make the farm a")
    assert "ssh-keygen -t ed25519 -f ~/.ssh/turbofarm" in said


def test_a_security_key_of_the_agent_is_not_tried(monkeypatch):
    class Held:
        blob, comment = b"", "me@here"

        def get_name(self):
            return "sk-ssh-ed25519@openssh.com"

    monkeypatch.setattr(keys, "_agent", lambda *_: [Held()])
    with ExitStack() as opened:
        (offer,) = keys.offers(Keys((), only=False), opened)
    assert offer.name == "the agent's sk-ssh-ed25519@openssh.com me@here"
    assert "wants a touch each time" in offer.load()


def loaded(path):
    with ExitStack() as opened:
        return [one.load() for one in keys.offers(Keys((path,), only=True), opened)]


def test_a_passphrase_is_asked_for_once_on_a_terminal(monkeypatch, locked):
    asked = terminal(monkeypatch, "wrong", "right")
    (first,), (again,) = loaded(locked), loaded(locked)
    assert isinstance(first, paramiko.PKey)
    assert again is first
    assert len(asked) == 2
    assert str(locked) in asked[0]


def test_without_a_terminal_or_an_answer_the_agent_is_named(monkeypatch, locked):
    assert loaded(locked) == [f"has a passphrase: ssh-add {locked}"]
    keys._unlocked.clear()
    asked = terminal(monkeypatch, "")
    assert loaded(locked) == loaded(locked) == [f"has a passphrase: ssh-add {locked}"]
    assert len(asked) == 1


@pytest.mark.parametrize("beside", [True, False])
def test_a_locked_key_that_the_agent_holds_is_the_agent_s(monkeypatch, tmp_path, locked, beside):
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        unlocked = tmp_path / "copy"
        unlocked.write_bytes(locked.read_bytes())
        unlocked.chmod(0o600)
        change = ["ssh-keygen", "-q", "-p", "-P", "right", "-N", "", "-f", str(unlocked)]
        subprocess.run(change, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ssh-add", "-q", str(unlocked)], check=True)
        if not beside:
            locked.with_name(f"{locked.name}.pub").unlink()
        with ExitStack() as opened:
            (offer,) = keys.offers(Keys((locked,), only=True), opened)
        assert offer.name.startswith("the agent's ssh-ed25519")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_an_agent_that_is_not_there_has_no_keys(monkeypatch, tmp_path):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with ExitStack() as opened:
        assert list(keys.offers(Keys((tmp_path / "no",), only=False), opened)) == []
    assert "gone has no key" in keys.none_found(Keys((tmp_path / "no",), only=False))
