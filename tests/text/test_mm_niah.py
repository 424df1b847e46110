"""MM-NIAH's files and scores: what a line says, and what is wrong with it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_vision
from worker.refusal import RefusalError
from worker.text import mm_niah


@pytest.fixture
def read(tmp_path):
    file = tiny_vision.haystack(tmp_path / "mm_niah_val")

    def read(*rows):
        file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        return mm_niah.questions(file)

    return read


def meta(**changes):
    return {**tiny_vision.question()["meta"], **changes}


def test_images_stand_where_the_text_has_places_for_them(read, tmp_path):
    (question,) = read(tiny_vision.question(7, 3100))
    images = tmp_path / "mm_niah_val" / "images"
    assert [part for part in question.parts if not isinstance(part, str)] == [
        images / "red.png",
        images / "blue.png",
    ]
    assert [type(part) is str for part in question.parts] == [True, False, True, False, True]
    assert (question.id, question.answer, question.length, question.depth) == (
        "7",
        "pear",
        3100,
        0.5,
    )


def test_choices_are_lettered_and_may_be_images(read):
    row = tiny_vision.question(answer=1, meta=meta(choices=["a hat", "a pear"]))
    assert "\nA. a hat\nB. a pear\n" in read(row)[0].parts[-1]
    row = tiny_vision.question(answer=0, meta=meta(choices_image_path=["blue.png", "red.png"]))
    assert [part.name for part in read(row)[0].parts[1::2]] == [
        "red.png",
        "blue.png",
        "blue.png",
        "red.png",
    ]


def test_the_depth_of_several_needles_is_their_mean(read):
    assert read(tiny_vision.question(meta=meta(placed_depth=[0.2, 0.4])))[0].depth == (
        pytest.approx(0.3)
    )


def test_every_problem_of_a_file_is_told_at_once(read):
    with pytest.raises(RefusalError) as caught:
        read(
            "{",
            tiny_vision.question(images_list=["red.png"]),
            tiny_vision.question(images_list=["red.png", "../../secret.png"]),
            tiny_vision.question(meta=meta(context_length=-1)),
            tiny_vision.question(meta=meta(placed_depth=7.0)),
            {"id": 1},
            tiny_vision.question(),
        )
    told = str(caught.value)
    assert "line 1: Invalid JSON" in told
    assert "line 2: 2 places for 1 images" in told
    assert "line 3: no image '../../secret.png'" in told
    assert "line 4: meta.context_length" in told
    assert "line 5: meta.placed_depth" in told
    assert "and 1 more; get the validation set: hf download OpenGVLab/MM-NIAH" in told


def test_another_task_than_there_are_is_answered_with_those_that_there_are(tmp_path):
    file = tiny_vision.haystack(tmp_path / "niah").with_name("counting-text.jsonl")
    with pytest.raises(RefusalError, match=r"counting-text.jsonl; there are: retrieval-text.jsonl"):
        mm_niah.questions(file)


@pytest.mark.parametrize(
    ("length", "bucket"),
    [(200, 1000), (1700, 1000), (1800, 3000), (6000, 7000), (15000, 15000), (72000, 60000)],
)
def test_a_question_belongs_to_the_bucket_it_is_nearest_to(length, bucket):
    assert mm_niah.bucket(length) == bucket


@pytest.mark.parametrize(
    ("answer", "said", "score"),
    [
        ("pear", "The answer is a Pear.", 1),
        ("pear", "spear", 0),
        ("the pear tree", "It is a pear tree, I think", 1),
        ("three", "3", 1),
        ("pear", "", 0),
        (1, "B", 1),
        (1, "B. a pear", 1),
        (1, "The answer is B.", 1),
        (1, "**b**", 1),
        (1, "A", 0),
        (2, "2", 1),
        (0, "none", 0),
        ([1, 2, 3], "[1, 2, 4]", 2 / 3),
        ([1, 2], "```json\n[1, 2]\n```", 1),
        ([1, 2], "[1]", 0.5),
        ([1, 2], "[one", 0),
        ([], "[]", 0),
    ],
)
def test_an_answer_scores(answer, said, score):
    assert mm_niah.score(answer, said) == pytest.approx(score)


@given(said=st.text(), answer=st.one_of(st.text(), st.integers(), st.lists(st.integers())))
def test_whatever_is_said_scores_between_0_and_1(said, answer):
    assert 0 <= mm_niah.score(answer, said) <= 1


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@given(
    data=st.dictionaries(st.sampled_from(sorted(tiny_vision.question())), values),
    of_meta=st.dictionaries(st.sampled_from(sorted(tiny_vision.question()["meta"])), values),
)
def test_any_line_is_read_or_refused(tmp_path_factory, data, of_meta):
    folder = tmp_path_factory.mktemp("fuzz") / "niah"
    file = tiny_vision.haystack(folder)
    file.write_text(json.dumps({**tiny_vision.question(meta=meta(**of_meta)), **data}))
    try:
        (question,) = mm_niah.questions(file)
    except RefusalError:
        return
    assert mm_niah.bucket(question.length) in mm_niah.BUCKETS
