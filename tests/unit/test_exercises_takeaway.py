"""The five hidden faults: each can be found from its log alone, and the checker says where to look."""

import pytest

from casebook.exercises import takeaway

SEED = 3


def diagnose(before, after):
    """A right answer: contracts first, then freshness, then rates."""
    if after["price"].max() > 10 * before["price"].max():
        return "prices in cents"
    if after["user_sessions"].max() == 0:
        return "history empty"
    if (after["order"] > after["click"]).any():
        return "clicks not logged"
    if (after.groupby("restaurant")["restaurant_rating"].nunique() == 1).all():
        return "ratings stale"
    orders = after.groupby("cuisine")[["click", "order"]].sum()
    return "kitchens closed" if (orders["order"][orders["click"] > 100] == 0).any() else "nothing"


@pytest.fixture(scope="module")
def cases():
    return {number: takeaway.case(number, seed=SEED) for number in range(1, 6)}


def test_each_case_has_its_own_fault_and_a_right_answer_passes(cases):
    said = {number: diagnose(one.before, one.after) for number, one in cases.items()}
    assert sorted(said.values()) == sorted(takeaway.FAULTS)
    for number, answer in said.items():
        result = takeaway.check_fault(number, answer, seed=SEED)
        assert result.passed
        assert result.feedback.startswith("yes: ")


def test_a_wrong_answer_is_told_what_it_would_look_like(cases):
    fault = diagnose(cases[1].before, cases[1].after)
    for name in takeaway.NAMES:
        result = takeaway.check_fault(1, name, seed=SEED)
        assert result.passed == (name == fault)
        assert result.passed or "if it were that" in result.feedback


def test_before_is_healthy_and_the_days_follow(cases):
    for one in cases.values():
        assert (one.before["day"].min(), one.before["day"].max()) == (7, 20)
        assert (one.after["day"].min(), one.after["day"].max()) == (21, 23)
        assert diagnose(one.before, one.before) == "nothing"
        assert {"score", "propensity", "restaurant_rating", "order"} <= set(one.after)


def test_the_order_of_the_faults_depends_on_the_seed():
    orders = {tuple(takeaway._hidden(number, seed)[0] for number in range(1, 6)) for seed in range(8)}
    assert len(orders) > 1


def test_the_cuisine_that_closes_is_one_that_is_missed():
    one = takeaway.case(3, seed=7)  # the first company that this seed draws sells 27 of its meals in two weeks
    sold = one.after.groupby("cuisine")["order"].sum()
    closed = one.before["cuisine"].isin(sold.index[sold == 0])
    assert one.before.loc[closed, "order"].sum() >= takeaway.MISSED


def test_a_case_is_the_readers_own(cases):
    one = takeaway.case(1, seed=SEED)
    one.after.loc[:, "price"] = -1.0
    assert (takeaway.case(1, seed=SEED).after["price"] > 0).all()


def test_a_diagnosis_is_run_on_logs_that_nobody_has_seen():
    assert takeaway.check_diagnosis(diagnose, seed=SEED).passed


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda before, after: "kitchens closed", "a hundred times"),
        (lambda before, after: "nothing" if diagnose(before, after) == "kitchens closed" else "", "never ordered"),
        (lambda before, after: diagnose(before, after).replace("nothing", "rain"), "every column"),
        (lambda before, after: before["no such column"], "KeyError"),
    ],
)
def test_a_wrong_diagnosis_is_told_what_it_missed(answer, hint):
    result = takeaway.check_diagnosis(answer, seed=SEED)
    assert not result.passed
    assert hint in result.feedback


def test_what_is_no_answer_is_refused():
    with pytest.raises(ValueError, match="number is 6: expected 1 to 5"):
        takeaway.case(6)
    with pytest.raises(ValueError, match="answer"):
        takeaway.check_fault(1, "gremlins")
    with pytest.raises(ValueError, match="answer is 3: expected a function"):
        takeaway.check_diagnosis(3)
