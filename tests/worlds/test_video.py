"""The video world: its truth agrees with what happens, and its closed loop does what it says."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from casebook.worlds.video import HISTORY, HORIZON, SLATE, Recommender, Video, VideoLog, VideoOutcome
from casebook.worlds.video_feed import WATCHED, _pushed


@cache
def make(**changes: float) -> Video:
    return Video(**{"seed": 5, "size": "book", "users": 1_500, "videos": 500, **changes})


@cache
def logged(days: int = 6) -> VideoLog:
    return make().log(days)


@cache
def played(days: int = 4) -> VideoOutcome:
    return make().rollout(make().legacy, range(days), explore=0.3, features=True)


def first_videos(sessions: pd.DataFrame, k: int = 60) -> np.ndarray:
    """The first k videos that everybody can see."""
    early = np.flatnonzero(make().videos["uploaded"] <= 0)[:k]
    return np.tile(early, (len(sessions), 1))


def by_number(rows: pd.DataFrame, sessions: pd.DataFrame) -> np.ndarray:
    return -rows["video"].to_numpy(float)


# -- truth -------------------------------------------------------------------------------------------------------------


def test_truth_of_an_outcome_is_the_truth_of_its_rows():
    truth, outcome = make().truth, played()
    for name in ("p_click", "expected_minutes", "expected_value"):
        np.testing.assert_allclose(getattr(truth, name)(outcome.frame), outcome.truth[name], rtol=1e-4, atol=1e-6)
    assert outcome.truth.index.equals(outcome.frame.index)


def test_clicks_come_as_often_as_they_should():
    frame, p = played().frame, played().truth["p_click"].to_numpy(float)
    click = frame["click"].to_numpy()

    def deviations(rows: np.ndarray) -> float:
        return float((click[rows] - p[rows]).sum() / np.sqrt((p[rows] * (1 - p[rows])).sum()))

    assert abs(deviations(np.arange(len(p)))) < 3.5
    for rows in np.array_split(np.argsort(p), 8):
        assert abs(deviations(rows)) < 3.5
    for column in ("pos", "device", "hour", "age_band", "tag_a"):
        for rows in frame.groupby(column).indices.values():
            assert abs(deviations(rows)) < 4, column


def test_minutes_and_answers_follow_their_truth():
    clicked = played().frame.query("click == 1")
    truth = make().truth
    minutes = clicked["minutes"].to_numpy(float) - truth.minutes_after_click(clicked)
    assert abs(minutes.mean()) < 4 * minutes.std() / np.sqrt(len(minutes))
    assert (clicked["minutes"] <= clicked["length"] * 1.0001).all()
    assert (played().frame.query("click == 0")["minutes"] == 0).all()
    answered = clicked[clicked["survey"] > 0]
    assert np.corrcoef(answered["survey"], truth.value(answered))[0, 1] > 0.6


def test_a_table_holds_the_rows_truth_and_leaves_out_what_no_page_shows():
    sessions = logged().sessions.tail(40).reset_index(drop=True)
    world = make()
    for kind in ("p_click", "expected_minutes", "expected_value"):
        table = world.truth.table(sessions, kind)
        at, video = np.nonzero(np.isfinite(table))
        rows = sessions.iloc[at].assign(video=video)
        np.testing.assert_allclose(getattr(world.truth, kind)(rows), table[at, video], rtol=1e-3, atol=1e-4)
    uploaded = world.videos["uploaded"].to_numpy() > sessions["day"].to_numpy()[:, None]
    history = sessions[list(HISTORY)].to_numpy()
    watched = (history[:, :, None] == np.arange(world.sizes.videos)).any(1)
    np.testing.assert_array_equal(np.isfinite(table), ~(uploaded | watched))
    with pytest.raises(ValueError, match="expected at most"):
        world.truth.table(pd.concat([logged().sessions] * 20), "p_click")


def test_no_page_is_better_than_that_of_its_oracle():
    world = make(fatigue=0.0)
    runs = {k: world.rollout(world.oracle(k), range(1)) for k in ("p_click", "expected_minutes", "expected_value")}
    for kind, run in runs.items():
        assert all(run.truth[kind].sum() >= other.truth[kind].sum() - 1e-3 for other in runs.values())


# -- the page ----------------------------------------------------------------------------------------------------------


def test_a_page_shows_each_video_once_open_ones_and_none_that_was_watched():
    frame, sessions = logged().frame, logged().sessions
    assert not frame.duplicated(["session", "video"]).any()
    assert (frame["age"] >= 0).all()
    assert (frame.groupby("session").size() == SLATE).all()
    assert (frame.groupby("session")["pos"].apply(list).map(lambda p: sorted(p) == list(range(SLATE)))).all()
    at = pd.Index(sessions["session"]).get_indexer(frame["session"])
    assert not (sessions[list(HISTORY)].to_numpy()[at] == frame["video"].to_numpy()[:, None]).any()


def test_the_highest_score_comes_first_and_an_arrangement_is_kept():
    plain = Recommender(first_videos, by_number)
    frame = make().rollout(plain, range(1)).frame
    assert (frame.sort_values(["session", "pos"]).groupby("session")["video"].diff().dropna() > 0).all()

    def backwards(ids, score, sessions):
        return np.argsort(-score, axis=1, kind="stable")[:, :SLATE][:, ::-1]

    turned = make().rollout(Recommender(first_videos, by_number, backwards), range(1)).frame
    assert (turned.sort_values(["session", "pos"]).groupby("session")["video"].diff().dropna() < 0).all()


def test_candidates_that_no_page_shows_are_dropped():
    late = int(make().videos["uploaded"].idxmax())

    def doubled(sessions):
        ids = np.repeat(first_videos(sessions, 6), 2, axis=1)
        ids[:, 0] = late
        return ids

    frame = make().rollout(Recommender(doubled, by_number), range(1)).frame
    assert late not in set(frame["video"]) and not frame.duplicated(["session", "video"]).any()
    assert frame.groupby("session").size().max() == 6, "six different ones leave four places empty"


def test_propensities_are_how_often_it_happens():
    """Over luck, a random page shows each open video equally often, and says so."""
    world = make()
    frame = world.rollout(world.legacy, range(1), explore=1.0).frame
    assert frame["propensity"].between(1 / 500, 1 / 250).all()
    share = frame["video"].value_counts()
    open_videos = int((world.videos["uploaded"] <= 0).sum())
    expected = len(frame) / open_videos
    assert len(share) == open_videos
    assert ((share - expected) ** 2 / expected).sum() < open_videos + 5 * np.sqrt(2 * open_videos)


# -- memory ------------------------------------------------------------------------------------------------------------


def test_histories_hold_the_last_watches_newest_first_as_of_last_night():
    frame, sessions = logged().frame, logged().sessions
    watched = frame[(frame["click"] == 1) & (frame["minutes"] >= WATCHED * frame["length"])]
    last = sessions[sessions["day"] == 5].groupby("user").first()
    for user in last.index[:80]:
        past = watched[(watched["user"] == user) & (watched["day"] < 5)].sort_values(["t", "pos"])["video"].tolist()
        expected = (past[::-1] + [-1] * 20)[:20]
        assert last.loc[user, list(HISTORY)].tolist() == expected


def test_pushing_keeps_order_and_length():
    past = np.array([[7, 8, -1], [1, 2, 3]], dtype=np.int32)
    result = _pushed(past, np.array([1, 0, 1, 1, 1]), np.array([10, 20, 11, 12, 13]))
    np.testing.assert_array_equal(result, [[20, 7, 8], [13, 12, 11]])


def test_counts_are_those_of_last_night():
    frame = logged().frame
    before, today = frame[frame["day"] < 4], frame[frame["day"] == 4]
    first = today.groupby("video").first()
    np.testing.assert_array_equal(
        first["video_shown"], before.groupby("video").size().reindex(first.index, fill_value=0)
    )
    np.testing.assert_array_equal(
        first["video_clicks"], before.groupby("video")["click"].sum().reindex(first.index, fill_value=0)
    )


def test_a_rollout_in_two_parts_is_the_rollout_in_one():
    world = make()
    whole = world.rollout(world.legacy, range(4))
    half = world.rollout(world.legacy, range(2))
    rest = world.rollout(world.legacy, range(2, 4), after=half)
    pd.testing.assert_frame_equal(
        whole.frame[whole.frame["day"] >= 2].reset_index(drop=True), rest.frame.reset_index(drop=True)
    )
    assert half.state.day == 2, "a rollout that goes on leaves the first as it was"


def test_arms_split_users_and_the_sums_agree():
    world = make()
    policies = {"old": world.legacy, "new": world.oracle("expected_value")}
    outcome = world.rollout(policies, range(7), after=None, split=0.4)
    assert (outcome.users["arm"] == "new").mean() == pytest.approx(0.4, abs=0.06)
    assert (outcome.frame.groupby("user")["arm"].nunique() == 1).all()
    for column in ("sessions", "clicks", "minutes"):
        by_day = outcome.days.groupby("arm")[column].sum()
        np.testing.assert_allclose(by_day, outcome.users.groupby("arm")[column].sum(), rtol=1e-5)
    by_arm = outcome.users.groupby("arm")
    assert by_arm["stayed"].mean()["new"] > by_arm["stayed"].mean()["old"]
    assert outcome.days["left"].sum() == (~outcome.users["stayed"]).sum()
    assert (outcome.sessions.groupby("arm").size() == outcome.days.groupby("arm")["sessions"].sum()).all()


def test_who_left_does_not_come_back_and_who_has_not_joined_is_not_there():
    world = make(leave=0.1)
    outcome = world.rollout(world.legacy, range(6))
    gone = outcome.users.loc[~outcome.users["stayed"], "user"]
    assert outcome.days["left"].sum() == len(gone) > 0
    later = world.rollout(world.legacy, range(6, 8), after=outcome)
    assert not set(later.sessions["user"]) & set(gone)
    joined = world.users["joined"].to_numpy()
    assert (joined[outcome.sessions["user"]] <= outcome.sessions["day"]).all()
    assert (joined[outcome.users["user"]] < 6).all()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda rows: np.zeros(3), "gave shape"),
        (lambda rows: np.full(len(rows), np.nan), "hold NaN"),
        (3, "expected a Recommender"),
        (Recommender(lambda s: np.zeros((len(s), 5), dtype=int), by_number), "expected whole numbers"),
        (Recommender(lambda s: first_videos(s).astype(float), by_number), "expected whole numbers"),
        (Recommender(lambda s: first_videos(s) + 10_000, by_number), "expected videos 0 to 499"),
        (Recommender(first_videos, by_number, lambda i, c, s: np.zeros((len(s), SLATE), dtype=int)), "all different"),
    ],
)
def test_policies_that_are_none_are_refused(policy, message):
    with pytest.raises(ValueError, match=message):
        make().rollout(policy, range(1))


def test_bad_arguments_are_refused():
    world = make()
    for days in (range(0), range(2, 1), range(0, HORIZON + 1), range(0, 4, 2), [0, 1]):
        with pytest.raises(ValueError, match="days is"):
            world.rollout(world.legacy, days)
    with pytest.raises(ValueError, match="expected 6, the day after the log"):
        world.rollout(world.legacy, range(7, 8), after=logged())
    with pytest.raises(ValueError, match="expected one policy, or two by name"):
        world.rollout({}, range(1))
    with pytest.raises(ValueError, match="expected one of p_click"):
        world.oracle("joy")
    with pytest.raises(ValueError, match="device has -1"):
        world.truth.p_click(played().frame.head(3).assign(device=-1))
    with pytest.raises(ValueError, match="bait is 4"):
        Video(bait=4.0)
