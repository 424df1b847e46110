"""Train the reference model from scratch: ``python -m training.train``.

The text comes from ``worker.text.corpus`` and a seed. Documents grow from 256 tokens, where recall
is learnt quickly, to 8192; the share of facts varies from batch to batch, so that recall works in
dense text and for one needle in a long haystack. An H200 needs four minutes; a CPU runs the
same code for days (``--steps`` and ``--tokens`` shrink it to a trial). PyTorch is no dependency of
ours: install it beside.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training import trial
from training.export import bpe, export
from training.qwen2 import Qwen2, Shape
from worker.text import corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Length of the documents, in tokens, and the share of the steps spent on it.
CURRICULUM: Final = ((256, 0.35), (1024, 0.25), (4096, 0.35), (8192, 0.05))
FACTS: Final = (0.02, 0.1, 0.3, 0.6, 0.9)  # shares of sentences that are facts or recalls
PEAK_RATE: Final = 2e-3
WARM_UP: Final = 200  # steps
COOL_DOWN: Final = 0.4  # share of the steps over which the rate falls to 0

log = logging.getLogger("train")


@dataclass(frozen=True)
class Step:
    """One batch: ``documents`` of ``length`` tokens, drawn from the seed and the step's number."""

    number: int
    seed: int
    documents: int
    length: int


def plan(steps: int, tokens: int, seed: int) -> list[Step]:
    """Lay out the steps of the curriculum, each of about ``tokens`` tokens."""
    ends = np.round(np.cumsum([share for _, share in CURRICULUM]) * steps)
    lengths = [CURRICULUM[int(np.searchsorted(ends, n, side="right"))][0] for n in range(steps)]
    return [Step(n, seed, max(1, tokens // lengths[n]), lengths[n]) for n in range(steps)]


def draw(step: Step) -> tuple[corpus.Ids, corpus.Flags]:
    rng = np.random.default_rng([0, step.seed, step.number])
    return corpus.batch(rng, step.documents, step.length + 1, float(rng.choice(FACTS)))


def batches(steps: list[Step]) -> Iterator[tuple[corpus.Ids, corpus.Flags]]:
    """Draw the batches of the steps in order, a few ahead, in other processes."""
    workers = max(1, min(6, (os.cpu_count() or 1) - 1))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead = deque(pool.submit(draw, step) for step in steps[: 4 * workers])
        for step in steps[4 * workers :]:
            yield ahead.popleft().result()
            ahead.append(pool.submit(draw, step))
        while ahead:
            yield ahead.popleft().result()


def loss(hidden: Tensor, words: Tensor, tokens: Tensor, recalled: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over all tokens, and over the recalled values alone, in nats."""
    logits = functional.linear(hidden, words).float()
    each = functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    weight = recalled.flatten().float()
    return each.mean(), (each * weight).sum() / weight.sum().clamp(min=1)


def losses(
    model: Qwen2, cross_entropy: Callable[..., Any], ids: Tensor, recalled: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both losses of a batch [B, tokens] on the model's device."""
    device = model.cos.device
    tokens = ids.to(device, non_blocking=True).long()
    told = recalled.to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        hidden = model(tokens[:, :-1])
        both: tuple[Tensor, Tensor] = cross_entropy(
            hidden, model.embed_tokens.weight, tokens[:, 1:], told[:, 1:]
        )
    return both


def rate(step: int, steps: int) -> float:
    """Learning rate: up over the warm-up, level, then down to 0 in a straight line."""
    return PEAK_RATE * min(1, (step + 1) / WARM_UP, (steps - step) / (COOL_DOWN * steps))


def optimizer(model: Qwen2, *, fused: bool) -> torch.optim.AdamW:
    matrices = [w for w in model.parameters() if w.ndim == 2]  # noqa: PLR2004  a matrix
    vectors = [w for w in model.parameters() if w.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=fused)


def train(model: Qwen2, steps: list[Step], folder: Path, seconds: float) -> None:
    """Train through the steps; at the latest after ``seconds`` stop where it stands.

    Exports to ``folder`` every 1000 steps and at the end, each time after a trial of the model.
    """
    on_gpu = model.cos.device.type == "cuda"
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001  one per length; there is no other way
    cross_entropy = torch.compile(loss, dynamic=False) if on_gpu else loss
    for layer in model.layers if on_gpu else ():
        layer.compile(dynamic=False)
    adam = optimizer(model, fused=on_gpu)
    start = time.monotonic()
    for step, (ids, recalled) in zip(steps, batches(steps), strict=True):
        for group in adam.param_groups:
            group["lr"] = rate(step.number, len(steps))
        every, recall = losses(
            model, cross_entropy, torch.from_numpy(ids), torch.from_numpy(recalled)
        )
        (every + recall).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        if step.number % 100 == 0:
            log.info(
                "step %d length %d loss %.3f recall %.4f after %.0f s",
                step.number,
                step.length,
                every.item(),
                recall.item(),
                time.monotonic() - start,
            )
        late = time.monotonic() - start > seconds
        if late or (step.number + 1) % 1000 == 0 or step is steps[-1]:
            export(model, folder)
            with torch.compiler.set_stance("force_eager"):
                trial.report(model)
        if late:
            log.info("out of time after step %d of %d", step.number, len(steps))
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "worker" / "models" / "reference"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=131072, help="tokens of a step")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop by then")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(asked.seed)
    tokens = len(bpe(corpus.VOCABULARY)[0])
    model = Qwen2(Shape(vocab_size=-(-tokens // 64) * 64))  # a size that GPUs multiply fast
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    train(model, plan(asked.steps, asked.tokens, asked.seed), asked.out, asked.seconds)


if __name__ == "__main__":
    main()
