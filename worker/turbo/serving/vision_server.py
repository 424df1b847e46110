"""mlx-vlm's server with turbo caches: what it would fail at is refused, and it ends in order."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from .askable import require_biases, require_tokens
from .images import refuse_images, refusing
from .listening import require_free
from .models import LoadError, require_there
from .stopping import stop_on_signals

#: What makes mlx-vlm's server take caches of its own classes, which flags of ours would miss.
_THEIR_CACHES = ("APC_ENABLED", "KV_BITS", "KV_KEY_BITS", "KV_VALUE_BITS", "MAX_KV_SIZE")
_OFF = ("", "0", "0.0", "false", "no")
_ENDPOINTS = ("mlx_vlm.server.openai", "mlx_vlm.server.anthropic")

_HOST, _PORT = "127.0.0.1", 8080


def require_own_caches() -> None:
    """Refuse an environment that asks for caches of mlx-vlm, whose import reads it already."""
    if others := [name for name in _THEIR_CACHES if os.environ.get(name, "").lower() not in _OFF]:
        raise LoadError(
            f"{', '.join(others)} of the environment: for mlx-vlm's own caches, which ours cannot "
            "be beside; unset it"
        )


def serve(theirs: list[str], load: Callable[..., Any], grace: float) -> None:
    """Serve until a signal ends it, on this machine alone unless ``--host`` says otherwise.

    ``load`` is mlx-vlm's, told to make models turbo; requests have ``grace`` seconds to end.
    Raises LoadError and UnfitError before anything is answered.
    """
    theirs = ["--host", _HOST, *theirs]
    _require_servable(theirs, load)
    app = importlib.import_module("mlx_vlm.server.app")
    _keep_settings(app.app)
    _refuse_requests()
    sys.argv = ["turbo-kv vlm-server", *theirs]
    stop_on_signals()
    cli: Any = importlib.import_module("mlx_vlm.server.cli")
    run = partial(cli.uvicorn.run, timeout_graceful_shutdown=math.ceil(grace))
    cli.uvicorn = SimpleNamespace(run=run)
    try:
        cli.main()
    finally:
        # It leaves the thread that generates, and MLX aborts a process that ends under one.
        app.unload_model_sync()


def _keep_settings(app: Any) -> None:
    """Let nobody turn on other caches while the server runs: its settings can be read alone."""
    app.router.routes[:] = [
        route
        for route in app.router.routes
        if not ("PATCH" in getattr(route, "methods", ()) and route.path.endswith("/settings"))
    ]


def _refuse_requests() -> None:
    """Answer 400 to what mlx-vlm finds wrong only later, as an error of its own, or not at all.

    It writes a bias for a token that the model lacks into memory of others.
    """
    from fastapi import HTTPException  # noqa: PLC0415  mlx-vlm requires it, we do not

    def refusal(error: ValueError) -> HTTPException:
        return HTTPException(400, str(error))

    for name in _ENDPOINTS:
        module: Any = importlib.import_module(name)
        module._build_gen_args = refusing(_checked(module._build_gen_args), refusal)  # noqa: SLF001
    refuse_images(refusal)


def _checked(build: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a request's arguments; ValueError names those that cannot be."""

    def built(request: Any, processor: Any, **options: Any) -> Any:
        require_biases(getattr(request, "logit_bias", None))
        if getattr(request, "messages", None) == []:
            raise ValueError("messages: give a list with at least one message")
        arguments = build(request, processor, **options)
        if (arguments.repetition_penalty or 0) < 0:
            raise ValueError("repetition_penalty: give a number from 0")
        require_tokens(arguments.top_k, arguments.logit_bias, _outputs())
        return arguments

    return built


def _outputs() -> int:
    """Count the tokens that the loaded model's logits tell apart: its tokenizer may know others."""
    config = importlib.import_module("mlx_vlm.server.runtime").runtime.model_cache["config"]
    return int(getattr(config, "text_config", config).vocab_size)


def _require_servable(theirs: list[str], load: Callable[..., Any]) -> None:
    """Refuse what a server would fail at only when it is asked; nothing big is read for that."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=_PORT)
    parser.add_argument("--model")
    parser.add_argument("--adapter-path")
    parser.add_argument("--draft-model", default="")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--reload", action="store_true")
    asked, _ = parser.parse_known_args(theirs)
    if asked.reload:
        raise LoadError("--reload: a server that starts itself anew forgets turbo caches")
    require_there(asked.draft_model)
    require_free(asked.host, asked.port)
    if asked.model is not None:
        load(asked.model, asked.adapter_path, lazy=True, trust_remote_code=asked.trust_remote_code)
