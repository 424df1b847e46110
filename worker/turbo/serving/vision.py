"""``turbo-kv vlm-generate`` and ``vlm-server``: mlx-vlm's own commands with turbo caches.

Flags are theirs and ours beside them, as with mlx-lm's commands. mlx-vlm is no requirement of this
package: whoever wants its models installs it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..make import use
from .listening import require_free
from .models import LoadError, loaded_by

#: Each command, and the module of mlx-vlm that loads its models.
MODULES = {
    "vlm-generate": "mlx_vlm.generate.dispatch",
    "vlm-server": "mlx_vlm.server.generation",
}
#: The mlx-vlm that all tests ran with.
TESTED = "0.7.10"
#: What makes mlx-vlm's server take caches of its own classes, which flags of ours would miss.
_THEIR_CACHES = ("APC_ENABLED", "KV_BITS", "KV_KEY_BITS", "KV_VALUE_BITS", "MAX_KV_SIZE")
_OFF = ("", "0", "0.0", "false", "no")

_HOST, _PORT = "127.0.0.1", 8080


def main(command: str, theirs: list[str], settings: dict[str, Any]) -> None:
    """Run a command of mlx-vlm whose models make turbo caches.

    The server listens on this machine alone unless ``--host`` says otherwise.

    Raises LoadError and UnfitError, both before anything is answered.
    """
    _require_tested()
    if command == "vlm-server":
        theirs = ["--host", _HOST, *theirs]
        module = _server(theirs, settings)
    else:
        module = _turbo_module(command, settings)
    sys.argv = [f"turbo-kv {command}", *theirs]
    module.main()


def _turbo_module(command: str, settings: dict[str, Any]) -> Any:
    """Return the module that loads a command's models, told to make them turbo."""
    module: Any = importlib.import_module(MODULES[command])
    module.load = _turbo_loading(module.load, settings)
    return module


def _server(theirs: list[str], settings: dict[str, Any]) -> Any:
    """Return the module of mlx-vlm's server, once nothing speaks against its being run."""
    _require_own_caches()
    _require_servable(theirs, _turbo_module("vlm-server", settings).load)
    _keep_settings(importlib.import_module("mlx_vlm.server.app").app)
    return importlib.import_module("mlx_vlm.server.cli")


def _require_own_caches() -> None:
    """Refuse an environment that asks for caches of mlx-vlm; its import reads it already."""
    if others := [name for name in _THEIR_CACHES if os.environ.get(name, "").lower() not in _OFF]:
        raise LoadError(
            f"{', '.join(others)} of the environment: for mlx-vlm's own caches, which ours cannot "
            "be beside; unset it"
        )


def _keep_settings(app: Any) -> None:
    """Let nobody turn on other caches while the server runs: its settings can be read alone."""
    app.router.routes[:] = [
        route
        for route in app.router.routes
        if not ("PATCH" in getattr(route, "methods", ()) and route.path.endswith("/settings"))
    ]


def _require_tested() -> None:
    try:
        found = version("mlx-vlm")
    except PackageNotFoundError as error:
        raise LoadError(f"mlx-vlm is not installed: pip install mlx-vlm=={TESTED}") from error
    if found != TESTED:
        warnings.warn(f"mlx-vlm {found}: turbo-kv was tested with {TESTED}", stacklevel=5)


def _turbo_loading(load: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """Return mlx-vlm's ``load``, whose models make turbo caches for what they say."""

    def loaded(path: str, *arguments: Any, **options: Any) -> Any:
        model, processor = loaded_by(load, path, *arguments, **options)
        use(model.language_model, **settings)
        return model, processor

    return loaded


def _require_servable(theirs: list[str], load: Callable[..., Any]) -> None:
    """Refuse what a server would fail at only when it is asked; nothing big is read for that."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=_PORT)
    parser.add_argument("--model")
    parser.add_argument("--adapter-path")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--reload", action="store_true")
    asked, _ = parser.parse_known_args(theirs)
    if asked.reload:
        raise LoadError("--reload: a server that starts itself anew forgets turbo caches")
    require_free(asked.host, asked.port)
    if asked.model is not None:
        load(asked.model, asked.adapter_path, lazy=True, trust_remote_code=asked.trust_remote_code)
