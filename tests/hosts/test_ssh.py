"""Why a host cannot be reached is said with the remedy."""

from __future__ import annotations

import errno
import socket
import sys
import threading

import pytest

from farm import log
from farm.errors import HostError
from farm.hosts.ssh import connection
from farm.hosts.ssh.trust import trust
from farm.plan.inventory import Host


@pytest.mark.parametrize(
    ("system", "remedy"), [("darwin", "Privacy & Security > Local Network"), ("linux", "SSH")]
)
def test_a_mac_that_has_no_route_is_told_of_its_privacy_settings(
    monkeypatch, tmp_path, system, remedy
):
    def refuse(*_, **__):
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(HostError, match=remedy):
        trust("mini", {"mini": Host(address="10.0.0.1")}, tmp_path / "known_hosts", record=False)


def test_a_port_that_takes_the_connection_and_says_nothing_is_told_without_a_traceback(
    monkeypatch, tmp_path, capfd
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(connection, "CONNECTING", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = {"mini": Host(address="127.0.0.1", port=silent.getsockname()[1])}
        with log.to_file(), pytest.raises(HostError, match="does not answer as SSH does"):
            trust("mini", hosts, tmp_path / "known_hosts", record=False)
    assert capfd.readouterr().err == ""


def test_a_server_that_falls_silent_amid_agreeing_on_keys_is_told_as_one_that_does_not_answer(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(connection, "CONNECTING", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        greeting = threading.Thread(target=lambda: silent.append(greeted(server)), daemon=True)
        silent = []
        greeting.start()
        hosts = {"mini": Host(address="127.0.0.1", port=server.getsockname()[1])}
        with pytest.raises(HostError, match="nothing was agreed on in"):
            trust("mini", hosts, tmp_path / "known_hosts", record=False)
        greeting.join()
        silent[0].close()


def greeted(server):
    """Say that a connection is SSH's, and nothing more."""
    link, _ = server.accept()
    link.sendall(b"SSH-2.0-slow\r\n")
    return link
