from dashboard.analysis.comparability import differences, groups, refusal

NEW = {"mlx": "0.32.4", "power_mode": "high"}
OLD = NEW | {"mlx": "0.31.1"}


def test_devices_under_equal_conditions_are_one_group():
    known = {"a": NEW | {"device": "M2 Pro"}, "b": NEW | {"device": "M5 Max"}}
    (group,) = groups(known, ["a", "b", "a"])
    assert group.keys == {"a", "b"}
    assert refusal([group]) is None


def test_other_conditions_are_another_group_and_the_reason_is_told():
    found = groups({"a": NEW, "b": NEW | {"device": "x"}, "c": OLD}, ["c", "a", "b"])
    assert [group.keys for group in found] == [{"a", "b"}, {"c"}]
    assert refusal(found) == (
        "Not ranked together, because the conditions differ: mlx 0.31.1 instead of 0.32.4."
    )


def test_unknown_conditions_are_comparable_with_nothing_but_themselves():
    assert len(groups({}, ["a", "b"])) == 2


def test_a_fact_that_only_one_side_has_is_a_difference():
    assert differences({}, {"governor": "powersave"}) == ["governor powersave instead of unknown"]
