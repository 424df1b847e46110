"""Metal's text compiles under every rule for address spaces; the full sweep is `metal_text.py`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import metal_text

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(metal_text.clang() is None, reason="no clang++"),
]


@pytest.fixture(scope="module")
def texts() -> list[metal_text.Text]:
    return list({text.source: text for text in metal_text.few()}.values())


def test_there_is_a_text_of_every_part(texts):
    assert {text.part for text in texts} == {"attend", "merge", "encode", "decode", "keep", "turn"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", metal_text.MODES)
def test_clang_has_nothing_against_the_text(texts, mode):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda text: metal_text.problems(text.source, mode), texts))
    assert not [
        (text.name, text.part, said) for text, said in zip(texts, found, strict=True) if said
    ]


def test_every_pointer_names_its_address_space(texts):
    assert {bare for text in texts for bare in metal_text.unqualified(text.source)} == set()


def test_a_wrong_address_space_is_seen(texts):
    some = list(metal_text.mutants(texts[:1]))[::40]
    with ThreadPoolExecutor(2) as pool:
        caught = list(pool.map(lambda pair: metal_text.seen(pair[1]), some))
    assert sum(caught) > 0.75 * len(some)


def test_the_text_has_no_comments_and_no_indentation(texts):
    lines = [line for line in texts[0].source.splitlines() if "[[" not in line]
    assert not [line for line in lines if line.startswith("    ") or "//" in line]
