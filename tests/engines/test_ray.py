"""The Ray engine in a lab of network namespaces: its lines, its faults, and what strangers see."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from farm.dispatch.link import Link
from farm.engines.ray import nodes
from farm.engines.ray.certificates import Authority
from farm.engines.ray.engine import OverRay
from farm.errors import HostError, HostRefusedError
from farm.plan import builds, inventory
from jobs import job
from lab import SUITE, lab, need
from worker.job import Cache, Cell, Order

pytestmark = [pytest.mark.network_namespaces, pytest.mark.timeout(900)]

CELL = Cell(
    benchmark="memory",
    model="reference",
    cache=Cache(name="turbo", params={"key_bits": 4, "value_bits": 4}),
    params={"context": 160, "tokens": 2},
)
#: Asks the head for a list of keys as a member does, and says what came of it.
ASK = """
import os, sys
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
try:
    client.internal_kv_keys(b"", namespace=None, timeout=8)
    print("ANSWERED")
except BaseException as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hosts(tmp_path):
    """Give two members to be and a stranger, all on one switch."""
    need()
    with lab(tmp_path, ["h1", "h2", "stranger"]) as made:
        trust = made.quick("hosts", "trust", "--yes")
        assert trust.communicate() is not None
        yield made


def drive(made, conversation):
    """Run a conversation on the coordinator; nothing of its engine may be left at its end."""

    async def whole():
        known = inventory.load(made.folder / "inventory.yaml")
        engine = OverRay(known.hosts, known.state, lambda _: None)
        try:
            await conversation(engine, known)
        finally:
            folders = {held_in(one) for one in marked(made)}
            await engine.close()
        return folders

    with made.inside():
        folders = asyncio.run(whole())
    psutil.wait_procs(marked(made), timeout=60)  # what is told to end takes its time
    assert marked(made) == []
    assert [folder for folder in folders if Path(folder).exists()] == []


def held_in(process):
    """Return the folder of the farm that a process belongs to; an ended one is in none."""
    try:
        return process.environ().get("TURBOFARM_HELD", "/no")
    except psutil.NoSuchProcess:
        return "/no"


def marked(made, word=""):
    """Return the processes of a lab that the farm holds, by a word of their command line."""
    spaces = [made.prefix, *(f"{made.prefix}{name}" for name in made.names)]
    networks = {Path("/run/netns", space).stat().st_ino for space in spaces}
    found = []
    for process in psutil.process_iter():
        try:
            network = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
            line = " ".join(process.cmdline())
            # Some of Ray's processes write a title over their environment.
            ours = "TURBOFARM_HELD" in process.environ() or line.startswith("ray::")
            if network in networks and ours and word in line:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@asynccontextmanager
async def ready(engine, host):
    """Open a session with signs of life, in three tries: the dispatcher has as many and more."""
    line = await opened(engine, host, tries=3)
    try:
        yield line
    finally:
        await line.close()


async def opened(engine, host, tries):
    line = Link(engine.session(host), host)
    try:
        await line.open()
        assert await line.kept() is None
    except HostError:
        await line.close()
        if tries == 1:
            raise
        return await opened(engine, host, tries - 1)
    return line


async def measured(line, known):
    """Have one job done; return its record."""
    build = builds.working_tree(known.subject, known.state / "builds")
    wanted = job(build, host=line.host, cell=CELL, deadline=200.0)
    late = await line.order(Order(job=wanted, attempt=1, host=line.host))
    record = await line.record(late)
    await line.acknowledge(record)
    return record


@pytest.mark.slow
def test_a_job_is_said_and_its_record_heard_and_nothing_is_left(hosts):
    hosts.configure("h2", "MaxSessions 1\n")  # each of its commands takes a connection of its own

    async def conversation(engine, known):
        async with ready(engine, "h1") as one, ready(engine, "h2") as two:
            records = await asyncio.gather(measured(one, known), measured(two, known))
            assert [record.status for record in records] == ["ok", "ok"]
            served = [process.environ() for process in marked(hosts, "worker.process.serve")]
            assert len(served) == 2
            # Ray would give them one thread, a token and no GPU: they get what SSH gives.
            names = {name for environment in served for name in environment}
            assert not {name for name in names if name.startswith(("RAY_", "OMP_", "CUDA_"))}
            assert {process.nice() for process in marked(hosts, "worker.process.serve")} == {
                psutil.Process().nice()
            }
        async with ready(engine, "h1") as again:
            assert (await measured(again, known)).status == "ok"

    drive(hosts, conversation)


@pytest.mark.slow
def test_a_killed_actor_node_or_head_and_a_crashed_host_are_lost_hosts_and_come_back(hosts):
    def kill(word):
        killed = marked(hosts, word)
        assert killed
        for process in killed:
            with suppress(psutil.NoSuchProcess):  # ended with another of them
                process.kill()

    async def conversation(engine, known):
        faults = {
            "actor": lambda: kill("ray::Pipe"),
            "raylet": lambda: kill("raylet_socket_name"),
            "head": lambda: kill("gcs_server"),
            "host": lambda: hosts.crash("h1"),
        }
        for name, fault in faults.items():
            async with ready(engine, "h1") as line:
                fault()
                with pytest.raises(HostError, match="host 'h1'"):
                    await line.record(asyncio.get_running_loop().time() + 60)
            if name == "host":
                hosts.start("h1")
        async with ready(engine, "h1") as line:
            assert (await measured(line, known)).status == "ok"

    drive(hosts, conversation)


@contextmanager
def captured(made):
    """Give all bytes that pass the switch."""
    heard = bytearray()
    with made.inside():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))

    ended = threading.Event()
    raw.settimeout(0.2)

    def run():
        while not ended.is_set():
            try:
                heard.extend(raw.recv(65536))
            except TimeoutError:
                continue

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield heard
    finally:
        ended.set()
        thread.join()
        raw.close()


def ask(made, folder, secrets, patience=10.0):
    """Ask the head from the stranger's place, with these secrets; return what it got to know."""
    folder.mkdir()
    for name, text in secrets.items():
        (folder / name).write_text(text)
    settings = nodes.environment(str(folder))
    if "certificate.pem" not in secrets:
        settings["RAY_USE_TLS"] = "0"
    command = [sys.executable, "-c", ASK, f"10.77.0.1:{nodes.GCS_PORT}"]
    with made.inside("stranger"):
        process = subprocess.Popen(
            command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    try:
        return process.communicate(timeout=patience)[0].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0].decode() + "no answer"


def open_ports(made, address):
    """Return which ports of Ray's range answer a stranger's connection."""
    found = []
    with made.inside("stranger"):
        for port in range(nodes.GCS_PORT, nodes.PORTS["max-worker-port"] + 1):
            with socket.socket() as probe:
                if probe.connect_ex((address, port)) == 0:
                    found.append(port)
    return found


def said_to_a_stranger(made, address, port):
    """Return what a port says to HTTP, and to TLS without a certificate."""
    said = b""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    asked = b"GET /api/jobs/ HTTP/1.1\r\nHost: x\r\n\r\n"
    with made.inside("stranger"):
        for wrap in (socket.socket.dup, context.wrap_socket):
            try:
                with socket.create_connection((address, port), 3) as raw, wrap(raw) as talk:
                    talk.sendall(asked)
                    said += talk.recv(65536)
            except (OSError, ssl.SSLError):
                continue
    return said


def files_with(secret, but=()):
    """Return the files of all that is held that contain a secret, the token's own apart."""
    return [
        path
        for path in Path("/tmp").glob("turbofarm-*/**/*")
        if (path.name in but or path.name != "token") and secret in content(path)
    ]


def content(path):
    """Return what is in a file; nothing, where Ray has removed it meanwhile."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def private(path):
    """Return whether only its user can read a file, and change what lies beside it."""
    modes = (path.stat().st_mode, path.parent.stat().st_mode)
    return all(mode & 0o077 == 0 for mode in modes)


def processes_with(secret):
    """Return the processes that have a secret in an argument or their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                if secret in (place / part).read_bytes():
                    found.append((place / part, (place / "cmdline").read_bytes()))
            except OSError:
                continue
    return found


def probe(hosts, cluster):
    """Ask the cluster as a member does, and as those who lack something: they learn nothing."""
    right = cluster.secrets(hosts.address("stranger"))
    other = nodes.files("0" * 64, Authority().issue(hosts.address("stranger")))
    wrong = {
        "no token": right | {"token": "0" * 64},
        "a certificate of its own": other | {"token": cluster.token},
        "no certificate": {"token": cluster.token},
    }
    assert "ANSWERED" in ask(hosts, hosts.folder / "member", right, 60.0)
    for name, secrets in wrong.items():
        assert "ANSWERED" not in ask(hosts, hosts.folder / name, secrets), name
    for name in wrong | {"member": None}:
        (hosts.folder / name / "token").unlink()
    for address in ("10.77.0.1", hosts.address("h1")):
        listening = open_ports(hosts, address)
        assert nodes.PORTS["node-manager-port"] in listening
        assert nodes.PORTS["dashboard-agent-listen-port"] not in listening
        assert nodes.PORTS["metrics-export-port"] not in listening
        for port in listening:
            said = said_to_a_stranger(hosts, address, port)
            assert b" 200 " not in said, (address, port, said)
            assert b"node" not in said, (address, port, said)


@pytest.mark.slow
def test_who_is_no_member_gets_nothing_and_the_token_is_nowhere_to_be_seen(hosts):
    async def conversation(engine, known):
        with captured(hosts) as heard:
            async with ready(engine, "h1") as line:
                assert (await measured(line, known)).status == "ok"
                cluster = engine._cluster
                await asyncio.to_thread(probe, hosts, cluster)
                token = cluster.token.encode()
                assert len(files_with(token, ("token",))) == 2
                assert {private(path) for path in files_with(token, ("token",))} == {True}
                assert files_with(token) == []
                assert processes_with(token) == []
        assert len(heard) > 100_000
        for word in (token, b"Bearer", b"PRIVATE KEY"):
            assert word not in heard
        for path in hosts.folder.rglob("*"):
            assert token not in content(path), path

    drive(hosts, conversation)


@pytest.mark.slow
def test_a_host_with_another_ray_is_refused_with_the_fix_before_anything_starts(hosts):
    old = hosts.folder / "old"
    (old / "ray-2.59.0.dist-info").mkdir(parents=True)
    (old / "ray-2.59.0.dist-info" / "METADATA").write_text("Name: ray\nVersion: 2.59.0\n")
    python = hosts.folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={old}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    path = hosts.folder / "inventory.yaml"
    path.write_text(path.read_text().replace(sys.executable, str(python)))

    async def conversation(engine, known):
        with pytest.raises(HostRefusedError, match=r"has Ray 2.59.0.* pip install ray==2"):
            async with engine.session("h1"):
                pass
        assert marked(hosts) == []

    drive(hosts, conversation)


def test_a_mac_that_may_not_use_its_network_is_told_where_that_is_allowed():
    told = nodes.unreachable("10.0.0.1", 65, "[Errno 65] No route to host", "darwin")
    assert "Privacy & Security > Local Network" in told
    assert "firewall" in nodes.unreachable("10.0.0.1", 61, "Connection refused", "darwin")


@pytest.mark.slow
def test_ray_and_ssh_give_the_same_set_of_records(hosts):
    (hosts.folder / "mine.yaml").write_text(SUITE)
    found = []
    for engine in ("ray", "ssh"):
        process = hosts.farm("run", "--suite", "mine.yaml", "--engine", engine, "--json")
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        *lines, _ = [json.loads(line) for line in output.splitlines()]  # at last the summary
        found.append(
            sorted(
                (one["host"], one["status"], one["job"]["build"]["hash"], str(one["job"]["cell"]))
                for one in lines
            )
        )
    assert len(found[0]) == 3
    assert found[0] == found[1]
