"""Whatever the subject of the inventory makes: any package with ``make_cache(model, **params)``.

Parameters are the subject's own and are passed as the suite has them; `turbo` is the kind for this
repository's cache, whose parameters are checked before anything runs. The package is imported under
the name ``turbo``, so it must import its own modules relatively. It may offer
``describe(cache) -> dict``, which then goes into the record.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from worker.build import PACKAGE
from worker.refusal import RefusalError

DEFAULTS: dict[str, Any] = {}
OPEN = True
SUBJECT = True

try:
    subject = importlib.import_module(PACKAGE)
except ModuleNotFoundError as error:
    raise RefusalError(
        f"subject: {error}; it is imported as {PACKAGE!r}, so it has to import its own modules "
        "relatively (from . import x), and other packages have to be installed on the host"
    ) from error


def make_cache(model: Any, **params: Any) -> list[Any]:
    """Return the subject's prompt cache."""
    factory = getattr(subject, "make_cache", None)
    if factory is None:
        raise RefusalError(
            "subject: the package has no make_cache(model, **params); correct 'subject' in the "
            "inventory, or add the factory to its __init__.py"
        )
    signature = inspect.signature(factory)
    try:
        signature.bind(model, **params)
    except TypeError as error:
        raise RefusalError(
            f"subject: {error}; its factory is make_cache{signature}, to which the kind of cache "
            "'subject' passes the parameters of the suite and no others"
        ) from error
    return list(factory(model, **params))


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the subject says of its cache, or else what any cache can be asked."""
    own = getattr(subject, "describe", None)
    if own is not None:
        return dict(own(cache))
    kinds = sorted({type(layer).__name__ for layer in cache})
    return {"layers": len(cache), "kinds": kinds}
