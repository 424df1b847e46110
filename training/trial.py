"""Try a model in training: needles found, perplexity, perplexity with a short memory."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from worker.text import corpus

if TYPE_CHECKING:
    from torch import Tensor

    from training.qwen2 import Qwen2

CONTEXTS: Final = (512, 1024, 2048, 4096)
DEPTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
MEMORY: Final = 64  # tokens of the short memory
_ID: Final = {word: index for index, word in enumerate(corpus.VOCABULARY)}

log = logging.getLogger("train")


def report(model: Qwen2) -> None:
    """Log what the model can do, and leave it in training."""
    model.eval()
    for context in CONTEXTS:
        found = torch.cat([needles(model, context, seed) for seed in range(4)])
        exact = (found > 0.5).all(dim=1).float().mean()  # noqa: PLR2004  more likely than all others
        worst = found.min(dim=1).values.mean()
        log.info("  %d tokens: needles %.3f, least likely value %.4f", context, exact, worst)
    tokens = encode(corpus.text(0, 200)).to(model.cos.device)
    whole = functional.cross_entropy(logits(model, tokens[None, :-1])[0], tokens[1:]).exp()
    log.info("  perplexity %.3f, with %d tokens %.3f", whole, MEMORY, short_memory(model, tokens))
    model.train()


def needles(model: Qwen2, context: int, seed: int) -> Tensor:
    """Probabilities of the answers' values, (needles, values)."""
    haystack = corpus.needles(seed, context, DEPTHS, lambda text: len(text.split()))
    tails = [f"{haystack.text} {n.question} {n.answer}" for n in haystack.needles]
    tokens = torch.stack([encode(text) for text in tails]).to(model.cos.device)
    values = tokens[:, -4:, None]
    return logits(model, tokens[:, :-1])[:, -4:].softmax(dim=-1).gather(2, values)[..., 0]


def short_memory(model: Qwen2, tokens: Tensor) -> Tensor:
    """Perplexity when each token is predicted from the ``MEMORY`` tokens before it alone."""
    windows = tokens.unfold(0, MEMORY + 1, 1)
    return functional.cross_entropy(logits(model, windows[:, :-1])[:, -1], windows[:, -1]).exp()


def logits(model: Qwen2, tokens: Tensor) -> Tensor:
    device = model.cos.device.type
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        return functional.linear(model(tokens), model.embed_tokens.weight).float()


def encode(text: str) -> Tensor:
    return torch.tensor([_ID[word] for word in text.split()])
