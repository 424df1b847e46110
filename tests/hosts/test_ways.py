"""What works with ``ssh NAME`` works with the farm: keys, agents, ``~/.ssh/config``, jumps."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager

import pytest

from lab import SUITE, lab, need

pytestmark = pytest.mark.network_namespaces

#: Machines of the lab: the way to c is through b; closed lets nobody jump; few takes one session.
NAMES = ("a", "b", "c", "closed", "few", "shut")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    need("ssh", "ssh-agent", "ssh-add")
    with lab(tmp_path_factory.mktemp("ways"), list(NAMES)) as one:
        one.dress("closed", sshd="AllowTcpForwarding no\n")
        one.dress("few", sshd="MaxSessions 1\n")
        one.dress("shut", sshd="MaxSessions 0\n")
        one.unplug("c", via="b")
        yield one


class Home:
    """A coordinator's home: its keys, its configuration of ssh, its inventory."""

    def __init__(self, made, folder):
        self.lab, self.folder = made, folder
        self.ssh = folder / ".ssh"
        self.ssh.mkdir(parents=True, mode=0o700)
        self.agent = None

    def key(self, name, *, right=False, passphrase=""):
        """Make a key; the right one is the one that hosts know."""
        path = self.ssh / name
        if right:
            path.write_bytes((self.lab.folder / "client_key").read_bytes())
            path.chmod(0o600)
        else:
            keygen("-t", "ed25519", "-N", "", "-f", str(path))
        if passphrase:
            keygen("-p", "-N", passphrase, "-f", str(path))
        return path

    def config(self, text):
        (self.ssh / "config").write_text(text)

    def hosts(self, **stanzas):
        python = f"python: {self.lab.python}, environment: provided"
        lines = [f"  {name}: {{{stanza}, {python}}}" for name, stanza in stanzas.items()]
        text = "\n".join(["engine: ssh", "hosts:", *lines]) + "\n"
        (self.folder / "inventory.yaml").write_text(text)

    def address(self, name):
        return self.lab.address(name)

    def farm(self, *arguments):
        """Run ``farm hosts ... --json``; return its exit code, and what it says by host."""
        process = self.lab.quick("hosts", *arguments, "--json", home=self.folder, agent=self.agent)
        output, errors = process.communicate()
        assert "Traceback" not in output + errors
        if not output:
            return process.returncode, errors
        return process.returncode, {row["host"]: row for row in json.loads(output)}

    def trusted(self, *names):
        """Trust these hosts and look at them; return what came of it."""
        assert self.farm("trust", *names, "--yes")[0] == 0
        return self.farm("check", *names)


def keygen(*arguments):
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def home(made, tmp_path):
    return Home(made, tmp_path / "home")


@contextmanager
def agent(home, *keys):
    """Run an agent that holds these keys, in this order."""
    socket = home.folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        for key in keys:
            subprocess.run(
                ["ssh-add", "-q", str(key)],
                env=os.environ | {"SSH_AUTH_SOCK": str(socket)},
                check=True,
            )
        home.agent = socket
        yield
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def reached(found):
    """Say that these hosts take commands; nothing of ours is on them yet."""
    _, rows = found
    assert {row["state"] for row in rows.values()} == {"to bring up"}, rows


def test_without_an_agent_the_default_files_are_tried_as_ssh_does(home):
    home.key("id_rsa")
    home.key("id_ed25519", right=True)
    home.hosts(a=f"address: root@{home.address('a')}")
    reached(home.trusted())


def test_an_agent_with_nine_keys_of_which_the_last_is_right_is_heard_to_the_end(home):
    keys = [home.key(f"k{number}") for number in range(8)]
    with agent(home, *keys, home.key("right", right=True)):
        home.hosts(a=f"address: {home.address('a')}, user: root")
        reached(home.trusted())


def test_with_identities_only_an_agent_s_other_keys_are_not_offered(home):
    with agent(home, home.key("right", right=True)):
        home.key("id_ed25519")
        home.config("Host *\n  IdentitiesOnly yes\n  IdentityFile ~/.ssh/id_ed25519\n  User root\n")
        home.hosts(a=f"address: {home.address('a')}")
        status, rows = home.trusted()
    assert status == 3
    assert "tried as user 'root': ~/.ssh/id_ed25519;" in rows["a"]["details"]


def test_keys_that_cannot_be_used_are_named_each_with_what_to_do(home):
    home.key("locked", right=True, passphrase="a long one")  # noqa: S106  of a test's key
    (home.ssh / "mine.ppk").write_text("PuTTY-User-Key-File-3: ssh-ed25519\n")
    (home.ssh / "text").write_text("hello\n")
    keygen("-y", "-f", str(home.key("right", right=True)))
    at = f"address: {home.address('a')}, user: root, key: ~/.ssh/"
    (home.ssh / "right.pub").write_text("ssh-ed25519 AAAA me\n")
    home.hosts(
        locked=f"{at}locked", public=f"{at}right.pub", putty=f"{at}mine.ppk", text=f"{at}text",
        gone=f"{at}gone", good=f"{at}right",
    )  # fmt: skip
    status, rows = home.trusted()
    assert status == 3
    for name, words in {
        "locked": "has a passphrase: ssh-add ~/.ssh/locked",
        "public": "name the file without .pub",
        "putty": "puttygen",
        "text": "is no private key",
        "gone": "No such file",
    }.items():
        assert words in rows[name]["details"]
    assert rows["good"]["state"] == "to bring up"


def test_without_any_key_it_is_said_where_keys_were_looked_for(home):
    home.hosts(a=f"address: {home.address('a')}, user: root")
    status, rows = home.trusted()
    assert status == 3
    assert "there is no key to try: no agent runs" in rows["a"]["details"]
    assert "~/.ssh/id_ed25519" in rows["a"]["details"]
    assert f"ssh-copy-id root@{home.address('a')}" in rows["a"]["details"]


def test_an_alias_of_the_configuration_with_its_jump_is_followed_and_trusted_step_by_step(home):
    home.key("mine", right=True)
    home.config("Include more\n")
    (home.ssh / "more").write_text(
        f"Host *\n  IdentityFile ~/.ssh/mine\n  User root\n"
        f"Host inner\n  HostName {home.address('c')}\n  ProxyJump outer\n"
        f"Host outer\n  HostName {home.address('b')}\n  Port 22\n"
    )
    home.hosts(c="address: inner")
    status, rows = home.farm("trust")
    assert (status, [key["machine"] for key in rows["c"]["keys"]]) == (3, ["outer"])
    reached(home.trusted())
    status, rows = home.farm("trust")
    assert (status, len(rows["c"]["keys"])) == (0, 2)


def test_a_command_of_the_configuration_makes_the_connection(home):
    home.key("id_ed25519", right=True)
    pipe = "bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'"
    home.config(f"Host inner\n  HostName {home.address('a')}\n  User root\n  ProxyCommand {pipe}\n")
    home.hosts(a="address: inner")
    reached(home.trusted())


def test_a_host_of_the_inventory_behind_others_is_trusted_and_reached_through_them(home):
    home.key("id_ed25519", right=True)
    at = {name: f"address: {home.address(name)}, user: root" for name in NAMES}
    home.hosts(
        a=at["a"], b=f"{at['b']}, jump: a", c=f"{at['c']}, jump: b", closed=at["closed"],
        behind=f"{at['a']}, jump: closed",
    )  # fmt: skip
    assert home.farm("trust", "closed", "--yes")[0] == 0
    status, rows = home.farm("trust", "behind", "--yes")
    assert status == 3
    assert "'closed' lets nobody jump through it" in rows["behind"]["details"]
    reached(home.trusted("c"))


def test_a_circle_of_jumps_is_refused_with_the_circle(home):
    home.hosts(
        a="address: a.local, jump: b", b="address: b.local, jump: c", c="address: c.local, jump: a"
    )
    status, errors = home.farm("check")
    assert status == 2
    assert "goes in a circle: a -> b -> c -> a" in errors


def test_names_that_are_none_and_broken_lists_of_keys_cost_their_host_alone(home):
    home.key("id_ed25519", right=True)
    long = "x" * 64
    home.hosts(
        a=f"address: {home.address('a')}, user: root", dots="address: mini..local",
        label=f"address: {long}.local", port=f"address: {home.address('a')}, port: 23",
    )  # fmt: skip
    status, rows = home.farm("trust", "--yes")
    assert status == 3
    assert rows["a"]["state"] == "ok"
    for name in ("dots", "label"):
        assert "correct 'address' in the inventory" in rows[name]["details"]
    assert "Remote Login" in rows["port"]["details"]
    keys = home.folder / ".farm" / "known_hosts"
    kept = keys.read_text()
    keys.write_text(kept + "10.77.0.11 ssh-ed25519 AAAA%%$\n")
    status, rows = home.farm("check", "a")
    assert status == 3
    assert "known_hosts: line 2: is no host key; delete the line" in rows["a"]["details"]


def test_a_hashed_list_of_host_keys_is_read(home):
    home.key("id_ed25519", right=True)
    home.hosts(a=f"address: {home.address('a')}, user: root")
    assert home.farm("trust", "--yes")[0] == 0
    keygen("-H", "-f", str(home.folder / ".farm" / "known_hosts"))
    reached(home.farm("check"))


def test_a_port_within_an_address_is_told_where_it_belongs(home):
    home.hosts(a="address: 'mini.local:2222'")
    status, errors = home.farm("check")
    assert status == 2
    assert "write: address: mini.local, port: 2222" in errors


def test_a_configuration_that_ssh_refuses_is_told_with_file_and_line(home):
    home.config("Host a\n  Nonsense yes\n")
    home.hosts(a="address: a.local")
    status, rows = home.farm("check")
    assert status == 3
    assert "config: line 2: Bad configuration option: nonsense" in rows["a"]["details"]


def test_a_server_that_takes_no_session_is_told_with_its_setting(home):
    home.key("id_ed25519", right=True)
    home.hosts(shut=f"address: {home.address('shut')}, user: root")
    status, rows = home.trusted()
    assert status == 3
    assert "see MaxSessions in its sshd_config" in rows["shut"]["details"]


def test_a_server_that_takes_one_session_is_given_another_connection(home):
    home.key("id_ed25519", right=True)
    home.hosts(few=f"address: {home.address('few')}, user: root, folder: {home.folder}/there")
    reached(home.trusted())
    (home.folder / "mine.yaml").write_text(SUITE)
    inventory = home.folder / "inventory.yaml"
    inventory.write_text(
        f"subject: {{repository: {home.lab.repository}}}\n" + inventory.read_text()
    )
    process = home.lab.farm("run", "--suite", "mine.yaml", "--json", home=home.folder)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert json.loads(output.splitlines()[0])["status"] == "ok"
