"""Load a vision-language model by mlx-vlm's own code, and let it read text with images in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import mlx.core as mx

from worker.models import ModelError, locate
from worker.refusal import RefusalError

#: The version that this is tested with.
VERSION = "0.7.10"

Caches = list[Any]


class Vision:
    """A whole model with its processor; its language model is what caches are made for."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = getattr(processor, "tokenizer", processor)

    def read(self, parts: Sequence[str | Path]) -> dict[str, Any]:
        """Return one turn of a user, text and image files, as the arrays that the model takes."""
        from mlx_vlm.prompt_utils import get_chat_template  # noqa: PLC0415  see load
        from mlx_vlm.utils import prepare_inputs, should_add_special_tokens  # noqa: PLC0415

        said = [
            {"type": "image"} if isinstance(part, Path) else {"type": "text", "text": part}
            for part in parts
        ]
        message = [{"role": "user", "content": said}]
        images = [str(part) for part in parts if isinstance(part, Path)]
        config = self._model.config
        arrays: dict[str, Any] = prepare_inputs(
            self._processor,
            images=images or None,
            prompts=get_chat_template(self._processor, message, add_generation_prompt=True),
            image_token_index=getattr(config, "image_token_index", None),
            add_special_tokens=should_add_special_tokens(config.model_type, self._processor),
        )
        return arrays

    def generate(
        self, arrays: dict[str, Any], count: int, cache: Caches
    ) -> Iterator[tuple[int, float]]:
        """Yield ``count`` greedy tokens, each with the time it was there; none stops it early."""
        from mlx_vlm.generate import generate_step  # noqa: PLC0415  see load

        rest = dict(arrays)
        steps = generate_step(
            rest.pop("input_ids"),
            self._model,
            rest.pop("pixel_values", None),
            rest.pop("attention_mask", None),
            max_tokens=count,
            temperature=0.0,
            prompt_cache=cache,
            **rest,
        )
        for token, _ in steps:
            yield int(token), time.perf_counter()

    def text(self, tokens: Sequence[int]) -> str:
        """Return tokens as text, up to where the model ended its answer."""
        ends = self._tokenizer.stopping_criteria
        return str(self._tokenizer.decode([*takewhile(lambda token: not ends(token), tokens)]))


def load(name: str) -> tuple[Any, Vision]:
    """Return (language model, Vision); raises ModelError and, without mlx-vlm, RefusalError."""
    try:
        # Only hosts that measure vision-language models have it.
        import mlx_vlm  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise RefusalError(
            f"no module {error.name!r} on this host, which vision-language models need; there: "
            f"{sys.executable} -m pip install mlx-vlm=={VERSION}"
        ) from error
    path = locate(name)
    try:
        model, processor = mlx_vlm.load(str(path or name))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} cannot be loaded: {error}; without network, name a local folder"
        ) from error
    mx.eval(model.parameters())
    return model.language_model, Vision(model, processor)
