"""The inventory: defaults that work, and every problem of a file at once, with its line."""

from __future__ import annotations

import pytest

from farm import inventory
from farm.errors import ConfigurationError, FarmError


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "inventory.yaml"
        path.write_text(text)
        return inventory.load(path)

    return load


def test_without_a_file_the_farm_is_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert inventory.load(inventory.FILE).hosts["local"].local


def test_paths_count_from_the_folder_of_the_file(load, tmp_path):
    found = load("database: here.db\nsubject: {repository: sub}\n")
    assert found.database == str(tmp_path / "here.db")
    assert found.subject.repository == tmp_path / "sub"


def test_unknown_keys_are_all_named_with_line_and_likeliest_remedy(load):
    with pytest.raises(ConfigurationError) as caught:
        load("databse: x.db\nhosts:\n  mini:\n    adress: mini.local\n")
    first, second = caught.value.problems
    assert (first.place, first.remedy) == ("line 1, databse", "did you mean 'database'?")
    assert (second.place, second.remedy) == ("line 4, hosts.mini.adress", "did you mean 'address'?")


def test_a_host_without_an_address_names_the_host(load):
    with pytest.raises(ConfigurationError, match="line 2, hosts.mini: a host needs an address"):
        load("hosts:\n  mini: {}\n")


def test_broken_yaml_names_the_line(load):
    with pytest.raises(ConfigurationError, match="line 4: not valid YAML"):
        load("hosts:\n  local:\n    local: [true\n")


def test_a_key_that_stands_twice_is_refused(load):
    with pytest.raises(ConfigurationError, match="line 3: .*key 'local' stands twice"):
        load("hosts:\n  local: {local: true}\n  local: {local: true}\n")


def test_a_value_of_another_type_is_told_with_what_was_given(load):
    with pytest.raises(ConfigurationError, match=r"line 1, hosts: .*got 'all'"):
        load("hosts: all\n")


def test_an_absent_file_that_was_asked_for_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        inventory.load(tmp_path / "other.yaml")


def test_an_unknown_host_is_answered_with_the_known_ones(load):
    with pytest.raises(FarmError, match="host 'locl': unknown; did you mean 'local'"):
        inventory.choose(load("hosts: {local: {local: true}}"), ["locl"])
