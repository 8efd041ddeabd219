"""Each knob of the ad click world: off at 0, and measurable at its default (an incident: on the day it is set to)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from casebook.worlds.ad_click import AdClick


def make(**changes: float) -> AdClick:
    return AdClick(**{"seed": 3, "size": "book", "users": 400, "ads": 200, "requests": 3000, **changes})


def impressions(world: AdClick) -> pd.DataFrame:
    """Random candidates on day 0, in the first slot, seen for the first time."""
    return pd.DataFrame(world._random_impressions(4_000))


def log_odds(world: AdClick, **columns: object) -> np.ndarray:
    p = world.truth.p_click(impressions(world).assign(**columns)).astype(float)
    return np.log(p / (1 - p))


def moved_by(columns: dict[str, object], **knobs: float) -> float:
    """Mean absolute change of log-odds when columns of otherwise equal impressions change."""
    world = make(**knobs)
    return float(np.abs(log_odds(world, **columns) - log_odds(world)).mean())


def additive() -> None:
    # By day the hour is in the additive part alone: three and four in the morning.
    def hour(**knobs: float) -> float:
        world = make(**knobs)
        return float(np.abs(log_odds(world, hour=3) - log_odds(world, hour=4)).mean())

    assert hour(additive=0) == 0
    assert hour() > 0.01


def threshold() -> None:
    assert moved_by({"topic": 5}, threshold=0) == 0
    assert moved_by({"topic": 5}) > 0.1


def inner() -> None:
    def after_swapping_tastes(**knobs: float) -> float:
        world = make(**knobs)
        before = log_odds(world)
        world._taste = world._taste[::-1]
        return float(np.abs(log_odds(world) - before).mean())

    assert after_swapping_tastes(inner=0) == 0
    assert after_swapping_tastes() > 0.3


def signal() -> None:
    assert log_odds(make(signal=0)).std() < 1e-6
    assert log_odds(make()).std() == pytest.approx(1.1, rel=0.1)


def explained() -> None:
    def share_attainable(**knobs: float) -> float:
        world = make(additive=0.0, threshold=0.0, inner=1.0, **knobs)
        frame = impressions(world)
        p, q = world.truth.p_click(frame).astype(float), world.truth.p_click_attainable(frame).astype(float)

        def loss(guess: np.ndarray | float) -> float:
            return float(-(p * np.log(guess) + (1 - p) * np.log1p(-guess)).mean())

        return (loss(p.mean()) - loss(q)) / (loss(p.mean()) - loss(p))

    assert abs(share_attainable(explained=0)) < 0.03
    assert 0.3 < share_attainable() < 0.9
    assert share_attainable(explained=1) == pytest.approx(1)


def ctr() -> None:
    with pytest.raises(ValueError, match=r"ctr is 0\.0: expected .* above 0"):
        make(ctr=0)
    for rate in (0.03, 0.2):
        world = make(ctr=rate)
        assert world.truth.p_click(world._random_impressions(60_000)).mean() == pytest.approx(rate, rel=1e-3)


def position() -> None:
    def last_to_first(**knobs: float) -> float:
        clicks = make(ctr=0.2, **knobs).log(2).frame.groupby("slot")["click"].mean()
        return clicks[2] / clicks[0]

    assert last_to_first(position=0) == pytest.approx(1, abs=0.15)
    assert last_to_first() == pytest.approx(3**-0.6, abs=0.15)
    assert moved_by({"slot": 2}, position=0) == 0


def fatigue() -> None:
    def hides(**knobs: float) -> float:
        world = make(**knobs)
        frame = impressions(world)
        return float((world.truth.p_hide(frame.assign(seen=10)) / world.truth.p_hide(frame)).mean())

    assert moved_by({"seen": 10}, fatigue=0) == 0 and hides(fatigue=0) == 1
    assert moved_by({"seen": 10}) == pytest.approx(0.25 * np.log(11), rel=1e-3)
    assert hides() > 2


def weekend() -> None:
    assert moved_by({"day": 5}, weekend=0, drift=0) == 0
    assert moved_by({"day": 5}, drift=0) > 0.1
    assert moved_by({"day": 4}, drift=0) == 0, "Friday is no weekend"


def drift() -> None:
    assert moved_by({"day": 14}, drift=0) == 0
    early, late = moved_by({"day": 1}), moved_by({"day": 21})
    assert 0 < 2 * early < late


def delay() -> None:
    def waits(**knobs: float) -> np.ndarray:
        frame = make(ctr=0.3, **knobs).log(3).frame
        return (frame["conversion_time"] - frame["t"]).dropna().to_numpy()

    assert len(waits(delay=0)) > 100 and (waits(delay=0) == 0).all()
    assert 0.5 < waits().mean() < 3
    assert waits(delay=2.0) == pytest.approx(2 * waits())


def missing(mechanism: str) -> tuple[float, float, float]:
    """Share of incomes missing, and how much higher income and age are where they are (standard deviations)."""
    off = {"mcar": 0.0, "mar": 0.0, "mnar": 0.0}
    assert not make(**off).users["income"].isna().any()
    world = make(**{**off, mechanism: 0.3, "users": 6_000})
    users = world.users.assign(true=world.truth.income(world.users))
    gone = users["income"].isna()
    assert (users.loc[~gone, "income"] == users.loc[~gone, "true"]).all()

    def gap(column: str) -> float:
        return (users.loc[gone, column].mean() - users.loc[~gone, column].mean()) / users[column].std()

    return gone.mean(), gap("true"), gap("age_band")


def mcar() -> None:
    share, income, age = missing("mcar")
    assert share == pytest.approx(0.3, abs=0.03)
    assert abs(income) < 0.1 and abs(age) < 0.1
    assert AdClick.defaults["mcar"] == 0


def mar() -> None:
    share, income, age = missing("mar")
    assert share == pytest.approx(0.3, abs=0.03)
    assert age > 0.7, "age drives it"
    assert 0 < income < 0.6 * age, "income only as far as it follows age"
    assert AdClick.defaults["mar"] == 0


def mnar() -> None:
    share, income, age = missing("mnar")
    assert share == pytest.approx(0.3, abs=0.03)
    assert income > 0.7, "income itself drives it"
    assert 0 < age < 0.6 * income
    assert make().users["income"].isna().mean() == pytest.approx(AdClick.defaults["mnar"], abs=0.1)


def cpm() -> None:
    def advertisers_per_click(**knobs: float) -> float:
        return make(**knobs).ads.drop_duplicates("advertiser")["per_click"].mean()

    assert advertisers_per_click(cpm=0) == 1
    assert advertisers_per_click(cpm=1) == 0
    assert advertisers_per_click() == pytest.approx(0.6, abs=0.15)


def budget() -> None:
    def shown(**knobs: float) -> pd.DataFrame:
        return make(**knobs).log(2).frame[["t", "ad"]]

    assert shown(budget=0).equals(shown(budget=1e9)), "at 0 there is no budget to run out of"
    assert not shown(budget=0).equals(shown())
    world = make()
    frame = world.rollout(world.legacy, range(2), stream="log").frame
    spent = frame.groupby(["day", "advertiser"])["revenue"].sum()
    over = spent.to_numpy() >= world._budget[spent.index.get_level_values("advertiser")]
    assert over.mean() > 0.02, "no advertiser runs out by default"


def explore() -> None:
    assert (make(explore=0).log(2).frame["propensity"] == 1).all()
    frame = make().log(2).frame
    # The best candidate is shown with 1 - explore + explore / n, every other with explore / n, of n at most 8.
    others = frame["propensity"] < 0.5
    assert others.mean() == pytest.approx(0.1 * 7 / 8, abs=0.015)
    assert frame.loc[others, "propensity"].min() == pytest.approx(0.1 / 8)
    assert frame.loc[~others, "propensity"].min() == pytest.approx(0.9 + 0.1 / 8)


def pixel_outage_day() -> None:
    clean, broken = (make(ctr=0.3, pixel_outage_day=day).log(5).frame for day in (0, 2))
    in_outage = clean["conversion_time"].between(2, 3, inclusive="left")
    assert in_outage.sum() > 20
    assert (broken.loc[in_outage, "conversion"] == 0).all() and broken.loc[in_outage, "conversion_time"].isna().all()
    pd.testing.assert_frame_equal(clean[~in_outage], broken[~in_outage])
    assert (broken["click"] == clean["click"]).all()


def null_device_day() -> None:
    clean, broken = make(), make(null_device_day=1)
    log = broken.log(3).frame
    assert set(log.loc[log["day"] < 1, "device"]) == {0, 1, 2}
    assert set(log.loc[log["day"] >= 1, "device"]) == {0, -1}
    before = clean.log(3).frame
    # The old system does not look at the device, so only the record of it changes: users click as they did.
    pd.testing.assert_frame_equal(before.drop(columns="device"), log.drop(columns="device"))
    assert (before.loc[log["device"] == -1, "device"] > 0).all()
    with pytest.raises(ValueError, match="device has -1: expected the device in use"):
        broken.truth.p_click(log)


def burst_day() -> None:
    world, calm = make(burst_day=2), make()
    mine = world.burst_advertiser
    burst, usual = (w.rollout(w.legacy, range(5), stream="log") for w in (world, calm))

    def share(outcome, days: list[int]) -> float:
        frame = outcome.frame[outcome.frame["day"].isin(days)]
        return (frame["advertiser"] == mine).mean()

    def rate(outcome) -> float:
        frame = outcome.frame
        return outcome.truth["p_click"][(frame["advertiser"] == mine) & frame["day"].isin([2, 3])].mean()

    before = burst.frame["day"] < 2
    pd.testing.assert_frame_equal(burst.frame[before], usual.frame[before])
    assert share(burst, [2, 3]) > 2 * share(usual, [2, 3])
    assert share(burst, [4]) < 1.5 * share(usual, [4])
    assert rate(burst) < 0.4 * rate(usual)


KNOBS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        additive, threshold, inner, signal, explained, ctr, position, fatigue, weekend, drift, delay, mcar, mar, mnar,
        cpm, budget, explore, pixel_outage_day, null_device_day, burst_day,
    )
}  # fmt: skip


@pytest.mark.parametrize("knob", KNOBS)
def test_knob(knob):
    KNOBS[knob]()


def test_incidents_are_off_by_default():
    incidents = ("pixel_outage_day", "null_device_day", "burst_day")
    assert all(AdClick.defaults[name] == 0 for name in incidents)
