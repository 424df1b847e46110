"""What a request may ask: mlx-lm finds some of it out only amid generating, which then ends."""

from __future__ import annotations

from typing import Any

from .arguments import SEEDS
from .models import PromptError


def require_askable(body: dict[str, Any], *, chat: bool) -> None:
    """Raise PromptError for a request with values of a wrong kind; it names them all."""
    wrong = wrong_messages(body.get("messages")) if chat else _prompt(body)
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(each, str) and each for each in stops):
        wrong.append("stop: give a text, or a list of texts")
    if (seed := body.get("seed")) is not None and not 0 <= seed < SEEDS:
        wrong.append(f"seed: give a number from 0 to {SEEDS - 1}")
    wrong += [
        f"{name}: give an object"
        for name in ("chat_template_kwargs", "stream_options", "role_mapping")
        if not isinstance(body.get(name) or {}, dict)
    ]
    if wrong:
        raise PromptError("; ".join(wrong))


def require_tokens(top_k: int, logit_bias: dict[int, float] | None, vocabulary: int) -> None:
    """Raise PromptError for numbers of tokens that a model does not have."""
    wrong = [f"top_k: {top_k}; the model has {vocabulary} tokens"] if top_k > vocabulary else []
    unknown = [str(token) for token in logit_bias or () if not 0 <= token < vocabulary]
    if unknown:
        wrong.append(f"logit_bias: the model has no tokens {', '.join(unknown)}")
    if wrong:
        raise PromptError("; ".join(wrong))


def require_biases(logit_bias: Any) -> None:
    """Raise PromptError for what is no object of numbers of tokens and their biases."""
    try:
        {int(token): float(bias) for token, bias in (logit_bias or {}).items()}
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise PromptError("logit_bias: give an object of tokens' numbers and biases") from error


def _prompt(body: dict[str, Any]) -> list[str]:
    if isinstance(body.get("prompt"), str):
        return []
    return ["prompt: give one text; lists of prompts and of tokens are not taken"]


def wrong_messages(messages: Any) -> list[str]:
    """Say what of a chat is none: a list of objects with a role."""
    if not isinstance(messages, list) or not messages:
        return ["messages: give a list with at least one message"]
    return [
        f"messages[{i}]: give an object with a role"
        for i, each in enumerate(messages)
        if not isinstance(each, dict) or not isinstance(each.get("role"), str)
    ]
