"""Each knob of the video world: off at 0, and measurable at its default (an incident: on the day it is set to)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from casebook.worlds.video import SLATE, Video, VideoOutcome


def make(**changes: float) -> Video:
    return Video(**{"seed": 3, "size": "book", "users": 1_000, "videos": 400, **changes})


def played(days: int = 3, **knobs: float) -> VideoOutcome:
    world = make(**knobs)
    return world.rollout(world.legacy, range(days), features=True)


def pairs(world: Video, n: int = 3_000, **columns: int) -> pd.DataFrame:
    """Random users before random videos of day 0, on a phone at noon."""
    draws = np.random.default_rng(1)
    frame = {"user": draws.integers(0, world.sizes.users, n), "video": draws.integers(0, world.sizes.videos, n)}
    return pd.DataFrame(frame).assign(**{"day": 0, "hour": 12, "device": 0, **columns})


def taste() -> None:
    def pull(**knobs: float) -> float:
        world = make(**knobs)
        rows = pairs(world)
        return float(np.corrcoef(world._match(rows), world.truth.p_click(rows))[0, 1])

    assert abs(pull(taste=0)) < 0.1
    assert pull() > 0.5


def bait() -> None:
    def pull(what: str, **knobs: float) -> float:
        world = make(**knobs)
        rows = pairs(world)
        # Bait and quality are correlated by construction, so quality is taken out first.
        own = world._bait + 0.5 * world._quality
        return float(np.corrcoef(own[rows["video"]], getattr(world.truth, what)(rows))[0, 1])

    for what in ("p_click", "fraction", "value"):
        assert abs(pull(what, bait=0)) < 0.1
    assert pull("p_click") > 0.2 and pull("fraction") < -0.2 and pull("value") < -0.4


def context() -> None:
    def moved(what: str, **knobs: float) -> float:
        world = make(**knobs)
        rows = pairs(world)
        at = getattr(world.truth, what)
        return float(np.abs(at(rows) - at(rows.assign(device=2, hour=21))).mean())

    def blind_loss(**knobs: float) -> float:
        """Of the best page's minutes, what the best page loses that is the same on each device."""
        world = make(**knobs)
        pages = world.log(1).sessions.head(300).assign(hour=20)
        each = np.stack([world.truth.table(pages.assign(device=d), "expected_minutes") for d in range(3)])
        blind = np.argpartition(-each.mean(0), SLATE, axis=1)[:, :SLATE]
        best = np.sort(each, axis=2)[:, :, -SLATE:].sum()
        return float(1 - np.take_along_axis(each, np.stack([blind] * 3), axis=2).sum() / best)

    for what in ("fraction", "p_click"):
        assert moved(what, context=0) == 0
    assert moved("fraction") > 0.1 and moved("p_click") > 0.02
    assert blind_loss(context=0) == pytest.approx(0, abs=1e-3)
    assert blind_loss() > 0.06, "with half of the weights it is 0.03, and no ranker learns that the moment matters"


def demographics() -> None:
    def explained(**knobs: float) -> float:
        """Share of the variance of tastes that lies between groups of age and country."""
        world = make(users=6_000, **knobs)
        tastes = pd.DataFrame(world._taste)
        group = world.users["age_band"].to_numpy() * 8 + world.users["country"].to_numpy()
        return float(tastes.groupby(group).transform("mean").var().sum() / tastes.var().sum())

    assert explained(demographics=0) < 0.03
    assert explained() > 0.2


def drift() -> None:
    def turned(**knobs: float) -> float:
        world = make(**knobs)
        return float(np.abs(world._match(pairs(world)) - world._match(pairs(world, day=28))).mean())

    assert turned(drift=0) == 0
    assert turned() > 0.2


def position() -> None:
    def looks(**knobs: float) -> np.ndarray:
        return make(**knobs).truth.p_examined(pd.DataFrame({"user": [0, 0], "pos": [0, 9]}))

    assert (looks(position=0) == 1).all()
    assert looks() == pytest.approx([1, 10**-0.7])


def fatigue() -> None:
    def lost(**knobs: float) -> float:
        world = make(**knobs)
        rows = pairs(world)
        return float((world.truth.p_click(rows) - world.truth.p_click(rows.assign(seen=2))).mean())

    assert lost(fatigue=0) == 0
    assert lost() > 0.02


def fresh() -> None:
    def gained(**knobs: float) -> np.ndarray:
        world = make(**knobs)
        uploaded = world.videos["uploaded"].to_numpy()
        rows = pairs(world, day=0)
        rows["day"] = uploaded[rows["video"]] + 30
        later = world._click_logit(np.zeros(len(rows)), rows)
        return world._click_logit(np.zeros(len(rows)), rows.assign(day=rows["day"] - 30)) - later

    assert (gained(fresh=0) == 0).all()
    assert gained() == pytest.approx(0.6 * (1 - np.exp(-6)), abs=1e-4)


def tag_noise() -> None:
    def wrong(**knobs: float) -> float:
        world = make(**knobs)
        nearest = np.argmax(world._charm @ world._centre.T, axis=1)
        return float((world.videos["tag_a"].to_numpy() != nearest).mean())

    assert wrong(tag_noise=0) == 0
    assert wrong() == pytest.approx(0.15 * 23 / 24, abs=0.05)


def popularity() -> None:
    def top_share(**knobs: float) -> float:
        world = make(**knobs)
        shown = world.rollout(lambda rows: rows["video"] * 0.0, range(4)).frame["video"].value_counts(normalize=True)
        return float(shown.head(40).sum())

    assert top_share() > 1.15 * top_share(popularity=0)


def kept(which: str, days: int = 21, **knobs: float) -> tuple[float, float]:
    world = make(**knobs)
    outcome = world.rollout(world.oracle(which), range(days))
    return float(outcome.users["stayed"].mean()), float(outcome.days.tail(7)["sessions"].sum())


def satisfaction() -> None:
    staying, sessions = zip(*(kept(which, satisfaction=0) for which in ("p_click", "expected_value")), strict=True)
    assert staying[0] == pytest.approx(staying[1], abs=0.03) and sessions[0] == pytest.approx(sessions[1], rel=0.05)
    staying, sessions = zip(*(kept(which) for which in ("p_click", "expected_value")), strict=True)
    assert staying[1] > staying[0] + 0.1 and sessions[1] > 1.5 * sessions[0]


def leave() -> None:
    assert played(leave=0).users["stayed"].all()
    assert 0 < (~played().users["stayed"]).sum() < 100


def monotony() -> None:
    def mood(**knobs: float) -> float:
        """Mean mood after pages of one topic only: candidates in the order of their topics."""
        world = make(**knobs)
        topic = world.truth.topic(np.arange(world.sizes.videos))
        outcome = world.rollout(lambda rows: -topic[rows["video"]].astype(float), range(5))
        return float(outcome.state.mood.mean())

    assert mood(monotony=0) > mood() + 0.01


def explore() -> None:
    def least(**knobs: float) -> float:
        return float(make(**knobs).log(2).frame["propensity"].min())

    assert least(explore=0) == 1
    assert least() < 0.01


def survey() -> None:
    assert (played(survey=0).frame["survey"] == 0).all()
    clicks = played(6).frame.query("click == 1")
    assert (clicks["survey"] > 0).mean() == pytest.approx(0.25, abs=0.05)


def delay() -> None:
    def wait(**knobs: float) -> float:
        rows = played(6, **knobs).frame.query("survey > 0")
        return float((rows["survey_time"] - rows["t"]).mean())

    assert wait(delay=0) == 0
    assert wait() == pytest.approx(1.5, rel=0.2)


def joins() -> None:
    assert (make(joins=0).users["joined"] == 0).all()
    assert (make().users["joined"] > 0).mean() == pytest.approx(0.3, abs=0.06)
    joined = make().users["joined"].to_numpy()
    frame = played(4).frame
    assert (joined[frame["user"]] <= frame["day"]).all()


def uploads() -> None:
    assert (make(uploads=0).videos["uploaded"] <= 0).all()
    assert (make().videos["uploaded"] > 0).mean() == pytest.approx(0.35, abs=0.08)
    assert (played(4).frame["age"] >= 0).all()


def null_device_day() -> None:
    quiet, broken = played(5), played(5, null_device_day=2)
    assert (quiet.frame["device"] >= 0).all()
    hit = broken.frame["device"] == -1
    assert set(broken.frame["day"][hit]) == {2, 3, 4}
    assert not (broken.frame["device"][broken.frame["day"] >= 2] == 0).any()
    assert broken.frame.drop(columns="device").equals(quiet.frame.drop(columns="device")), "only the report changes"


def stale_history_day() -> None:
    def filled(**knobs: float) -> pd.Series:
        sessions = played(8, **knobs).sessions
        return (sessions["h0"] >= 0).groupby(sessions["day"]).mean()

    quiet, broken = filled(), filled(stale_history_day=4)
    assert quiet[:4].equals(broken[:4])
    assert (broken[5:] < quiet[5:] - 0.05).all()


KNOBS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        taste, bait, context, demographics, drift, position, fatigue, fresh, tag_noise, popularity, satisfaction, leave,
        monotony, explore, survey, delay, joins, uploads, null_device_day, stale_history_day,
    )
}  # fmt: skip


@pytest.mark.parametrize("knob", KNOBS)
def test_knob(knob):
    KNOBS[knob]()


def test_incidents_are_off_by_default():
    assert all(value == 0 for knob, value in Video.defaults.items() if knob.endswith("_day"))
