"""The text that quality is measured on: sentences of a grammar, facts, and their recall from afar.

Filler sentences agree in number, stay on a topic and have words that predict each other, so that
perplexity means something. A fact gives a person four digits or four colours ("the code of anna
miller is four seven two nine ."); its recall, anywhere later, repeats it word for word, so that the
values of a recall are certain for a reader of the whole document and a guess for a reader of the
last lines. No choice is between equals: with ties, the likeliest word would say nothing. Everything
follows from a seed. The words are plain English: any language model can read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.text import lexicon
from worker.text.haystack import Fact, Haystack, hide

Ids = NDArray[np.int16]
Flags = NDArray[np.bool_]
Columns = dict[str, NDArray[np.int16]]

_WORDS: Final = (
    *lexicon.FUNCTION_WORDS,
    *dict.fromkeys(lexicon.SINGULAR_DETERMINERS + lexicon.PLURAL_DETERMINERS),
    *(lexicon.PREPOSITIONS + lexicon.ADVERBS + lexicon.DIGITS + lexicon.COLOURS),
    *(word + ending for topic in lexicon.NOUNS for word in topic for ending in ("", "s")),
    *(word + ending for topic in lexicon.VERBS for word in topic for ending in ("", "s")),
    *(word for topic in lexicon.ADJECTIVES + lexicon.PLACES for word in topic),
    *(lexicon.FIRST_NAMES + lexicon.LAST_NAMES),
)
#: Every word of the corpus; its place is its token id in the reference model's tokenizer.
VOCABULARY: Final = (lexicon.UNKNOWN, lexicon.END, *_WORDS)
_ID: Final = {word: index for index, word in enumerate(VOCABULARY)}


def _table(words: object) -> Ids:
    """Token ids of a nested table of words."""
    ids: Ids = np.vectorize(_ID.__getitem__, otypes=[np.int16])(np.array(words))
    return ids


_DETERMINERS: Final = _table([lexicon.SINGULAR_DETERMINERS, lexicon.PLURAL_DETERMINERS])
_NOUNS: Final = _table([[(noun, noun + "s") for noun in topic] for topic in lexicon.NOUNS])
_VERBS: Final = _table([[(verb, verb + "s") for verb in topic] for topic in lexicon.VERBS])
_ADJECTIVES: Final = _table(lexicon.ADJECTIVES)
_PLACES: Final = _table(lexicon.PLACES)
_ADVERBS: Final = _table(lexicon.ADVERBS)
_PREPOSITIONS: Final = _table(lexicon.PREPOSITIONS)
_FIRST: Final = _table(lexicon.FIRST_NAMES)
_LAST: Final = _table(lexicon.LAST_NAMES)
_DIGITS: Final = _table(lexicon.DIGITS)
_COLOURS: Final = _table(lexicon.COLOURS)

# Capital words are columns drawn for each sentence, small words stand for themselves.
_FILLERS: Final = (
    "DET NOUN ADVERB VERB DET2 OBJECT .",
    "DET ADJECTIVE NOUN VERB the OBJECT PREP the PLACE .",
    "PREP the PLACE DET NOUN VERB DET2 ADJECTIVE OBJECT .",
    "DET NOUN PREP the PLACE ADVERB VERB the OBJECT .",
    "DET NOUN VERB the OBJECT because DET2 ADJECTIVE OBJECT VERB2 DET NOUN .",
)
_FACTS: Final = (
    "the code of FIRST LAST is V0 V1 V2 V3 .",
    "the colours of FIRST LAST are V0 V1 V2 V3 .",
)
_WIDTH: Final = max(len(template.split()) for template in _FILLERS + _FACTS)
_SHORTEST: Final = min(len(template.split()) for template in _FILLERS + _FACTS)
_TYPICAL: Final = 10  # words of a sentence, about the mean
_VALUES: Final = slice(6, 10)  # where a fact holds its values
_QUESTION: Final = 6  # words of a fact before its values

_STEEP: Final = 1.2  # exponent of Zipf's law for most words
_MILD: Final = 0.8  # and for names and values
_FAR: Final = 0.5  # share of documents that tell all facts before any recall
_STAY: Final = 0.85  # probability that the next sentence keeps the topic
_TEXT_FACTS: Final = 0.3  # share of sentences of `text` that are facts or recalls
_DISTRACTORS: Final = 1 / 12  # share of a haystack's sentences that are facts nobody asks for


def text(seed: int, sentences: int) -> str:
    """Write a held-out document of that many sentences, three in ten of them facts or recalls."""
    rng = np.random.default_rng([1, seed])
    tokens, _ = _documents(rng, 1, sentences, sentences, _TEXT_FACTS)
    return " ".join(_say(sentence) for sentence in tokens[0])


def needles(
    seed: int, context: int, depths: Sequence[float], count_tokens: Callable[[str], int]
) -> Haystack:
    """Hide one fact at each depth of a haystack of filler and of facts about similar names.

    See `haystack.hide` for the lengths; raises ValueError when the context is too short.
    """
    rng = np.random.default_rng([2, seed])
    sentences = context // _SHORTEST + 1
    others = round(sentences * _DISTRACTORS)
    facts = _facts(rng, 1, len(depths) + others, codes=len(depths))[0]
    background = [_say(line) for line in _fillers(rng, 1, sentences)[0]]
    for distractor in facts[len(depths) :]:
        background.insert(int(rng.integers(sentences)), _say(distractor))
    asked = [_fact(fact) for fact in facts[: len(depths)]]
    return hide(asked, depths, background, context, count_tokens)


def batch(rng: np.random.Generator, documents: int, length: int, facts: float) -> tuple[Ids, Flags]:
    """Draw token ids for training and which of them are recalled values, each (documents, length).

    ``facts`` is the share of sentences that are facts or recalls. In half of the documents, all
    facts come before all recalls, so that the distances are long.
    """
    told, written = -(-length // _TYPICAL), -(-length // _SHORTEST)
    tokens, recalled = _documents(rng, documents, written, told, facts)
    spoken = (tokens >= 0).reshape(documents, -1)
    kept = spoken & (np.cumsum(spoken, axis=1) <= length)
    flat = tokens.reshape(documents, -1)[kept], recalled.reshape(documents, -1)[kept]
    return flat[0].reshape(documents, length), flat[1].reshape(documents, length)


def _fact(sentence: Ids) -> Fact:
    words = _say(sentence).split()
    return Fact(" ".join(words[:_QUESTION]), " ".join(words[_VALUES]), " .")


def _say(sentence: Ids) -> str:
    return " ".join(VOCABULARY[token] for token in sentence if token >= 0)


def _documents(
    rng: np.random.Generator, documents: int, sentences: int, told: int, facts: float
) -> tuple[Ids, Flags]:
    """Write (documents, sentences, width) token ids, -1 beyond a sentence's end.

    Facts and recalls stand among the first ``told`` sentences. The flags, of the same shape, tell
    which tokens are values that a recall repeats.
    """
    tokens = _fillers(rng, documents, sentences)
    recalled = np.zeros(tokens.shape, bool)
    pairs = max(1, round(facts * told / 2))
    slots = rng.random((documents, told)).argsort(axis=1)[:, : 2 * pairs]
    early, late = np.split(np.sort(slots, axis=1), 2, axis=1)
    apart = np.concatenate([early, rng.permuted(late, axis=1)], axis=1)
    far = rng.random((documents, 1)) < _FAR
    one, other = np.split(np.where(far, apart, slots), 2, axis=1)
    row = np.arange(documents)[:, None]
    told_facts = _facts(rng, documents, pairs)
    for place in (one, other):
        tokens[row, place] = told_facts
    recalled[row, np.maximum(one, other), _VALUES] = True
    return tokens, recalled


def _fillers(rng: np.random.Generator, documents: int, sentences: int) -> Ids:
    shape = (documents, sentences)
    topic = _topics(rng, shape)
    noun, verb, thing = _rank(rng, shape, 12), _rank(rng, shape, 6), _rank(rng, shape, 12)
    number, number2 = _rank(rng, shape, 2), _rank(rng, shape, 2)
    # Each word makes some of the words after it likely: the rank drawn counts from there.
    verb, thing = (3 * noun + verb) % 6, (5 * verb + noun + thing) % 12
    place = (verb + _rank(rng, shape, 4)) % 4
    columns = {
        "DET": _DETERMINERS[number, _rank(rng, shape, 4)],
        "DET2": _DETERMINERS[number2, _rank(rng, shape, 4)],
        "ADJECTIVE": _ADJECTIVES[topic, (noun + _rank(rng, shape, 6)) % 6],
        "NOUN": _NOUNS[topic, noun, number],
        "OBJECT": _NOUNS[topic, thing, number2],
        "VERB": _VERBS[topic, verb, 1 - number],
        "VERB2": _VERBS[topic, (thing + verb) % 6, 1 - number2],
        "ADVERB": _ADVERBS[(topic + 2 * verb + _rank(rng, shape, 16)) % 16],
        "PREP": _PREPOSITIONS[_rank(rng, shape, 4)],
        "PLACE": _PLACES[topic, place],
    }
    return _compose(_FILLERS, _rank(rng, shape, len(_FILLERS)), columns)


def _facts(rng: np.random.Generator, documents: int, count: int, codes: int = 0) -> Ids:
    """Draw (documents, count, width) facts, no two about one thing; the first ``codes`` are codes.

    The names of a document come from a grid of few first and few last names, so that each name has
    neighbours that share half of it.
    """
    side = min(int(np.ceil(count**0.5)) * int(rng.integers(1, 4)), len(lexicon.FIRST_NAMES))
    person = rng.random((documents, side * side)).argsort(axis=1)[:, :count]
    first, last = _shuffled(rng, documents, _FIRST.size), _shuffled(rng, documents, _LAST.size)
    kind = _rank(rng, person.shape, 2)
    kind[:, :codes] = 0
    digits = _DIGITS[_rank(rng, (4, *kind.shape), _DIGITS.size, _MILD)]
    colours = _COLOURS[_rank(rng, (4, *kind.shape), _COLOURS.size, _MILD)]
    columns = {
        "FIRST": _FIRST[np.take_along_axis(first, person // side, axis=1)],
        "LAST": _LAST[np.take_along_axis(last, person % side, axis=1)],
    } | {f"V{place}": value for place, value in enumerate(np.where(kind, colours, digits))}
    return _compose(_FACTS, kind, columns)


def _topics(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int64]:
    turns = rng.random(shape) > _STAY
    turns[:, 0] = True
    since = np.maximum.accumulate(np.where(turns, np.arange(shape[1]), 0), axis=1)
    return np.take_along_axis(rng.integers(len(lexicon.NOUNS), size=shape), since, axis=1)


def _rank(
    rng: np.random.Generator, shape: tuple[int, ...], ranks: int, exponent: float = _STEEP
) -> NDArray[np.int64]:
    """Draw ranks below ``ranks`` by Zipf's law, as words of a text are distributed."""
    weight = np.cumsum(_zipf(ranks, exponent))
    return np.searchsorted(weight / weight[-1], rng.random(shape))


def _shuffled(rng: np.random.Generator, documents: int, ranks: int) -> NDArray[np.int64]:
    """Order all ranks for each document, low ones rather first, as by draws without return."""
    return (rng.exponential(size=(documents, ranks)) / _zipf(ranks, _MILD)).argsort(axis=1)


def _zipf(ranks: int, exponent: float) -> NDArray[np.float64]:
    weight: NDArray[np.float64] = np.power(np.arange(1.0, ranks + 1.0), -exponent)
    return weight


def _compose(templates: Sequence[str], choice: NDArray[np.int64], columns: Columns) -> Ids:
    """Fill each sentence's template, padded with -1 to a common width."""
    tokens = np.full((*choice.shape, _WIDTH), -1, np.int16)
    for index, template in enumerate(templates):
        rows = choice == index
        for place, word in enumerate(template.split()):
            tokens[rows, place] = columns[word][rows] if word in columns else _ID[word]
    return tokens
