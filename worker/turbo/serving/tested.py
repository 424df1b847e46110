"""The versions that all tests ran with; another may do, and is warned of."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version

from .models import LoadError

VERSIONS = {"mlx-lm": "0.32.2", "mlx-vlm": "0.7.10"}


def warn_of_others(package: str) -> None:
    """Warn of another version than the tested one; raises LoadError where there is none."""
    tested = VERSIONS[package]
    try:
        found = version(package)
    except PackageNotFoundError as error:
        raise LoadError(f"{package} is not installed: pip install {package}=={tested}") from error
    if found != tested:
        warnings.warn(f"{package} {found}: turbo-kv was tested with {tested}", stacklevel=2)
