"""The ad click world: its truth agrees with what happens, and its closed loop does what it says."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from casebook.worlds.ad_click import AdClick, Outcome


@cache
def make(**changes: float) -> AdClick:
    return AdClick(**{"seed": 5, "size": "book", "users": 400, "ads": 200, "requests": 3000, **changes})


@cache
def played(days: int = 4, **changes: float) -> Outcome:
    """A rollout of the old system that explores, with many clicks, so that rates can be told apart."""
    world = make(**{"ctr": 0.2, **changes})
    return world.rollout(world.legacy, range(days), explore=0.3, stream="log")


def log_loss(label: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -np.where(label == 1, np.log(p), np.log1p(-p))


def expected_loss(p: np.ndarray, guess: np.ndarray | float) -> float:
    return float(-(p * np.log(guess) + (1 - p) * np.log1p(-guess)).mean())


def deviations(happened: np.ndarray, expected: np.ndarray, p: np.ndarray, size: np.ndarray | float = 1.0) -> float:
    """By how many standard deviations a sum of independent events of probability p differs from its expectation."""
    return float((happened - expected).sum() / np.sqrt((size**2 * p * (1 - p)).sum()))


# -- truth -------------------------------------------------------------------------------------------------------------


def test_truth_of_an_outcome_is_the_truth_of_its_rows():
    world, outcome = make(ctr=0.2), played()
    for name in ("p_click", "p_hide"):
        np.testing.assert_array_equal(getattr(world.truth, name)(outcome.frame), outcome.truth[name])
    assert outcome.truth.index.equals(outcome.frame.index)


def test_clicks_and_hides_come_as_often_as_they_should():
    frame, truth = played().frame, played().truth
    for event, name in (("click", "p_click"), ("hide", "p_hide")):
        happened, p = frame[event].to_numpy(), truth[name].to_numpy(float)
        assert abs(deviations(happened, p, p)) < 3.5
        for rows in np.array_split(np.argsort(p), 8):
            assert abs(deviations(happened[rows], p[rows], p[rows])) < 3.5
    for column in ("slot", "device", "hour", "format", "per_click"):
        for _, rows in frame.groupby(column).indices.items():
            p = truth["p_click"].to_numpy(float)[rows]
            assert abs(deviations(frame["click"].to_numpy()[rows], p, p)) < 4, column


def test_conversions_follow_clicks_and_arrive_when_they_should():
    world, frame = make(ctr=0.2), played().frame
    assert (frame.loc[frame["conversion"] == 1, "click"] == 1).all()
    assert (frame["conversion_time"].notna() == (frame["conversion"] == 1)).all()
    clicks = frame[frame["click"] == 1]
    p = world.truth.p_convert(clicks).astype(float)
    assert abs(deviations(clicks["conversion"].to_numpy(), p, p)) < 3.5
    bought = frame[frame["conversion"] == 1]
    # The probability that it would have arrived by the time when it did is uniform.
    reached = world.truth.p_arrived(bought.assign(t=bought["t"] - bought["conversion_time"]), 0.0)
    assert stats.kstest(reached, "uniform").pvalue > 0.01
    assert (world.truth.p_arrived(bought, -1.0) == 0).all()


def test_nothing_beats_the_truth():
    frame, p = played().frame, played().truth["p_click"].to_numpy(float)
    click, odds = frame["click"].to_numpy(), np.log(p / (1 - p))
    noise = np.random.default_rng(0).standard_normal(len(p))
    for other in (odds + 0.3, odds - 0.3, 0.8 * odds, 1.25 * odds, odds + 0.4 * noise, np.full_like(odds, odds.mean())):
        guess = 1 / (1 + np.exp(-other))
        assert expected_loss(p, guess) > expected_loss(p, p)
        lost = log_loss(click, guess) - log_loss(click, p)
        assert lost.mean() > -2 * lost.std() / np.sqrt(len(lost))
        assert lost.mean() > 0, "of the size of these changes the sample should tell as well"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reference_lies_between_a_constant_and_the_oracle(seed):
    world = make(seed=seed, users=1_500, ads=400)
    frame = world.log(4).frame
    p, reference = (f(frame).astype(float) for f in (world.truth.p_click, world.truth.p_click_attainable))
    worst, best = expected_loss(p, p.mean()), expected_loss(p, p)
    assert 0.7 < (worst - expected_loss(p, reference)) / (worst - best) < 1
    # The probit approximation overstates small probabilities a little.
    assert reference.mean() == pytest.approx(p.mean(), rel=0.08)


def test_the_reference_knows_no_missing_income():
    world = make()
    frame = world.log(1).frame.reset_index(drop=True)
    before = world.truth.p_click_attainable(frame)
    hidden = frame["income"].isna().to_numpy()
    other = AdClick(seed=5, size="book", users=400, ads=200, requests=3000)
    gone = other.users["income"].isna().to_numpy()
    # Exchanging the missing incomes among themselves leaves all that the platform could know as it is.
    other._income[gone] = other._income[gone][::-1]
    np.testing.assert_allclose(other.truth.p_click_attainable(frame)[hidden], before[hidden], rtol=1e-5)
    assert not np.allclose(other.truth.p_click(frame)[hidden], world.truth.p_click(frame)[hidden], rtol=1e-2)


def test_revenue_and_welfare_agree_with_their_expectation():
    world, outcome = make(ctr=0.2), played()
    frame, truth = outcome.frame, outcome.truth
    clicked, p, price = (frame[c].to_numpy(float) for c in ("click", "click", "price"))
    p = truth["p_click"].to_numpy(float)
    per_click = frame["per_click"].to_numpy()
    np.testing.assert_array_equal(frame["revenue"][~per_click], truth["revenue"][~per_click])
    np.testing.assert_array_equal(frame["revenue"], np.where(per_click, price * clicked, price))
    paid = (frame["revenue"].to_numpy(), truth["revenue"].to_numpy(), p, np.where(per_click, price, 0.0))
    assert abs(deviations(*paid)) < 3.5 and paid[0].sum() > 0
    worth = world._value_of_click[frame["ad"]].astype(float)
    assert abs(deviations(worth * clicked, truth["welfare"].to_numpy(), p, worth)) < 3.5
    np.testing.assert_allclose(truth["welfare"], worth * p, rtol=1e-6)


def test_propensities_are_those_of_the_log():
    """Weighted by its propensities, the log of the exploring system tells the click rate of two other policies."""
    still = {"ctr": 0.2, "fatigue": 0.0, "budget": 0.0}
    world, explore = make(**still), 0.5
    frame = world.rollout(world.legacy, range(4), explore=explore).frame
    propensity = frame["propensity"].to_numpy(float)
    best = propensity > explore  # the best of n is shown with 1 - explore + explore / n, every other with explore / n
    candidates = explore / np.where(best, propensity - (1 - explore), propensity)
    np.testing.assert_allclose(candidates, candidates.round(), rtol=1e-4)
    assert candidates.min() >= 1 and candidates.max() == pytest.approx(8)
    click = frame["click"].to_numpy()
    for weight, same_as in ((best / propensity, 0.0), (1 / candidates / propensity, 1.0)):
        assert weight.mean() == pytest.approx(1, abs=4 * weight.std() / np.sqrt(len(weight)))
        truth = world.rollout(world.legacy, range(4), explore=same_as, stream="other").truth["p_click"]
        estimate = weight * click
        error = np.hypot(estimate.std(), truth.std()) / np.sqrt(len(frame))
        assert abs(estimate.mean() - truth.mean()) < 3 * error
    # The two policies differ by more than that error, so a wrong weight would be seen.
    assert abs((best / propensity * click).mean() - (click / candidates / propensity).mean()) > 3 * error


def test_an_ad_drawn_twice_is_one_candidate():
    world = make(ads=20, budget=0.0)
    distinct: list[int] = []

    def policy(rows: pd.DataFrame) -> np.ndarray:
        distinct.extend(len(set(request)) for request in rows["ad"].to_numpy().reshape(-1, 8))
        return world.legacy(rows)

    frame = world.rollout(policy, range(1), explore=1.0).frame
    assert 1 < np.mean(distinct) < 7
    np.testing.assert_allclose(frame["propensity"], 1 / np.array(distinct), rtol=1e-6)
    alone = world.rollout(world.legacy, range(1)).frame["price"].to_numpy()[np.array(distinct) == 1]
    assert (alone == 0).all(), "an ad paid for beating itself"


# -- the closed loop ---------------------------------------------------------------------------------------------------


def test_policies_meet_the_same_requests_and_luck():
    world = make(ctr=0.2, fatigue=0.0)
    one, two = (world.rollout(policy, range(2)).frame.set_index("t") for policy in (world.legacy, world.truth.p_click))
    again = world.rollout(world.legacy, range(2)).frame.set_index("t")
    pd.testing.assert_frame_equal(one, again)
    both = one.join(two, how="inner", suffixes=("", "_two"))
    request = ["user", "page", "slot", "device", "hour"]
    assert all((both[c] == both[f"{c}_two"]).all() for c in request)
    same = both[both["ad"] == both["ad_two"]]
    assert 200 < len(same) < 0.8 * len(both)
    assert same["click"].sum() > 20 and (same["click"] == same["click_two"]).all()
    # With fatigue what was seen matters as well.
    tired = make(ctr=0.2)
    one, two = (tired.rollout(policy, range(3)).frame.set_index("t") for policy in (tired.legacy, tired.truth.p_click))
    both = one.join(two, how="inner", suffixes=("", "_two"))
    same = both[(both["ad"] == both["ad_two"]) & (both["seen"] == both["seen_two"])]
    for label in ("click", "hide", "conversion"):
        assert (same[label] == same[f"{label}_two"]).all()


def test_another_stream_is_other_luck_on_the_same_requests():
    world = make(ctr=0.2, budget=0.0, fatigue=0.0)
    one, two = (world.rollout(world.legacy, range(1), stream=name).frame for name in ("online", "again"))
    assert (one["ad"] == two["ad"]).all() and (one["user"] == two["user"]).all()
    p = one["click"].mean()
    # Independent draws: the clicks agree about as often as chance has it.
    assert (one["click"] & two["click"]).mean() < 3 * p**2 < p


def test_a_better_policy_is_better():
    world = make()
    old, new = (world.rollout(p, range(3)).truth for p in (world.legacy, world.truth.p_click))
    assert new["welfare"].sum() > 1.1 * old["welfare"].sum()


@pytest.mark.parametrize("split", [0.0, 0.3, 0.5, 1.0])
def test_an_experiment_splits_users(split):
    world = make(users=2_000)
    arms = {"control": world.legacy, "treatment": world.truth.p_click}
    frame = world.rollout(arms, range(1), split=split).frame
    assert (frame.groupby("user")["arm"].nunique() == 1).all()
    by_user = frame.drop_duplicates("user")["arm"] == "treatment"
    assert abs(by_user.mean() - split) <= 4 * np.sqrt(split * (1 - split) / len(by_user))
    later = world.rollout(arms, range(1, 2), split=split).frame
    arm = frame.drop_duplicates("user").set_index("user")["arm"]
    assert (later["arm"] == later["user"].map(arm).fillna(later["arm"])).all(), "a user changed arms over night"
    if split == 0.5:
        other = world.rollout(arms, range(1), stream="a second experiment").frame
        assert 0.4 < (other["arm"].to_numpy() == other["user"].map(arm)).mean() < 0.6


def test_each_arm_is_scored_by_its_own_policy():
    world = make()
    frame = world.rollout({"low": lambda f: np.full(len(f), 0.1), "high": world.truth.p_click}, range(2)).frame
    assert (frame["arm"].eq("low") == np.isclose(frame["pctr"], 0.1)).all()
    scores = world.truth.p_click(frame)
    np.testing.assert_allclose(frame["pctr"][frame["arm"] == "high"], scores[frame["arm"] == "high"], rtol=1e-6)


def test_equal_arms_are_one_policy():
    world = make()
    alone = world.rollout(world.legacy, range(2)).frame.drop(columns="arm")
    split = world.rollout({"a": world.legacy, "b": world.legacy}, range(2)).frame.drop(columns="arm")
    pd.testing.assert_frame_equal(alone, split)


def test_budgets_hold_up_to_the_overshoot_of_an_hour():
    world = make()
    frame = world.rollout(world.legacy, range(3), traffic=0.5).frame
    hourly = frame.groupby(["advertiser", "day", "hour"])["revenue"].sum()
    spent_before = hourly.groupby(["advertiser", "day"]).cumsum() - hourly
    limit = 0.5 * world._budget[hourly.index.get_level_values("advertiser")]
    assert (spent_before < limit).all()
    daily = hourly.groupby(["advertiser", "day"]).sum()
    assert (daily.to_numpy() > 0.5 * world._budget[daily.index.get_level_values("advertiser")]).any()


def test_a_platform_without_any_budget_left_shows_nothing():
    world = make(budget=1e-9, cpm=1.0, requests=48, users=40, ads=8, seed=1)
    frame = world.log(2).frame
    assert 0 < len(frame) < 90 and (frame["price"] >= 0).all()


def test_what_was_seen_is_counted_over_night():
    world = make(users=40)
    log = world.log(4)
    frame = log.frame
    counts = frame.groupby(["user", "advertiser", "day"]).size().unstack("day", fill_value=0)
    before = counts.cumsum(axis=1) - counts
    expected = before.stack().rename("expected").reset_index()
    merged = frame.merge(expected, on=["user", "advertiser", "day"], how="left")
    assert (merged["seen"] == merged["expected"]).all() and frame["seen"].max() > 3
    # A rollout goes on from a log, and from its earlier days alone.
    for start in (4, 2):
        after = world.rollout(world.legacy, range(start, start + 1), after=log).frame
        known = frame[frame["day"] < start].groupby(["user", "advertiser"]).size().rename("known")
        joined = after.join(known, on=["user", "advertiser"])
        assert (joined["seen"] == joined["known"].fillna(0)).all() and after["seen"].max() > 3
    assert (world.rollout(world.legacy, range(4, 5)).frame["seen"] == 0).all()


def test_prices_and_rows_are_sound():
    world, frame = make(ctr=0.2), played().frame
    assert (frame["price"] <= frame["bid"] * (1 + 1e-6)).all() and (frame["price"] >= 0).all()
    assert frame["propensity"].between(0, 1, inclusive="right").all()
    ad, user, page = (table.set_index(key) for key, table in
                      zip(("ad", "user", "page"), (world.ads, world.users, world.pages), strict=True))  # fmt: skip
    for key, table in (("ad", ad), ("user", user), ("page", page)):
        for column in table:
            np.testing.assert_array_equal(frame[column], table.loc[frame[key], column])
    assert (frame["hour"] == np.floor((frame["t"] - frame["day"]) * 24).clip(0, 23)).all()
    live = (world._first_day[frame["ad"]] <= frame["day"]) & (frame["day"] < world._last_day[frame["ad"]])
    assert live.all()


def test_traffic_scales_the_requests():
    world = make()
    assert len(world.rollout(world.legacy, range(1), traffic=0.25).frame) == pytest.approx(750, rel=0.03)


def test_big_is_ten_times_the_book():
    book, big = AdClick(seed=0, size="book"), AdClick(seed=0, size="big")
    assert (big.sizes.users, big.sizes.requests) == (10 * book.sizes.users, 10 * book.sizes.requests)
    assert big.sizes.ads == book.sizes.ads and len(big.users) == 60_000


def test_bad_input():
    world = make()
    for knob in ("explained", "cpm", "explore", "mcar", "mar", "mnar", "ctr"):
        with pytest.raises(ValueError, match=rf"{knob} is 1\.5: expected .* at most"):
            make(**{knob: 1.5})
    with pytest.raises(ValueError, match="additive, threshold and inner are all 0"):
        make(additive=0.0, threshold=0.0, inner=0.0)
    with pytest.raises(ValueError, match="ads is 7: expected a whole number of at least 8"):
        make(ads=7)
    with pytest.raises(ValueError, match=r"ads is 8: expected more, since none of them runs on day 20"):
        make(ads=8, seed=51).rollout(world.legacy, range(20, 21))
    for days in (range(0), range(27, 29), range(-1, 1), range(0, 4, 2), 3):
        with pytest.raises(ValueError, match=r"days is .*: expected a non-empty range of days within 0\.\.27"):
            world.rollout(world.legacy, days)
    one = range(1)
    for name, bad in (("traffic", 0.0), ("traffic", 1.1), ("explore", 1.1), ("explore", -0.1), ("split", 2.0)):
        with pytest.raises(ValueError, match=rf"{name} is {bad}: expected"):
            world.rollout(world.legacy, one, **{name: bad})
    with pytest.raises(ValueError, match="policies has 0 entries: expected one scorer, or two by name"):
        world.rollout({}, one)
    with pytest.raises(ValueError, match="policies has 3 entries"):
        world.rollout(dict.fromkeys("abc", world.legacy), one)
    with pytest.raises(ValueError, match="policy 'all' is 3: expected a function of the candidates"):
        world.rollout(3, one)
    with pytest.raises(ValueError, match=r"policy 'all' gave shape \(3,\): expected \(\d+,\)"):
        world.rollout(lambda f: np.full(3, 0.1), one)
    with pytest.raises(ValueError, match="scores of policy 'all' has nan at 0"):
        world.rollout(lambda f: np.full(len(f), np.nan), one)
    with pytest.raises(ValueError, match=r"scores of policy 'b' has 1\.2 at 0 .*: expected probabilities"):
        world.rollout({"a": world.legacy, "b": lambda f: np.full(len(f), 1.2)}, one)
