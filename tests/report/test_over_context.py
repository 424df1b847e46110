"""The picture of memory and speed over context."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from farm.bench.over_context import svg, table
from farm.report.figures import Figure, Ratio
from worker.job import Cache, Cell

NAME = "{http://www.w3.org/2000/svg}"


def figures(*, counts=True):
    for cache, share in (("fp16", 1.0), ("<turbo>", 0.3)):
        for context in (512, 4096):
            cell = Cell(
                benchmark="memory",
                model="reference",
                cache=Cache(name=cache),
                params={"context": context},
            )
            ratio = Ratio(share, share - 0.1, share + 0.1, 3, counts)
            yield Figure(
                "local", "b", cell, "kv_bytes", share * context * 1e3, counts=True, ratio=None
            )
            yield Figure("local", "b", cell, "generation_tps", 50.0, counts=counts, ratio=ratio)


def drawn(found):
    return ET.fromstring(svg(list(found), "a model & a device"))  # noqa: S314  our own text


def test_a_point_is_drawn_for_each_figure_and_names_are_text():
    picture = drawn(figures())
    assert len(picture.findall(f"{NAME}circle")) == 8
    words = [one.text for one in picture.findall(f"{NAME}text")]
    assert {"<turbo>", "fp16", "512", "4096", "a model & a device"} <= set(words)
    assert not any("does not count" in (word or "") for word in words)


def test_what_does_not_count_is_hollow_and_the_picture_says_so():
    picture = drawn(figures(counts=False))
    hollow = [one for one in picture.findall(f"{NAME}circle") if one.get("fill") == "white"]
    assert len(hollow) == 4
    words = " ".join(one.text or "" for one in picture.findall(f"{NAME}text"))
    assert "hollow: does not count" in words


def test_the_table_has_the_same_figures():
    lines = table(list(figures(counts=False))).splitlines()
    assert len(lines) == 9
    assert sum(line.endswith("*") for line in lines[1:]) == 4
