"""Choose the smallest cache whose answers stay near fp16's, by measuring it with your model.

What is stored already is not measured again, so a broken choice goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

from farm.campaign import campaign as measuring
from farm.campaign import choose
from farm.campaign.choose import Choosing, JobFailedError, Search
from farm.campaign.look_first import here_among, look_first
from farm.commands._arguments import RESUMES, add_json, add_place, patience, positive
from farm.errors import FarmError
from farm.plan import builds, inventory
from farm.plan.inventory import Inventory
from farm.report import choice as report
from farm.report.choice import Choice
from farm.report.run import failure
from worker.models import ModelError
from worker.models.longest import longest_context
from worker.refusal import RefusalError
from worker.text import passages
from worker.text.passages import CORPUS, ENGLISH, PYDOC

INTERRUPTED = RESUMES
#: Below, a cache packs so little that nothing is told of it.
SHORTEST = 256
DEADLINE = 3600.0
#: So many tokens the English text surely has, in any model's tokens.
ENGLISH_TOKENS = 8192
_CONTEXT = re.compile(r"(\d+)([kK]?)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="a hub id, a folder, a .gguf file, or: reference"
    )
    parser.add_argument(
        "--max-kl",
        type=positive,
        default=0.01,
        metavar="NATS",
        help="KL divergence from fp16 KV, to its upper 95 %% bound (default: %(default)s)",
    )
    parser.add_argument(
        "--context", type=_context, default=4096, help="tokens, as 4096 or 16K (default: 4K)"
    )
    parser.add_argument("--host", help="default: this machine")
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        help="to read: english, pydoc, corpus or a file; it has to hold on each (default: english "
        "and pydoc, beyond 8K pydoc alone; for reference corpus); may be repeated",
    )
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="TEXT",
        help="a further text to check the choice on; exits with 4 if it does not hold",
    )
    parser.add_argument("--again", action="store_true", help="measure anew what is stored, too")
    add_json(parser)
    add_place(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    host = _host(known, args.host)
    _check_context(args.model, args.context)
    texts = _texts(args)
    _check_further(texts, args.check)
    if here_among(known, [host]):
        _check_texts([*args.text, *args.check], args.context)
    build = builds.working_tree(known.subject, known.state / "builds")
    begun = time.perf_counter()
    with measuring.campaign(known, args.db, "choose", "choose", DEADLINE) as campaign:
        choosing = Choosing(
            campaign,
            build,
            host,
            args.model,
            args.context,
            texts,
            time.time() if args.again else 0.0,
        )
        try:
            choice = _chosen(args, known, choosing)
        except JobFailedError as failed:
            print(failure(failed.record), file=sys.stderr)
            return 3
        finally:
            campaign.finish(time.perf_counter() - begun)
    print(json.dumps(report.document(choice), indent=2) if args.json else report.text(choice))
    return 0 if choice.holds else 4


def _chosen(args: argparse.Namespace, known: Inventory, choosing: Choosing) -> Choice:
    found = choose.search(choosing, args.max_kl)
    setting = found.chosen(args.max_kl)
    if setting is None:
        raise FarmError(_none_within(args.max_kl, found))
    checked = {
        name: choose.divergence_on(choosing, setting.cache, _named(name)) for name in args.check
    }
    look_first(known, {choosing.host}, choosing.campaign.tell, patience=patience(args))
    return Choice(
        model=choosing.model,
        context=choosing.context,
        host=choosing.host,
        budget=args.max_kl,
        tried=tuple(found.tried.values()),
        chosen=found.tried[setting],
        figures=choose.beside_fp16(choosing, setting.cache),
        on=found.texts[setting],
        elsewhere=checked,
        note=found.note,
    )


def _none_within(budget: float, found: Search) -> str:
    near = found.nearest
    kl = near.divergence
    return (
        f"--max-kl {budget:g}: no setting is within it; the nearest is {near.cache.label}, KL "
        f"{kl.mean:.2g} ({report.bounds(kl)}): allow {kl.high:.2g}, or keep fp16"
    )


def _host(known: Inventory, name: str | None) -> str:
    """Return the one host to measure on, this machine by default."""
    if name is not None:
        (host, *more) = inventory.choose(known, [name])
        if more:
            raise FarmError(f"--host {name}: {len(more) + 1} hosts; name one of them")
        return host
    mine = here_among(known, list(known.hosts))
    if not mine:
        raise FarmError("inventory: this machine is no host of it; name one with --host")
    return mine[0]


def _check_context(model: str, context: int) -> None:
    try:
        longest = longest_context(model)
    except ModelError as error:
        raise FarmError(str(error)) from error
    if longest is not None and context > longest:
        raise FarmError(f"--context {context}: {model} was made for {longest} tokens; take less")


def _check_further(searched: tuple[str, ...], checks: list[str]) -> None:
    if same := [name for name in checks if _named(name) in searched]:
        raise FarmError(f"--check {same[0]}: the choice is searched on it; name another text")


def _check_texts(names: list[str], context: int) -> None:
    """Raise FarmError for the texts that cannot be read here, or are too short for sure."""
    wrong = []
    for name in set(names) - {CORPUS}:
        try:
            size = len(passages.read(name).encode())
        except RefusalError as error:
            wrong.append(str(error))
            continue
        if size <= context:  # a token has a byte at least
            wrong.append(
                f"text {name!r}: {size} bytes, and more than {context} tokens are read; take a "
                "longer text, or a shorter context"
            )
    if wrong:
        raise FarmError("\n".join(sorted(wrong)))


def _texts(args: argparse.Namespace) -> tuple[str, ...]:
    """Return what to read; a file by its whole path, so that its figures are found again."""
    if args.text:
        return tuple(dict.fromkeys(map(_named, args.text)))
    if args.model == "reference":
        return (CORPUS,)
    return (ENGLISH, PYDOC) if args.context <= ENGLISH_TOKENS else (PYDOC,)


def _named(text: str) -> str:
    return text if text in {CORPUS, ENGLISH, PYDOC} else str(Path(text).expanduser().resolve())


def _context(text: str) -> int:
    found = _CONTEXT.fullmatch(text)
    number = int(found[1]) * (1024 if found[2] else 1) if found else 0
    if number < SHORTEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of tokens from {SHORTEST} on, as 4096 or 16K"
        )
    return number
