"""The Takeaway world: its truth agrees with what happens, and its closed loop does what it says."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from casebook.worlds.takeaway import CHOICES, Takeaway
from casebook.worlds.takeaway_feed import SLATE, FeedOutcome


@cache
def make(**changes: float) -> Takeaway:
    return Takeaway(**{"seed": 5, "size": "book", "users": 3_000, "towns": 6, **changes})


@cache
def logged(days: int = 5):
    return make().log(days)


@cache
def played(days: int = 4) -> FeedOutcome:
    return make().rollout(make().legacy, range(days), explore=0.3, features=True)


def deviations(happened: np.ndarray, p: np.ndarray) -> float:
    """By how many standard deviations a sum of independent events of probability p differs from its expectation."""
    return float((happened - p).sum() / np.sqrt((p * (1 - p)).sum()))


# -- truth -------------------------------------------------------------------------------------------------------------


def test_truth_of_an_outcome_is_the_truth_of_its_rows():
    truth, outcome = make().truth, played()
    for name in ("p_click", "p_order"):
        np.testing.assert_array_equal(getattr(truth, name)(outcome.frame), outcome.truth[name])
    assert outcome.truth.index.equals(outcome.frame.index)


def test_clicks_and_orders_come_as_often_as_they_should():
    frame, truth = played().frame, played().truth
    for event, name in (("click", "p_click"), ("order", "p_order")):
        happened, p = frame[event].to_numpy(), truth[name].to_numpy(float)
        assert abs(deviations(happened, p)) < 3.5
        for rows in np.array_split(np.argsort(p), 8):
            assert abs(deviations(happened[rows], p[rows])) < 3.5
        for column in ("pos", "device", "hour", "rain", "cuisine", "age_band"):
            for _, rows in frame.groupby(column).indices.items():
                assert abs(deviations(happened[rows], p[rows])) < 4, column


def test_meals_surprise_as_they_should_and_only_the_late_ones_less():
    def gap(**knobs: float) -> np.ndarray:
        world = make(**knobs)
        outcome = world.rollout(world.legacy, range(4), explore=0.3, features=True)
        ordered = outcome.frame["order"] == 1
        assert (outcome.truth["surprise"][~ordered] == 0).all()
        return (outcome.truth["surprise"][ordered] - world.truth.surprise(outcome.frame[ordered])).to_numpy()

    on_time, hurried = gap(capacity=0), gap(capacity=0.2)
    assert on_time.std() == pytest.approx(0.25, rel=0.1) and abs(on_time.mean()) < 0.03
    assert hurried.mean() < on_time.mean() - 0.05


def test_no_slate_has_more_expected_orders_than_that_of_the_oracle():
    truth, days = make().truth, range(2)
    best = make().rollout(truth.p_order, days).truth["p_order"].sum()
    for other in (truth.p_click, make().legacy, lambda d: truth.p_order(d) + 0.05 * truth.surprise(d)):
        # The same sessions on the first day; later ones depend on what was eaten, so one day alone is compared.
        first = make().rollout(other, range(1)).truth["p_order"].sum()
        assert first <= make().rollout(truth.p_order, range(1)).truth["p_order"].sum() + 1e-9
    assert best > 0


def test_a_candidate_is_answered_for_the_first_position():
    rows = played().frame.head(50)
    truth = make().truth
    first = rows.assign(pos=0)
    np.testing.assert_allclose(truth.p_click(rows.drop(columns="pos")), truth.p_click(first))
    assert (truth.p_examined(rows.drop(columns="pos")) == 1).all()


# -- the feed ----------------------------------------------------------------------------------------------------------


def test_a_slate_is_of_open_restaurants_of_the_own_town_each_once():
    frame = played().frame
    assert (frame["restaurant"] // CHOICES == frame["town"]).all()
    assert not frame.duplicated(["session", "restaurant"]).any()
    assert (frame["age"] >= 0).all()
    assert (frame.groupby("session").size() == SLATE).all()
    assert (frame.groupby("session")["pos"].apply(lambda p: sorted(p) == list(range(SLATE)))).all()


def test_the_highest_score_comes_first():
    outcome = make().rollout(lambda d: -d["distance"], range(1), features=True)
    assert (outcome.frame.groupby("session")["distance"].diff().dropna() >= 0).all()


def test_a_small_town_leaves_places_empty():
    world = Takeaway(seed=2, size="book", users=40, towns=1, new=0.9)
    frame = world.log(1).frame
    opened = int((world.restaurants["opened"] == 0).sum())
    assert opened < SLATE, "choose another seed"
    assert (frame.groupby("session").size() == opened).all()


def test_counts_are_those_of_last_night():
    frame = logged().frame
    day = 3
    before, today = frame[frame["day"] < day], frame[frame["day"] == day]
    first = today.groupby("restaurant").first()
    shown = before.groupby("restaurant").size().reindex(first.index, fill_value=0)
    clicks = before.groupby("restaurant")["click"].sum().reindex(first.index, fill_value=0)
    orders = before.groupby("restaurant")["order"].sum().reindex(first.index, fill_value=0)
    np.testing.assert_array_equal(first["restaurant_shown"], shown)
    np.testing.assert_allclose(first["restaurant_ctr"], clicks / np.maximum(shown, 1), rtol=1e-6)
    np.testing.assert_array_equal(first["restaurant_orders"], orders)
    seen = before.groupby(["user", "restaurant"]).size()
    keys = pd.MultiIndex.from_frame(today[["user", "restaurant"]])
    np.testing.assert_array_equal(today["seen"], seen.reindex(keys, fill_value=0))
    of_cuisine = before[before["order"] == 1].groupby(["user", "cuisine"]).size()
    keys = pd.MultiIndex.from_frame(today[["user", "cuisine"]])
    np.testing.assert_array_equal(today["user_orders_of_cuisine"], of_cuisine.reindex(keys, fill_value=0))
    sessions = before.groupby("user")["session"].nunique()
    np.testing.assert_array_equal(today["user_sessions"], sessions.reindex(today["user"], fill_value=0))


def test_the_rating_feature_knows_only_what_has_arrived():
    frame, day = logged().frame, 4
    arrived = frame[(frame["rating"] > 0) & (frame["rating_time"] <= day)].groupby("restaurant")["rating"]
    first = frame[frame["day"] == day].groupby("restaurant").first()
    count = arrived.size().reindex(first.index, fill_value=0)
    total = arrived.sum().reindex(first.index, fill_value=0)
    np.testing.assert_array_equal(first["restaurant_ratings"], count)
    np.testing.assert_allclose(first["restaurant_rating"], (total + 3.5 * 5) / (count + 5), rtol=1e-6)


def test_propensities_are_those_of_the_slates_that_were_shown():
    frame = logged().frame
    assert frame["propensity"].between(0, 1, inclusive="right").all()
    # Each position is filled by somebody: the mean of 1 / propensity over all its choices is their number.
    weight = (1 / frame["propensity"]).groupby(frame["pos"]).sum() / frame["session"].nunique()
    opened = frame.groupby("town")["restaurant"].nunique().mean()
    assert weight.to_numpy() == pytest.approx(np.full(SLATE, opened), rel=0.15)


# -- closed loops ------------------------------------------------------------------------------------------------------


def test_a_rollout_goes_on_where_the_log_ended_and_leaves_it_as_it_was():
    world, log = make(), logged()
    first = world.rollout(world.legacy, range(5, 8), after=log, features=True)
    again = world.rollout(world.legacy, range(5, 8), after=log, features=True)
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert first.frame["user_sessions"].iloc[0] > 0 or first.frame["user_sessions"].max() > 3
    with pytest.raises(ValueError, match="days begins with 9: expected 5, the day after the log"):
        world.rollout(world.legacy, range(9, 11), after=log)


def test_two_equal_arms_are_one_arm():
    world = make()
    alone = world.rollout(world.legacy, range(2))
    for by in ("user", "town", "town_day"):
        both = world.rollout({"a": world.legacy, "b": world.legacy}, range(2), by=by)
        pd.testing.assert_frame_equal(both.frame.drop(columns="arm"), alone.frame.drop(columns="arm"))
        assert set(both.frame["arm"]) == {"a", "b"}


@pytest.mark.parametrize(("by", "keys"), [("user", ["user"]), ("town", ["town"]), ("town_day", ["town", "day"])])
def test_a_unit_has_one_arm(by, keys):
    world = make()
    frame = world.rollout({"a": world.legacy, "b": world.truth.p_click}, range(4), by=by, split=0.5).frame
    assert (frame.groupby(keys)["arm"].nunique() == 1).all()
    if by != "user":
        share = frame.groupby(keys)["arm"].first().eq("b").mean()
        assert share == pytest.approx(0.5), "half of the towns, not half on average"
    if by == "town_day":
        assert (frame.groupby("town")["arm"].nunique() == 2).mean() > 0.5


def test_towns_do_not_touch_each_other():
    world = make()
    plain = world.rollout(world.legacy, range(3)).frame
    mixed = world.rollout({"a": world.legacy, "b": world.truth.p_click}, range(3), by="town").frame
    quiet = mixed.loc[mixed["arm"] == "a", "town"].unique()
    columns = ["session", "restaurant", "pos", "click", "order", "rating"]
    left = plain[plain["town"].isin(quiet)][columns].reset_index(drop=True)
    right = mixed[mixed["town"].isin(quiet)][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, right)


def test_users_and_days_sum_up_the_frame():
    outcome = make().rollout({"a": make().legacy, "b": make().truth.p_order}, range(3), share=0.5)
    frame, users, days = outcome.frame, outcome.users, outcome.days
    assert users["orders"].sum() == frame["order"].sum() == days["orders"].sum()
    assert users["clicks"].sum() == frame["click"].sum() == days["clicks"].sum()
    assert users["sessions"].sum() == frame["session"].nunique() == days["sessions"].sum()
    assert (users["sessions"] == 0).any(), "those who never came are counted too"
    assert set(frame["user"]) <= set(users["user"]) and 0.4 < len(users) / make().sizes.users < 0.6
    by_arm = frame.groupby("arm")["order"].sum()
    assert by_arm.to_dict() == users.groupby("arm")["orders"].sum().to_dict()


def test_sessions_follow_the_hours_and_the_users():
    frame = logged().frame.drop_duplicates("session")
    assert frame["hour"].mode()[0] in (18, 19, 20)
    mean = frame.groupby("user").size().reindex(range(make().sizes.users), fill_value=0) / 5
    assert np.corrcoef(mean, make()._activity)[0, 1] > 0.7
    assert mean.mean() == pytest.approx(0.5, rel=0.15)


def test_bad_arguments_of_a_rollout():
    world = make()
    for arguments, message in (
        ({"policies": {}, "days": range(1)}, "policies has 0 entries"),
        ({"policies": 3, "days": range(1)}, "policy 'all' is 3: expected a function"),
        ({"policies": world.legacy, "days": range(0)}, r"days is range\(0, 0\)"),
        ({"policies": world.legacy, "days": range(500, 501)}, "days is range"),
        ({"policies": world.legacy, "days": range(1), "share": 0}, "share is 0"),
        ({"policies": world.legacy, "days": range(1), "split": 2}, "split is 2"),
        ({"policies": world.legacy, "days": range(1), "explore": -1}, "explore is -1"),
        ({"policies": world.legacy, "days": range(1), "by": "cookie"}, "by is 'cookie'"),
        ({"policies": lambda d: np.zeros(3), "days": range(1)}, "policy 'all' gave shape"),
        ({"policies": lambda d: np.full(len(d), np.nan), "days": range(1)}, "hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            world.rollout(**arguments)
