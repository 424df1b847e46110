import pytest

from db.engine import open_database
from farm.__main__ import main
from farm.commands import dashboard


@pytest.mark.parametrize("address", ["192.168.1.5", "::", "bench.local"])
def test_another_address_needs_a_password_or_a_proxy(address, monkeypatch, capsys):
    monkeypatch.delenv(dashboard.PASSWORD, raising=False)
    assert main(["dashboard", "--address", address]) == 2
    assert "--behind-proxy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("mini", False)],
)
def test_only_loopback_addresses_are_of_this_machine(address, loopback):
    assert dashboard.is_loopback(address) == loopback


def test_a_missing_database_is_told_before_a_server_starts(tmp_path, capsys):
    assert main(["dashboard", "--db", str(tmp_path / "none.db")]) == 2
    assert "farm run" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "99999", "-1", "web"])
def test_a_number_that_is_no_port_is_told_before_a_server_starts(port, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["dashboard", "--port", port])
    assert ended.value.code == 2
    assert "is no port: 1 to 65535" in capsys.readouterr().err


def test_the_server_gets_the_address_the_port_and_the_app(tmp_path):
    open_database(str(tmp_path / "farm.db")).dispose()
    command = dashboard.command("127.0.0.1", 8600)
    assert "--server.address=127.0.0.1" in command
    assert "--server.port=8600" in command
    assert "--browser.gatherUsageStats=false" in command
    assert command[1:3] == ["-m", "dashboard"]


def test_a_server_that_fails_is_no_regression(tmp_path, monkeypatch, capsys):
    database = str(tmp_path / "farm.db")
    open_database(database).dispose()
    monkeypatch.setattr(dashboard, "command", lambda *_: ["sh", "-c", "exit 1"])
    assert main(["dashboard", "--db", database]) == 2
    assert "choose another with --port" in capsys.readouterr().err
