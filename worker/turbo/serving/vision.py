"""``turbo-kv vlm-generate`` and ``vlm-server``: mlx-vlm's own commands with turbo caches.

Flags are theirs and ours beside them, as with mlx-lm's commands. mlx-vlm is no requirement of this
package: whoever wants its models installs it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from ..make import use
from . import vision_server
from .images import refuse_images
from .models import LoadError, loaded_by
from .tested import warn_of_others

#: Each command, and the module of mlx-vlm that loads its models.
MODULES = {
    "vlm-generate": "mlx_vlm.generate.dispatch",
    "vlm-server": "mlx_vlm.server.generation",
}


def generate(theirs: list[str], settings: dict[str, Any]) -> None:
    """Run mlx-vlm's ``generate`` with a model that makes turbo caches.

    Raises LoadError and UnfitError, both before anything is generated.
    """
    warn_of_others("mlx-vlm")
    module = _turbo_module("vlm-generate", settings)
    refuse_images(lambda error: LoadError(str(error)))
    sys.argv = ["turbo-kv vlm-generate", *theirs]
    module.main()


def serve(theirs: list[str], settings: dict[str, Any], grace: float) -> None:
    """Run mlx-vlm's server with models that make turbo caches; see `vision_server`."""
    warn_of_others("mlx-vlm")
    vision_server.require_own_caches()
    vision_server.serve(theirs, _turbo_module("vlm-server", settings).load, grace)


def _turbo_module(command: str, settings: dict[str, Any]) -> Any:
    """Return the module that loads a command's models, told to make them turbo."""
    module: Any = importlib.import_module(MODULES[command])
    module.load = _turbo_loading(module.load, settings)
    return module


def _turbo_loading(load: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """Return mlx-vlm's ``load``, whose models make turbo caches for what they say."""

    def loaded(path: str, *arguments: Any, **options: Any) -> Any:
        model, processor = loaded_by(load, path, *arguments, **options)
        use(model.language_model, **settings)
        return model, processor

    return loaded
