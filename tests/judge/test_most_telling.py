from hypothesis import given, settings
from hypothesis import strategies as st

from farm.judge.most_telling import every, most_telling


def test_the_ends_come_first_then_the_middles():
    assert most_telling(9, {}, 5) == [0, 8, 4, 2, 6]


def test_the_gap_with_a_change_of_level_is_filled_first():
    values = {0: [100.0], 10: [100.0], 20: [80.0]}
    first, second = most_telling(21, values, 2)
    assert first == 15
    assert second in {12, 13, 17, 18}


def test_every_step_leaves_out_what_is_measured_and_ends_with_the_newest():
    assert every(10, 4, [4]) == [0, 8, 9]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(0, 40), st.data())
def test_every_position_is_chosen_once_until_all_are_measured(size, count, data):
    measured = data.draw(st.sets(st.integers(0, size - 1)))
    chosen = most_telling(size, {place: [1.0 + place] for place in measured}, count)
    assert len(chosen) == len(set(chosen)) == min(count, size - len(measured))
    assert not set(chosen) & measured
    assert all(0 <= place < size for place in chosen)
