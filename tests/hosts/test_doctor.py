"""The doctor looks over a host of the inventory over SSH, as it does this machine."""

from __future__ import annotations

import json

import pytest

from farm.exchange import bundle
from lab import lab, need


@pytest.mark.network_namespaces
def test_a_host_is_looked_over_from_here_and_its_bundle_names_nobody(tmp_path):
    need()
    with lab(tmp_path, ["patient-one"]) as made:
        trusting = made.quick("hosts", "trust", "--yes")
        _, errors = trusting.communicate()
        assert trusting.returncode == 0, errors
        seen = made.farm("doctor", "patient-one", "--json", "--bundle", "d.zip", "--yes")
        output, errors = seen.communicate()
        assert seen.returncode == 0, errors
    findings = {one["name"]: one["state"] for one in json.loads(output)["findings"]}
    assert findings["golden vectors"] == "well"
    assert "wrong" not in findings.values()
    sent = bundle.read(tmp_path / "d.zip")
    assert len(sent.records) == 4
    assert "patient-one" not in sent.manifest.model_dump_json()
