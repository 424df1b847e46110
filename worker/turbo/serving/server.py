"""mlx-lm's server, ready when it listens, with a disk behind its cache of prompts."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Event
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
from huggingface_hub.errors import CacheNotFound
from mlx.utils import tree_flatten
from mlx_lm import server
from mlx_lm.utils import _parse_size

from ..state import VERSION
from .askable import require_askable, require_biases, require_tokens
from .fault import BROKEN
from .folder import Folder
from .listening import listening_at
from .models import LoadError, PromptError, require_room
from .prefixes import Prefixes
from .stopping import LOOK, Flights, StoppingError, stop_on_signals

_LOOK = 0.1  # seconds between looks whether the server is to stop
_UNSIGNED = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}


def prepare(
    settings: dict[str, Any], context: int | None, folder: Path | None, size: str, grace: float
) -> None:
    """Let mlx-lm's server take our parts; raises LoadError for a folder that cannot be used.

    ``grace`` is how many seconds requests have to end when the server is to stop.
    """
    disk = _folder(folder, size)
    server.scan_cache_dir = partial(_fetched, server.scan_cache_dir)
    server.LRUPromptCache = partial(Prefixes, folder=disk)
    server.ResponseGenerator = partial(Generator, settings=settings, context=context, grace=grace)
    server._run_http_server = partial(  # noqa: SLF001  `run` offers no other way to a handler
        _serve,
        server._run_http_server,  # noqa: SLF001
    )
    stop_on_signals()


def _fetched(scan: Callable[[], Any]) -> Any:
    """Return what was fetched from the hub, for ``/v1/models``: nothing is no error."""
    try:
        return scan()
    except CacheNotFound:
        return SimpleNamespace(repos=())


def _serve(run: Callable[..., None], host: str, port: int, generator: Generator) -> None:
    try:
        with listening_at(host, port):
            run(host, port, generator, server_class=Listener, handler_class=Handler)
        if generator.failed:
            sys.exit(BROKEN)
    finally:
        generator.stop_and_join()


def _folder(path: Path | None, size: str) -> Folder | None:
    if path is None:
        return None
    if mx.distributed.init().size() > 1:
        raise LoadError("--disk-cache: each machine holds a part of the model; leave it out")
    try:
        limit = _parse_size(size)
    except (ArithmeticError, LookupError) as error:
        raise LoadError(f"--disk-cache-size {size}: give a size such as 500MB or 10GB") from error
    try:
        return Folder(path, limit)
    except OSError as error:
        raise LoadError(f"--disk-cache {path}: cannot be written: {error}") from error


class Listener(ThreadingHTTPServer):
    """As mlx-lm has it; once it is to stop, it refuses connections."""

    def shutdown(self) -> None:
        super().shutdown()
        self.server_close()


class Generator(server.ResponseGenerator):
    """mlx-lm's, made when its first model is loaded, which refuses prompts beyond the context.

    When it is to stop, requests have some seconds to end. Raises what the loading of its first
    model raises.
    """

    def __init__(
        self,
        provider: Any,
        prefixes: Prefixes,
        *,
        settings: dict[str, Any],
        context: int | None,
        grace: float,
    ) -> None:
        self.flights = Flights()
        self._settings = settings
        self._context = context
        self._grace = grace
        self._keys: dict[Any, str] = {}
        self._widths: dict[Any, int] = {}
        self._loaded = Event()
        self._failure: Exception | None = None
        prefixes.key = self._key
        super().__init__(provider, prefixes)
        try:
            while not self._loaded.wait(LOOK):
                pass
        except KeyboardInterrupt:
            self._stop = True
            raise
        if self._failure is not None:
            raise self._failure

    @property
    def failed(self) -> bool:
        """Whether the thread that generates ended by a fault: nobody can be answered any more."""
        return bool(self._generation_failed)

    def stop_and_join(self) -> None:
        self.flights.land(self._grace)
        super().stop_and_join()

    def _await_response(self, response_queue: Queue[Any]) -> Any:
        while True:
            self.flights.require_time()
            try:
                return response_queue.get(timeout=_LOOK)
            except Empty:
                if not self.generation_available():
                    raise RuntimeError("the thread that generates has ended") from None

    def _run_generate(self) -> None:
        try:
            super()._run_generate()
            if self.failed:
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            # Left to MLX, a thread's streams are closed while Python ends: the process is aborted.
            mx.clear_streams()

    def _generate(self) -> None:
        try:
            self.model_provider.load_default()
        except Exception as error:  # noqa: BLE001  raised where the server is made
            self._failure = error
            return
        finally:
            self._loaded.set()
        prefixes = self.prompt_cache  # mlx-lm lets go of it at the end
        super()._generate()
        prefixes.close()

    def _next_request(self, timeout: float | None = None) -> Any:
        request = super()._next_request(timeout)
        if request is None and timeout is not None:
            self.prompt_cache.idle()
        return request

    def _tokenize(self, tokenizer: Any, request: Any, args: Any) -> Any:
        require_tokens(args.sampling.top_k, args.logits.logit_bias, self._outputs())
        self._try_sampling(tokenizer, args)
        try:
            found = super()._tokenize(tokenizer, request, args)
        except (LookupError, TypeError, ValueError) as error:
            raise PromptError(f"cannot be made a prompt: {error}") from error
        context = self._context or self.model_provider.model.context
        args.max_tokens = min(args.max_tokens, require_room(found[0], context))
        return found

    def _outputs(self) -> int:
        """Count the tokens that logits tell apart; a tokenizer may know others."""
        provider = self.model_provider
        if provider.model_key not in self._widths:
            self._widths[provider.model_key] = provider.model(mx.array([[0]])).shape[-1]
        return self._widths[provider.model_key]

    def _try_sampling(self, tokenizer: Any, args: Any) -> None:
        """Sample once as a request asks; raises PromptError for what cannot be done.

        Amid generating, the error would end the thread, and with it everybody's answers.
        """
        logits = mx.zeros((1, self._outputs()))
        try:
            for process in server._make_logits_processors(args):  # noqa: SLF001
                logits = process(mx.array([0]), logits)
            mx.eval(server._make_sampler(args, tokenizer)(logits))  # noqa: SLF001
        except Exception as error:
            raise PromptError(f"cannot be sampled as asked: {error}") from error

    def _key(self) -> str:
        """Name the model that is loaded, by its weights, and how its caches are made."""
        provider = self.model_provider
        if provider.model_key not in self._keys:
            models = [each for each in (provider.model, provider.draft_model) if each is not None]
            parts = [[_weights(each) for each in models], VERSION, self._settings]
            named = json.dumps(parts, sort_keys=True).encode()
            self._keys[provider.model_key] = hashlib.sha256(named).hexdigest()[:16]
        return self._keys[provider.model_key]


class Handler(server.APIHandler):
    """mlx-lm's, which answers 400 to a prompt that cannot be asked, and 503 when it is to stop."""

    def do_POST(self) -> None:  # noqa: N802  http.server's name
        with self.response_generator.flights.one():
            try:
                super().do_POST()
            except StoppingError as error:
                self._end(error)
            except (UnicodeDecodeError, RecursionError) as error:
                self._refuse(400, f"the body is no JSON in UTF-8: {error}")

    def validate_model_parameters(self) -> None:
        require_biases(self.body.get("logit_bias"))
        super().validate_model_parameters()
        require_askable(self.body, chat="chat" in self.path)

    def _end(self, error: StoppingError) -> None:
        """End an answer that is cut: a stream like one of full length, any other by an error."""
        if self.stream:
            last = json.dumps(self.generate_response("", "length"))
            self.wfile.write(f"data: {last}\n\ndata: [DONE]\n\n".encode())
            return
        self._headers_buffer: list[bytes] = []  # those of an answer, which are not sent yet
        self._refuse(503, str(error))

    def _refuse(self, status: int, error: str) -> None:
        self._set_completion_headers(status)
        self.end_headers()
        self.wfile.write(json.dumps({"error": error}).encode())

    def _set_completion_headers(self, status_code: int = 200) -> None:
        # mlx-lm says 404 whatever it was.
        match sys.exc_info()[1]:
            case PromptError():
                status_code = 400
            case StoppingError():
                status_code = 503
        super()._set_completion_headers(status_code)


def _weights(model: Any) -> str:
    """Name a model's weights by the sums of their bits, which read each of them once."""
    total = hashlib.sha256(type(model).__module__.encode())
    for name, array in sorted(tree_flatten(model.parameters())):
        bits = array.flatten().view(_UNSIGNED[array.dtype.size])
        middle = bits.size // 2
        halves = bits[:middle].sum(), bits[middle:].sum()
        described = (name, array.shape, str(array.dtype), *(half.item() for half in halves))
        total.update(repr(described).encode())
    return total.hexdigest()
