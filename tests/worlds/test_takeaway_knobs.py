"""Each knob of the Takeaway world: off at 0, and measurable at its default (an incident: on the day it is set to)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from casebook.worlds.takeaway import HORIZON, Takeaway
from casebook.worlds.takeaway_feed import FeedOutcome


def make(**changes: float) -> Takeaway:
    return Takeaway(**{"seed": 3, "size": "book", "users": 2_000, "towns": 4, **changes})


def played(days: int = 4, *, policy: str = "legacy", **knobs: float) -> FeedOutcome:
    world = make(**knobs)
    rank = getattr(world, policy) if policy == "legacy" else getattr(world.truth, policy)
    return world.rollout(rank, range(days), features=True)


def position() -> None:
    def looks(**knobs: float) -> np.ndarray:
        rows = pd.DataFrame({"user": [0, 0], "device": [0, 1], "pos": [3, 3]})
        return make(**knobs).truth.p_examined(rows)

    assert (looks(position=0) == 1).all()
    assert looks() == pytest.approx([4**-1.0, 4**-0.6])


def bait() -> None:
    def correlation(**knobs: float) -> float:
        world = make(**knobs)
        return float(np.corrcoef(world._photo, world._quality)[0, 1])

    assert abs(correlation(bait=0)) < 0.25  # 120 restaurants
    assert correlation() == pytest.approx(-0.55, abs=0.2)
    assert correlation(bait=1) == pytest.approx(-1)


def satisfaction() -> None:
    """Whether those who were pleased come more often than those who were not."""

    def later(policy: str, **knobs: float) -> int:
        return int(played(21, policy=policy, **knobs).days.tail(7)["sessions"].sum())

    assert later("p_click", satisfaction=0) == later("surprise", satisfaction=0)
    assert later("surprise") > 1.3 * later("p_click")


def capacity() -> None:
    assert played(capacity=0).days["late"].sum() == 0
    assert 0.02 < played().days["late"].mean() < 0.6
    assert played(capacity=0.3).days["late"].mean() > played().days["late"].mean()


def novelty() -> None:
    def gain(**knobs: float) -> float:
        world = make(**knobs)
        sample = pd.DataFrame(world._reference_sample(500))
        return float((world._click_appeal(sample.assign(seen=0)) - world._click_appeal(sample)).mean())

    assert gain(novelty=0) == 0
    assert gain() == pytest.approx(0.2, abs=1e-3)


def explore() -> None:
    def spread(**knobs: float) -> tuple[float, float]:
        frame = make(**knobs).log(2).frame
        return float(frame["propensity"].min()), float(frame["restaurant"].nunique())

    least, few = spread(explore=0)
    assert least == 1
    least, many = spread()
    assert least < 0.01 and many > few


def rated(**knobs: float) -> pd.DataFrame:
    outcome = played(6, **knobs)
    rows = outcome.frame.assign(strong=outcome.truth["surprise"].abs() > 0.5)
    return rows[rows["order"] == 1]


def mnar() -> None:
    def gap(**knobs: float) -> float:
        rates = rated(**knobs).assign(rates=lambda d: d["rating"] > 0).groupby("strong")["rates"].mean()
        return float(rates[True] - rates[False])

    assert abs(gap(mnar=0)) < 0.05
    assert gap() == pytest.approx(0.25, abs=0.06)


def delay() -> None:
    def wait(**knobs: float) -> float:
        rows = rated(**knobs)
        return float((rows["rating_time"] - rows["t"]).mean())

    assert wait(delay=0) == 0
    assert wait() == pytest.approx(2.0, rel=0.2)


def new() -> None:
    assert (make(new=0).restaurants["opened"] == 0).all()
    world = make()
    later = world.restaurants.loc[world.restaurants["opened"] > 0, "restaurant"]
    assert 5 < len(later) < 40
    shown = world.log(5).frame
    assert (shown["age"] >= 0).all()
    assert not set(shown["restaurant"]) & set(world.restaurants.query("opened >= 5")["restaurant"])


def rain() -> None:
    assert not make(rain=0)._rain.any()
    world = make()
    assert world._rain.mean() == pytest.approx(0.2, abs=0.08)
    sample = pd.DataFrame(world._reference_sample(500))
    assert (world._click_appeal(sample.assign(rain=1)) < world._click_appeal(sample)).mean() > 0.9


def drift() -> None:
    assert not make(drift=0)._walk.any()
    assert np.abs(make()._walk[HORIZON - 1]).mean() > 0.05


def kitchen_outage_day() -> None:
    def orders(**knobs: float) -> pd.Series:
        frame = played(6, **knobs).frame
        hit = frame[frame["cuisine"] == make().outage_cuisine]
        return hit.groupby("day")["order"].sum().reindex(range(6), fill_value=0)

    quiet, broken = orders(), orders(kitchen_outage_day=2)
    assert (broken[[2, 3, 4]] == 0).all() and (quiet[[2, 3, 4]] > 0).all() and broken[5] > 0


def price_bug_day() -> None:
    def dearest(**knobs: float) -> pd.Series:
        return played(6, **knobs).frame.groupby("day")["price"].max()

    quiet, broken = dearest(), dearest(price_bug_day=2)
    assert quiet.max() < 100
    assert (broken[[2, 3, 4]] > 300).all() and (broken[[0, 1, 5]] < 100).all()


def stale_rating_day() -> None:
    def moves(**knobs: float) -> pd.Series:
        frame = played(8, **knobs).frame
        table = frame.groupby(["day", "restaurant"])["restaurant_rating"].first().unstack()
        return table.diff().abs().max(axis=1)

    assert (moves()[3:] > 0).all()
    broken = moves(stale_rating_day=4)
    assert (broken[4:] == 0).all() and broken[3] > 0


KNOBS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        position, bait, satisfaction, capacity, novelty, explore, mnar, delay, new, rain, drift, kitchen_outage_day,
        price_bug_day, stale_rating_day,
    )
}  # fmt: skip


@pytest.mark.parametrize("knob", KNOBS)
def test_knob(knob):
    KNOBS[knob]()


def test_incidents_are_off_by_default():
    assert all(value == 0 for knob, value in Takeaway.defaults.items() if knob.endswith("_day"))
