"""Files of other tools: which one wrote a file, and what to give instead of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

#: A tool is known by the beginning of its file.
LOOKED_AT = 100_000  # characters
OF_LLAMA_BENCH = "give the output of: llama-bench -o json"
OWN = (
    "give records (farm run --bundle, farm export FILE.jsonl), llama-bench -o json, or a CSV table "
    "with the columns source,device,model,cache,benchmark,context,metric,kind,value,note"
)
EXPORTED = "give what can be read back: farm export FILE.jsonl"


class Tool(NamedTuple):
    """What a file is, a pattern that its beginning has, and what to give instead."""

    name: str
    pattern: str
    remedy: str = OWN


TOOLS = (
    Tool("the CSV of llama-bench", r'\A"?build_commit"?,"?build_number"?,', OF_LLAMA_BENCH),
    Tool(
        "the SQL of llama-bench",
        r"^(CREATE TABLE IF NOT EXISTS (test|llama_bench)\b|INSERT INTO \w+ \(build_commit\b)",
        OF_LLAMA_BENCH,
    ),
    Tool(
        "the Markdown table of llama-bench",
        r"^\| model +\|.*\| +test +\| +t/s +\|",
        OF_LLAMA_BENCH,
    ),
    Tool("the table of llama-batched-bench", r"^\| +PP \| +TG \| +B \|", OF_LLAMA_BENCH),
    Tool(
        "the output of mlx_lm.benchmark",
        r"^(Trial \d+|Averages): +prompt_tps=",
        "measure it here: farm run --model MODEL; or give its figures as a CSV table",
    ),
    Tool("the JSON of hyperfine", r'"results"\s*:\s*\[\s*\{\s*"command"\s*:'),
    Tool("the CSV of hyperfine", r"\Acommand,mean,stddev,median,user,system,min,max"),
    Tool("the Markdown table of hyperfine", r"^\| Command \| Mean \[\w+\] \|"),
    Tool("the output of hyperfine", r"^ +Time \(mean \W+ \w\):"),
    Tool("the JSON of pyperf", r'"benchmarks"\s*:\s*\[\s*\{\s*"(metadata|runs)"\s*:'),
    Tool("the JSON of pytest-benchmark", r'"machine_info"\s*:\s*\{'),
    Tool("the JSON of Google Benchmark", r'\A\s*\{\s*"context"\s*:\s*\{\s*"date"\s*:'),
    Tool("a result of asv", r'"env_name"\s*:|"result_columns"\s*:\s*\[\s*"result"'),
    Tool("a list of benchmarks of asv", r'"min_run_count"\s*:'),
    Tool("a result of Geekbench", r"(?i)\bgeekbench\b"),
    Tool("a page of HTML", r"(?i)\A\s*<(!doctype html|html)\b"),
    Tool(
        "the raw answers of a host, which have no figures",
        r'\A\s*\{\s*("version"\s*:\s*1\s*,\s*)?"system"\s*:\s*"\w+"\s*,\s*"known"\s*:',
        "give figures: farm run --bundle; or for a look at the host: farm doctor",
    ),
    Tool(
        "a file of pairs",
        r"\A(case_id|pair|base|head)(,(case_id|pair|base|head)){3}\s*$",
        "give it to: farm compare --csv",
    ),
    Tool(
        "a file of series",
        r"\A(series_id|index|value)(,(series_id|index|value)){2}\s*$",
        "give it to: farm detect --csv",
    ),
    Tool("a CSV of farm export", r"\Arecord,run,suite,origin,", EXPORTED),
    Tool("an array of JSON", r"\A\s*\[\s*\{", "give one record a line (JSON lines)"),
)
#: What a file is by its first bytes, and what to give instead.
MAGIC = {
    b"SQLite format 3\0": ("a database", EXPORTED),
    b"PAR1": ("a Parquet file", EXPORTED),
    b"\x1f\x8b": ("compressed by gzip", "unpack it first: gunzip"),
    b"BZh": ("compressed by bzip2", "unpack it first: bunzip2"),
    b"\xfd7zXZ\0": ("compressed by xz", "unpack it first: unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it first: unzstd"),
    b"bplist": ("a property list", OWN),
}
GEEKBENCH = re.compile(r"\.gb\d+", re.IGNORECASE)


def binary(content: bytes) -> tuple[str, str] | None:
    """Say what a file that is no text is, and what to give instead; None where nobody knows."""
    return next((found for magic, found in MAGIC.items() if content.startswith(magic)), None)


def recognised(path: Path, text: str) -> tuple[str, str] | None:
    """Say whose file a text is, and what to give instead; None for one that nobody here knows."""
    if GEEKBENCH.fullmatch(path.suffix):
        return "a result of Geekbench", OWN
    begin = text[:LOOKED_AT]
    for tool in TOOLS:
        if re.search(tool.pattern, begin, re.MULTILINE):
            return tool.name, tool.remedy
    return None
