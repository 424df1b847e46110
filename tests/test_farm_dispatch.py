"""Dispatch: a host that is lost in any way ends its own jobs and no others."""

from __future__ import annotations

import paramiko
import pytest

import jobs
from farm import dispatch as dispatching
from farm.errors import FarmError
from farm.inventory import Host
from farm.ssh import Connection, HostError


class BrokenTransport:
    """A connection that breaks whenever a session is opened."""

    def open_session(self, timeout):
        raise paramiko.SSHException("Channel closed")


class BrokenClient:
    def get_transport(self):
        return BrokenTransport()


def broken_connection() -> Connection:
    connection = Connection.__new__(Connection)
    connection.name, connection.host = "mini", Host(address="mini.local")
    connection._client = BrokenClient()
    return connection


def test_an_error_of_the_ssh_library_is_told_as_a_lost_host():
    with pytest.raises(HostError, match="host 'mini': connection lost: Channel closed; try again"):
        broken_connection().start(["true"], 1.0)


def test_a_host_out_of_reach_ends_its_jobs_as_lost(tmp_path):
    hosts = {"mini": Host(address="127.0.0.1", port=1)}
    job = jobs.job(host="mini")
    (record,) = dispatching.dispatch([job], hosts, tmp_path)
    assert (record.failure.kind, record.attempt) == ("lost", dispatching.ATTEMPTS)
    assert "host 'mini' (127.0.0.1)" in record.failure.message


def test_a_job_for_a_host_that_left_the_inventory_is_refused(tmp_path):
    with pytest.raises(FarmError, match="no host mini; put it back"):
        next(dispatching.dispatch([jobs.job(host="mini")], {}, tmp_path))
