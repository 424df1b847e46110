"""The inventory: defaults that work, and every problem of a file at once, with its line."""

from __future__ import annotations

import pytest

from farm.errors import ConfigurationError, FarmError
from farm.plan import inventory


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


def test_yaml_that_is_nested_without_end_is_refused(load):
    with pytest.raises(ConfigurationError, match="is nested too deeply"):
        load("[" * 100_000)


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


HOSTS = """
groups: {shelf: [mini, studio]}
hosts:
  mini: {address: mini.local, class: m2-pro}
  mini2: {address: mini2.local, class: m2-pro}
  studio: {address: studio.local}
"""


def test_hosts_are_chosen_by_name_group_or_class(load):
    found = load(HOSTS)
    assert inventory.choose(found, ["shelf"]) == ["mini", "studio"]
    assert inventory.choose(found, ["m2-pro", "mini"]) == ["mini", "mini2"]


def test_a_run_is_for_each_class_once_and_for_hosts_without_one(load):
    assert inventory.targets(load(HOSTS), []) == ["m2-pro", "studio"]


def test_a_run_for_named_hosts_is_for_these_very_hosts(load):
    assert inventory.targets(load(HOSTS), ["mini2", "shelf"]) == ["mini2", "mini", "studio"]
    assert inventory.targets(load(HOSTS), ["m2-pro"]) == ["m2-pro"]


def test_groups_and_classes_that_cannot_be_are_all_named(load):
    with pytest.raises(ConfigurationError) as caught:
        load("groups: {b: [c]}\nhosts:\n  a: {address: a.local, class: a}\n  b: {local: true}\n")
    problems = [str(problem).partition(": ")[2] for problem in caught.value.problems]
    assert problems == [
        "line 3, hosts.a.class: class 'a' is the name of a host or group too; choose another name",
        "line 1, groups.b: no host 'c'; allowed: a, b",
        "line 1, groups.b: a host has this name too; choose another name",
    ]


def test_an_unknown_key_of_a_host_is_answered_with_the_key_as_it_is_written(load):
    with pytest.raises(ConfigurationError, match="did you mean 'class'"):
        load("hosts:\n  a: {address: a.local, clas: m2}\n")
