"""Images that mlx-vlm cannot load, and other input: whose error that is."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def refuse_images(refusal: Callable[[ValueError], Exception]) -> None:
    """Let mlx-vlm raise a refusal for an image that cannot be loaded."""
    utils: Any = importlib.import_module("mlx_vlm.utils")
    utils.load_image = refusing(utils.load_image, refusal)


def refusing(
    make: Callable[..., Any], refusal: Callable[[ValueError], Exception]
) -> Callable[..., Any]:
    """Return what makes a part of the input, and raises a refusal where that cannot be."""

    def made(*arguments: Any, **options: Any) -> Any:
        try:
            return make(*arguments, **options)
        except ValueError as error:
            raise refusal(error) from error

    return made
