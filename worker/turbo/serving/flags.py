"""Values of mlx-lm's flags that it finds wrong late: refused before a model is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .arguments import half, natural, new_file, positive, seed, settings, share, tokens

_SPOKEN = {
    "--seed": seed,
    "--prefill-step-size": positive,
    "--top-p": share,
    "--xtc-probability": share,
    "--xtc-threshold": half,
}
#: What a command's flags may be, where mlx-lm itself takes any number or text.
_VALUES: dict[str, dict[str, Callable[[str], Any]]] = {
    "generate": {
        **_SPOKEN,
        "--max-tokens": tokens,
        "-m": tokens,
        "--min-p": share,
        "--min-tokens-to-keep": positive,
        "--num-draft-tokens": positive,
        "--chat-template-config": settings,
    },
    "chat": {**_SPOKEN, "--max-tokens": tokens, "-m": tokens},
    "cache_prompt": {"--prompt-cache-file": new_file},
    "server": {
        "--prefill-step-size": positive,
        "--max-tokens": positive,
        "--top-p": share,
        "--min-p": share,
        "--num-draft-tokens": positive,
        "--decode-concurrency": positive,
        "--prompt-concurrency": positive,
        "--chat-template-args": settings,
    },
    "vlm-generate": {"--seed": seed, "--max-tokens": natural},
    "vlm-server": {
        "--max-tokens": positive,
        "--prefill-step-size": positive,
        "--max-num-seqs": positive,
        "--top-logprobs-k": natural,
        "--vision-cache-size": natural,
    },
}


def require_possible(command: str, theirs: list[str]) -> None:
    """End with 2 and a sentence where a flag has a value that cannot be."""
    # The beginning of a flag can be another flag's name: only they know what stands for what.
    parser = argparse.ArgumentParser(
        prog=f"turbo-kv {command}", usage="%(prog)s --help", add_help=False, allow_abbrev=False
    )
    for flag, value in _VALUES.get(command, {}).items():
        parser.add_argument(flag, type=value)
    parser.parse_known_args(theirs)
