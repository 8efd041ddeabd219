"""The home page of a video site: who clicks, how long they watch, whether they liked it, and whether they stay.

A user opens the site on some device at some hour; the page shows ten videos. In this world

* a click needs a look (lower positions are looked at less) and appeal: taste for what the video is about, bait in its
  title, a little quality, a length that fits device and hour, freshness, and that it was not on the last pages already;
* how much of it is watched depends on taste, quality, bait (downwards) and on whether the length fits device and hour;
* satisfaction is what the click was worth to the user afterwards: taste and quality raise it, bait lowers it;
* tastes shift with age and country, are a person's own beyond that, and drift over the weeks;
* satisfaction feeds a mood, and the mood says how often people come and whether they leave for good. Pages of one topic
  only depress it.

Videos are uploaded daily and lose their novelty; users join daily without a history. Tags are noisy. The old system
shows what is popular. Everything that a company would not know is behind :attr:`Video.truth`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from casebook import validate
from casebook.worlds.core import Delayed, World
from casebook.worlds.latents import standardise, zipf_weights
from casebook.worlds.mechanisms import examination, intercept_for, sigmoid
from casebook.worlds.video_feed import (
    HISTORY,
    HORIZON,
    SLATE,
    Columns,
    Feed,
    Policy,
    Ranker,
    Recommender,
    State,
    VideoLog,
    VideoOutcome,
)  # fmt: skip

__all__ = ["HISTORY", "HORIZON", "LABELS", "SLATE", "Ranker", "Recommender", "Video", "VideoLog", "VideoOutcome"]

TOPICS, TASTES = 24, 8
AGES, COUNTRIES = 6, 8
LABELS = ("click", "minutes", "survey", "survey_time")
PREFERRED = np.log(np.array([5.0, 9.0, 20.0], dtype=np.float32))  # minutes that suit a phone, a desktop, a television
SHORT_HOURS, LONG_HOURS = (7, 8, 17, 18), (20, 21, 22, 23)
# What a length costs that doesn't suit. Minutes favour long videos whatever the moment: with half of these weights, the
# best page that is blind to device and hour had nearly all the minutes of the best that knows them.
BEST_FIT, WORST_FIT, MISFIT = 0.4, -3.5, 1.2  # log-odds of watching on; the last for each squared log of the ratio
FIT_OF_CLICK = 0.5  # of them, how much is known from the page already, which shows the length
CONCENTRATION = 4.0  # of the watched fraction around its mean: a Beta distribution
NOVELTY_DAYS = 5.0
CELLS = 30_000_000  # of a table of sessions by videos: more would not fit into a build's memory
MOST = {
    "bait": 3.0, "explore": 1.0, "tag_noise": 1.0, "survey": 1.0, "joins": 0.9, "uploads": 0.9, "leave": 0.2,
    "drift": 0.2,
}  # fmt: skip
BLOCK = 256  # sessions of it that are computed at a time
Kind = Literal["p_click", "expected_minutes", "expected_value"]


@dataclass(frozen=True)
class Sizes:
    """How large the world is: all users and all videos of the horizon, those to come included."""

    users: int = 6_000
    videos: int = 2_400


class Video(World):
    """The world of the video recommendation case.

    Args:
        seed: by default that of the run.
        size: ``book`` or ``big`` (ten times the users, three times the videos); by default that of the run.
        users, videos: overrides of the size.
        knobs: strengths of the mechanisms, see ``defaults``. At 0 a mechanism is off.

    Knobs: ``taste`` scales the match of tastes; ``bait`` what bait does (to clicks upwards, to watching and
    satisfaction downwards); ``context`` the fit of a video's length with device and hour; ``demographics`` how far age
    and country shift the tastes; ``drift`` the angle, in radians a day, by which tastes turn; ``position`` the exponent
    of examination; ``fatigue`` the log-odds that each recent showing costs; ``fresh`` the log-odds that a video gains
    on its first day; ``tag_noise`` the share of tags that are wrong; ``popularity`` the exponent with which the old
    system's candidates favour what was clicked; ``satisfaction`` how strongly the mood moves visits and leaving;
    ``leave`` the daily hazard of leaving for good in a neutral mood; ``monotony`` what a page of one topic costs the
    mood; ``explore`` the share of sessions to which the logging policy shows a random page; ``survey`` the share of
    clicks that are followed by an answer (1 to 5) and ``delay`` its mean delay in days; ``joins`` and ``uploads`` the
    shares of users and videos that arrive after day 0. Two incidents (0: never): from ``null_device_day`` on phones
    report no device (-1); from ``stale_history_day`` on the feature store no longer updates the histories.

    Raises:
        ValueError: an unknown knob, a value outside its range, fewer than 2 users or 60 videos.
    """

    name: ClassVar[str] = "video"
    defaults: ClassVar[Mapping[str, float]] = {
        "taste": 1.0, "bait": 1.0, "context": 1.0, "demographics": 1.0, "drift": 0.02, "position": 0.7, "fatigue": 0.3,
        "fresh": 0.6, "tag_noise": 0.15, "popularity": 0.4, "satisfaction": 1.0, "leave": 0.005, "monotony": 0.3,
        "explore": 0.1, "survey": 0.25, "delay": 1.5, "joins": 0.3, "uploads": 0.35,
        "null_device_day": 0.0, "stale_history_day": 0.0,
    }  # fmt: skip

    def __init__(
        self,
        *,
        seed: int | None = None,
        size: Literal["book", "big"] | None = None,
        users: int | None = None,
        videos: int | None = None,
        **knobs: float,
    ) -> None:
        self._specify(seed, size, knobs)
        for knob, most in MOST.items():
            validate.number(knob, self.spec.knobs[knob], least=0, most=most)
        big, plain = self.spec.size == "big", Sizes()
        users = plain.users * (10 if big else 1) if users is None else validate.positive_int("users", users, least=2)
        videos = plain.videos * (3 if big else 1) if videos is None else videos
        self.sizes = Sizes(users=users, videos=validate.positive_int("videos", videos, least=60))
        self._draw_videos()
        self._draw_users()
        self._draw_effects()

    # -- what is drawn once ------------------------------------------------------------------------------------------

    def _draw_videos(self) -> None:
        rng, n, knobs = self.stream("videos"), self.sizes.videos, self.spec.knobs
        centres = self.stream("topics").standard_normal((TOPICS, TASTES))
        self._centre = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
        self._topic = rng.choice(TOPICS, n, p=zipf_weights(TOPICS, 0.5, rng))
        style = 0.3 * self.stream("styles").standard_normal((n, TASTES))
        self._charm = (self._centre[self._topic] + style).astype(np.float32)
        self._quality = rng.standard_normal(n).astype(np.float32)
        # Bad videos need bait more.
        self._bait = (-0.5 * self._quality + np.sqrt(0.75) * rng.standard_normal(n)).astype(np.float32)
        self._log_length = np.log(np.clip(8 * np.exp(0.8 * rng.standard_normal(n)), 1, 60)).astype(np.float32)
        later = rng.random(n) < knobs["uploads"]
        uploaded = np.where(later, rng.integers(1, HORIZON, n), -rng.integers(0, 60, n))
        self._start = np.exp(0.6 * rng.standard_normal(n) + 0.4 * self._quality).astype(np.float32)
        # The tags name the three topics that the video is closest to; each may be wrong.
        tags = self.stream("tags")
        nearest = np.argsort(-(self._charm @ self._centre.T), axis=1)[:, :3]
        wrong, other = tags.random((n, 3)) < knobs["tag_noise"], tags.integers(0, TOPICS, (n, 3))
        nearest = np.where(wrong, other, nearest).astype(np.int8)
        self.videos = pd.DataFrame(
            {
                "video": np.arange(n, dtype=np.int32),
                **{name: nearest[:, i] for i, name in enumerate(("tag_a", "tag_b", "tag_c"))},
                "length": np.exp(self._log_length),
                "uploaded": uploaded.astype(np.int16),
            }
        )

    def _draw_users(self) -> None:
        rng, n, knobs = self.stream("users"), self.sizes.users, self.spec.knobs
        age = rng.integers(0, AGES, n)
        country = rng.choice(COUNTRIES, n, p=zipf_weights(COUNTRIES, 0.6, rng))
        groups = self.stream("demographics")
        by_age, by_country = groups.standard_normal((AGES, TOPICS)), groups.standard_normal((COUNTRIES, TOPICS))
        shift = knobs["demographics"] * (1.2 * by_age[age] + 1.2 * by_country[country])
        own = self.stream("tastes").standard_normal((2, n, TOPICS))
        turned = []
        for person in own:  # where the taste is on day 0, and where it drifts to
            weight = np.exp(shift + 1.2 * person)
            turned.append((weight / weight.sum(1, keepdims=True)) @ self._centre)
        self._taste, self._later_taste = (taste.astype(np.float32) for taste in turned)
        activity = np.exp(0.7 * rng.standard_normal(n))
        self._activity = (1.3 * activity / activity.mean()).astype(np.float32)
        self._television = rng.standard_normal(n).astype(np.float32)
        later = rng.random(n) < knobs["joins"]
        joined = np.where(later, rng.integers(1, HORIZON, n), 0)
        self.users = pd.DataFrame(
            {
                "user": np.arange(n, dtype=np.int32),
                "age_band": age.astype(np.int8),
                "country": country.astype(np.int8),
                "joined": joined.astype(np.int16),
            }
        )

    def _draw_effects(self) -> None:
        rng, n = self.stream("reference"), 40_000
        sample = {
            "user": rng.integers(0, self.sizes.users, n), "video": rng.integers(0, self.sizes.videos, n),
            "day": np.zeros(n, dtype=np.int16), "hour": rng.integers(7, 24, n), "device": rng.integers(0, 3, n),
        }  # fmt: skip
        self._match_scale = (0.0, 1.0)
        self._match_scale = standardise(self._match(sample))
        self._click_intercept = 0.0
        self._click_intercept = intercept_for(self._click_logit(self._match(sample), sample), 0.16)

    # -- what people do ----------------------------------------------------------------------------------------------

    def _tastes(self, user: NDArray, day: NDArray) -> NDArray[np.float32]:
        """The taste vector of each user on a day, shape (rows, tastes)."""
        angle = (self.spec.knobs["drift"] * np.asarray(day)).astype(np.float32)[:, None]
        return np.cos(angle) * self._taste[user] + np.sin(angle) * self._later_taste[user]

    def _match(self, x: Columns | pd.DataFrame) -> NDArray[np.float32]:
        """How well a video meets the user's taste, of mean 0 and deviation 1 over random pairs."""
        taste = self._tastes(np.asarray(x["user"]), np.asarray(x["day"]))
        raw = np.einsum("ij,ij->i", taste, self._charm[np.asarray(x["video"])])
        return (raw - np.float32(self._match_scale[0])) / np.float32(self._match_scale[1])

    def _fit(self, x: Columns | pd.DataFrame) -> NDArray[np.float32]:
        """How well the length suits the device and the hour, in log-odds of watching on."""
        device, hour = np.asarray(x["device"]), np.asarray(x["hour"])
        if (device < 0).any():
            raise ValueError("device has -1: expected the device in use (an outcome's own truth goes by that one)")
        preferred = PREFERRED[device] - 0.5 * np.isin(hour, SHORT_HOURS) + 0.3 * np.isin(hour, LONG_HOURS)
        miss = self._log_length[np.asarray(x["video"])] - preferred
        fit = np.maximum(BEST_FIT - MISFIT * miss**2, WORST_FIT)
        return np.float32(self.spec.knobs["context"]) * fit.astype(np.float32)

    def _click_logit(self, match: NDArray, x: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Log-odds of a click on a video that is looked at."""
        knobs, video = self.spec.knobs, np.asarray(x["video"])
        age = np.asarray(x["day"]) - self._arrays["uploaded"][video]
        novelty = knobs["fresh"] * np.exp(-np.maximum(age, 0) / NOVELTY_DAYS)
        seen = knobs["fatigue"] * np.asarray(x["seen"]) if "seen" in x else 0.0
        appeal = 0.9 * knobs["taste"] * match + 0.8 * knobs["bait"] * self._bait[video] + 0.15 * self._quality[video]
        return self._click_intercept + appeal + FIT_OF_CLICK * self._fit(x) + novelty - seen

    def _watch_logit(self, match: NDArray, x: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Log-odds of the mean fraction that is watched after a click."""
        knobs, video = self.spec.knobs, np.asarray(x["video"])
        appeal = 0.6 * knobs["taste"] * match + 0.6 * self._quality[video] - 0.5 * knobs["bait"] * self._bait[video]
        return appeal + self._fit(x) - 0.2

    def _value(self, match: NDArray, x: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """What a click is worth to the user afterwards."""
        knobs, video = self.spec.knobs, np.asarray(x["video"])
        appeal = 0.35 * knobs["taste"] * match + 0.45 * self._quality[video]
        return appeal - 0.5 * knobs["bait"] * self._bait[video]

    @cached_property
    def _arrays(self) -> Columns:
        """The catalogue's columns as arrays, which index a hundred times faster than a DataFrame's."""
        return {c: t[c].to_numpy() for t in (self.users, self.videos) for c in t}

    @cached_property
    def truth(self) -> "Truth":
        """What the company does not know."""
        return Truth(self)

    # -- what is logged and run --------------------------------------------------------------------------------------

    def catalogue(self) -> dict[str, pd.DataFrame]:
        """The tables that the company has: users, videos."""
        return {"users": self.users.copy(), "videos": self.videos.copy()}

    def legacy(self, frame: pd.DataFrame) -> NDArray[np.floating]:
        """The ranking that runs before any model: what is popular, and a little of what was watched before."""
        return 0.2 * np.log(np.asarray(frame["popularity"]) + 1) + 1.5 * np.asarray(frame["tag_share"])

    def oracle(self, kind: Kind, candidates: int = 40) -> Recommender:
        """The policy that sorts the whole catalogue by a truth: the best for the sum of it over a session.

        Recent showings are taken into account among the candidates only. Over weeks none of the three is optimal.

        Raises:
            ValueError: a kind that is no truth, or fewer candidates than a page has.
        """
        validate.choice("kind", kind, ("p_click", "expected_minutes", "expected_value"))
        k = validate.positive_int("candidates", candidates, least=SLATE)

        def retrieve(sessions: pd.DataFrame) -> NDArray[np.integer]:
            score = self.truth.table(sessions, kind)
            return np.argpartition(-score, k, axis=1)[:, :k]

        return Recommender(retrieve, lambda rows, sessions: getattr(self.truth, kind)(rows))

    def log(self, days: int = 21, *, stream: str = "log") -> VideoLog:
        """The log of the old ranking: ``days`` days from day 0, one row an impression.

        Raises:
            ValueError: fewer than one day, or more than the world has.
        """
        validate.number("days", days, least=1, most=HORIZON)
        validate.positive_int("days", days)
        arms = {"all": Recommender(None, lambda rows, sessions: self.legacy(rows))}
        feed = Feed(self, arms, State.fresh(self), explore=self.spec.knobs["explore"], stream=stream)
        outcome = feed.run(range(days), share=1.0, features=True)
        late = (Delayed("survey", "survey_time"),)
        return VideoLog(outcome.frame.drop(columns="arm"), late, outcome.sessions, feed.state)

    def rollout(
        self,
        policies: Policy | Mapping[str, Policy],
        days: range,
        *,
        after: VideoLog | VideoOutcome | None = None,
        explore: float = 0.0,
        share: float = 1.0,
        split: float = 0.5,
        features: bool = False,
        stream: str = "online",
    ) -> VideoOutcome:
        """Runs the home page for some days and returns what happened.

        Every policy meets the same users and luck, so that two rollouts are paired. With two policies in a mapping, the
        second gets the share ``split`` of the users; popularity and the counts of a video are shared by both.

        Args:
            policies: a :class:`Recommender`, or a plain function of the candidates, which ranks those of the old system
                (40 drawn by popularity); or control and treatment by name.
            days: consecutive days.
            after: a log or an outcome that ends where the days begin; users and counts are as it left them. By default
                everybody is new.
            explore: share of sessions that get a random page.
            share: share of the users who take part.
            split: share of the users in the second arm.
            features: whether to keep all that the policies saw, as the log does; it takes three times the memory.
            stream: name of the luck. Another name, another draw of what the same people do.

        Raises:
            ValueError: days outside the world or not those that follow, more than two policies, a share outside its
                range, candidates or scores that are not as :class:`Recommender` says.
        """
        arms = dict(policies) if isinstance(policies, Mapping) else {"all": policies}
        if not 1 <= len(arms) <= 2:
            raise ValueError(f"policies has {len(arms)} entries: expected one policy, or two by name")
        if not isinstance(days, range) or len(days) == 0 or days.step != 1 or days.start < 0 or days.stop > HORIZON:
            raise ValueError(f"days is {days!r}: expected a non-empty range of days within 0..{HORIZON - 1}")
        validate.number("share", share, above=0, most=1)
        validate.probability("explore", explore)
        validate.probability("split", split)
        if after is not None and after.state.day != days.start:
            raise ValueError(f"days begins with {days.start}: expected {after.state.day}, the day after the log")
        state = State.fresh(self) if after is None else after.state.copy()
        named = {label: Recommender.of(label, policy) for label, policy in arms.items()}
        feed = Feed(self, named, state, explore=explore, stream=stream, split=split)
        return feed.run(days, share=share, features=features)


class Truth:
    """What only the world knows. Each method takes impressions or candidates and returns one number a row.

    Rows without a column ``pos`` are candidates: they are answered for the first position, and those without ``seen``
    as never shown. Clicks are independent, so the page that sorts by one of these has the largest expected sum of it.
    """

    def __init__(self, world: Video) -> None:
        self._world = world

    def p_examined(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability that the position is looked at."""
        if "pos" not in frame:
            return np.ones(len(np.asarray(frame["user"])))
        return examination(np.asarray(frame["pos"]), self._world.spec.knobs["position"])

    def p_click(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability of a click."""
        return sigmoid(self._world._click_logit(self._world._match(frame), frame)) * self.p_examined(frame)

    def minutes_after_click(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Expected minutes watched, once clicked."""
        length = np.exp(self._world._log_length[np.asarray(frame["video"])])
        return self.fraction(frame) * length

    def fraction(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The expected share of the video that is watched, once clicked."""
        return sigmoid(self._world._watch_logit(self._world._match(frame), frame))

    def expected_minutes(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Expected minutes of an impression: those after a click times the probability of a click."""
        return self.p_click(frame) * self.minutes_after_click(frame)

    def value(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """What a click is worth to the user afterwards: its satisfaction, around 0, negative where it was regretted."""
        return self._world._value(self._world._match(frame), frame)

    def expected_value(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Expected satisfaction of an impression: that of a click times the probability of a click."""
        return self.p_click(frame) * self.value(frame)

    def table(self, sessions: pd.DataFrame, kind: Kind) -> NDArray[np.float32]:
        """One of the three truths for sessions and all videos, in the first position, as if never shown before.

        Args:
            sessions: rows with ``user``, ``day``, ``hour``, ``device`` and the history ``h0`` and so on.
            kind: ``p_click``, ``expected_minutes`` or ``expected_value``.

        Returns:
            Shape (sessions, videos); minus infinity for what is not uploaded yet or was just watched.

        Raises:
            ValueError: an unknown kind, or more cells than a build's memory holds.
        """
        validate.choice("kind", kind, ("p_click", "expected_minutes", "expected_value"))
        n = self._world.sizes.videos
        if len(sessions) * n > CELLS:
            raise ValueError(f"sessions has {len(sessions)} rows: expected at most {CELLS // n} with {n} videos")
        result = np.empty((len(sessions), n), dtype=np.float32)
        for start in range(0, len(sessions), BLOCK):
            result[start : start + BLOCK] = self._block(sessions.iloc[start : start + BLOCK], kind)
        return result

    def _block(self, sessions: pd.DataFrame, kind: Kind) -> NDArray[np.floating]:
        """The table for a few sessions."""
        w, videos = self._world, np.arange(self._world.sizes.videos)[None]
        x = {c: np.asarray(sessions[c])[:, None] for c in ("day", "hour", "device")} | {"video": videos}
        taste = w._tastes(np.asarray(sessions["user"]), np.asarray(sessions["day"]))
        match = (taste @ w._charm.T - np.float32(w._match_scale[0])) / np.float32(w._match_scale[1])
        result = sigmoid(w._click_logit(match, x))
        if kind == "expected_minutes":
            result = result * sigmoid(w._watch_logit(match, x)) * np.exp(w._log_length)
        elif kind == "expected_value":
            result = result * w._value(match, x)
        result[w._arrays["uploaded"] > x["day"]] = -np.inf
        history = np.column_stack([sessions[c] for c in HISTORY])
        at, place = np.nonzero(history >= 0)
        result[at, history[at, place]] = -np.inf
        return result

    def topic(self, video: NDArray[np.integer]) -> NDArray[np.integer]:
        """The topic that a video is about, whatever its tags say."""
        return self._world._topic[np.asarray(video)]
