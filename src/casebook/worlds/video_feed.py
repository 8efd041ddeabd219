"""The closed loop of the video world: a day of pages at a time, and what users and counters remember of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, erfinv

from casebook.worlds.core import Log
from casebook.worlds.mechanisms import exponential_delay, sigmoid

if TYPE_CHECKING:
    from casebook.worlds.video import Video

__all__ = [
    "HISTORY", "HORIZON", "SLATE", "Columns", "Feed", "Policy", "Ranker", "Recommender", "State", "VideoLog",
    "VideoOutcome",
]  # fmt: skip

Columns = dict[str, NDArray]
"""Candidates or impressions by column. The world computes on plain arrays; a policy gets a DataFrame of the same."""

Ranker = Callable[[pd.DataFrame], NDArray[np.floating]]
"""A policy of one stage: takes candidates, one row each and those of a session together, and scores each."""

HORIZON = 84
SLATE = 10  # videos of a page
POOL = 40  # candidates of the old system, duplicates included
WATCHED = 0.3  # a click counts as a watch, and enters the history, if this fraction was watched
HISTORY = tuple(f"h{i}" for i in range(20))
REMEMBERED = 30  # videos of the last pages
MOST_SESSIONS = 4  # of one user in a day
CHUNK = 500  # sessions that a policy with candidates of its own is asked for at a time
POPULARITY_DECAY = 0.9  # of the counted clicks, a day
HOURS = np.array([2, 1, 1, 0, 0, 1, 2, 5, 5, 3, 3, 3, 5, 5, 3, 3, 4, 6, 6, 7, 10, 11, 9, 5], dtype=float)
_CLOCK = np.r_[0, np.cumsum(HOURS) / HOURS.sum()]
OUTCOMES = (
    "t", "day", "session", "user", "device", "video", "pos", "click", "minutes", "survey", "survey_time", "propensity",
)  # fmt: skip


@dataclass(frozen=True)
class Recommender:
    """A policy in stages: candidates, scores, the arrangement of the page.

    Attributes:
        retrieve: takes sessions (context, demographics, the last watches ``h0`` to ``h19``, newest first, -1 for none)
            and returns the candidates of each, whole numbers of shape (sessions, k), k at least 10. None takes those of
            the old system. Duplicates, videos not yet uploaded and those in the history are dropped by the page.
        rank: takes the candidates, one row each and those of a session together, and the sessions; returns a finite
            score a row. The page shows the highest first.
        arrange: takes candidates and scores, both (sessions, k), minus infinity where a candidate was dropped, and the
            sessions; returns the places of the candidates to show in order, (sessions, 10). By default the highest.
    """

    retrieve: Callable[[pd.DataFrame], NDArray[np.integer]] | None
    rank: Callable[[pd.DataFrame, pd.DataFrame], NDArray[np.floating]]
    arrange: Callable[[NDArray[np.integer], NDArray[np.floating], pd.DataFrame], NDArray[np.integer]] | None = None

    @classmethod
    def of(cls, label: str, policy: "Policy") -> "Recommender":
        """The policy itself, or a plain ranker of the old system's candidates as one.

        Raises:
            ValueError: the policy is neither.
        """
        if isinstance(policy, Recommender):
            return policy
        if not callable(policy):
            raise ValueError(f"policy {label!r} is {policy!r}: expected a Recommender or a function of the candidates")
        rank = policy
        return cls(None, lambda rows, sessions: rank(rows))


Policy = Ranker | Recommender


@dataclass
class State:
    """What a day leaves for the next: moods, histories, and the counts that the feature store holds as of last night.

    Arrays over users (histories: and their last watches or showings, newest first, -1 for none) or over videos.
    """

    day: int
    mood: NDArray[np.float64]
    staying: NDArray[np.bool_]
    history: NDArray[np.int32]
    served_history: NDArray[np.int32]
    pages: NDArray[np.int32]
    user_sessions: NDArray[np.int32]
    user_clicks: NDArray[np.int32]
    user_minutes: NDArray[np.float32]
    shown: NDArray[np.int32]
    clicks: NDArray[np.int32]
    minutes: NDArray[np.float32]
    popularity: NDArray[np.float32]

    @classmethod
    def fresh(cls, world: "Video") -> "State":
        """Everybody is new; a video begins with the popularity that it brings from elsewhere."""
        users, videos = world.sizes.users, world.sizes.videos

        def none(length: int, dtype: Any = np.int32) -> NDArray:
            return np.zeros(length, dtype)

        history = np.full((users, len(HISTORY)), -1, dtype=np.int32)
        return cls(
            0, none(users, float), np.ones(users, dtype=bool), history, history.copy(),
            np.full((users, REMEMBERED), -1, dtype=np.int32), none(users), none(users), none(users, np.float32),
            none(videos), none(videos), none(videos, np.float32), world._start.copy(),
        )  # fmt: skip

    def copy(self) -> "State":
        """A state that can go on without changing this one."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return State(**{name: value if name == "day" else value.copy() for name, value in values.items()})


@dataclass(frozen=True)
class VideoLog(Log):
    """The log of the home page.

    Attributes:
        sessions: one row a page: ``session``, ``t``, ``day``, ``hour``, ``user``, ``age_band``, ``country``,
            ``device``, ``user_sessions``, ``user_clicks``, ``user_minutes`` and the last watches ``h0`` to ``h19`` as
            the feature store held them, newest first, -1 for none.
        state: how the log left the world (for :meth:`Video.rollout`, not for models).
    """

    sessions: pd.DataFrame = field(default=None, repr=False)
    state: State = field(default=None, repr=False)  # type: ignore[assignment]


@dataclass(frozen=True)
class VideoOutcome:
    """What happened in a closed loop.

    Attributes:
        frame: what the company sees, one row an impression, with its ``arm``.
        truth: row by row, what it does not see: ``p_click``, ``expected_minutes``, ``expected_value``.
        users: one row a user who took part and had joined: ``user``, ``arm``, over all days ``sessions``, ``clicks``,
            ``minutes``, ``active_days``, and whether they ``stayed``.
        days: one row a day and arm: ``day``, ``arm``, ``users`` (joined and not gone, in the morning), ``active``,
            ``sessions``, ``clicks``, ``minutes``, ``left`` (users who left for good that day).
        sessions: one row a page, as in :class:`VideoLog`, with its ``arm``.
        state: how the days left the world, for a rollout that goes on.
    """

    frame: pd.DataFrame
    truth: pd.DataFrame
    users: pd.DataFrame
    days: pd.DataFrame
    sessions: pd.DataFrame
    state: State = field(repr=False)


class Feed:
    """One run of the home page: who is there, what they are shown, what they do and remember."""

    def __init__(
        self,
        world: "Video",
        arms: Mapping[str, Recommender],
        state: State,
        *,
        explore: float,
        stream: str,
        split: float = 0.5,
    ) -> None:
        self._world, self._arms, self.state = world, arms, state
        self._explore, self._stream = explore, stream
        self._names = np.array(list(arms))
        everyone = np.arange(world.sizes.users)
        luck = world.uniform(f"arm {stream}", everyone)
        self._arm = (luck < split).astype(np.int64) if len(arms) == 2 else np.zeros(len(everyone), dtype=np.int64)

    def run(self, days: range, *, share: float, features: bool) -> VideoOutcome:
        """Serves the days and returns what happened."""
        world, joined = self._world, self._world._arrays["joined"]
        everyone = np.arange(world.sizes.users)
        part = world.uniform("takes part", everyone) < share if share < 1 else np.ones(len(everyone), bool)
        totals = np.zeros((4, len(everyone)))
        parts: dict[str, list[Columns]] = {"frame": [], "truth": [], "sessions": [], "days": []}
        for day in days:
            present = part & self.state.staying & (joined <= day)
            sessions, device = self._sessions(day, present)
            ids, propensity = self._pages(sessions)
            shown, truth = self._happens(sessions, device, ids, propensity)
            count = len(everyone)
            done = [np.bincount(sessions["user"], minlength=count).astype(float)]
            done += [np.bincount(shown["user"], weights=shown[c], minlength=count) for c in ("click", "minutes")]
            done.append((done[0] > 0).astype(float))
            totals += done
            left = self._remember(day, sessions, shown, truth)
            parts["days"].append(self._summary(day, present, np.array(done), left))
            parts["frame"].append(shown if features else {c: shown[c] for c in (*OUTCOMES, "arm")})
            parts["truth"].append(truth)
            parts["sessions"].append(sessions | {"arm": self._names[self._arm[sessions["user"]]]})
        here = np.flatnonzero(part & (joined < days.stop))
        people = {"user": here.astype(np.int32), "arm": self._names[self._arm[here]]}
        people |= dict(zip(("sessions", "clicks", "minutes", "active_days"), totals[:, here], strict=True))
        people["stayed"] = self.state.staying[here]
        stacked = {name: _stacked(columns) for name, columns in parts.items()}
        return VideoOutcome(
            stacked["frame"], stacked["truth"], pd.DataFrame(people), stacked["days"], stacked["sessions"], self.state
        )

    # -- a day -------------------------------------------------------------------------------------------------------

    def _sessions(self, day: int, present: NDArray[np.bool_]) -> tuple[Columns, NDArray[np.int8]]:
        """Who opens the page, when and on what: what the company sees, and the device that is really in use."""
        world, state = self._world, self.state
        user = np.flatnonzero(present)
        mean = world._activity[user] * np.exp(0.5 * world.spec.knobs["satisfaction"] * np.clip(state.mood[user], -1, 1))
        # Poisson by inversion: the same luck brings more sessions where the mean is higher.
        luck, below = world.uniform(f"{self._stream} sessions", user, np.full(len(user), day)), np.exp(-mean)
        term, number = below.copy(), np.zeros(len(user), dtype=np.int64)
        for k in range(1, MOST_SESSIONS + 1):
            number += luck >= below
            term = term * mean / k
            below = below + term
        who = np.repeat(user, number)
        index = np.arange(len(who)) - np.repeat(np.cumsum(number) - number, number)
        session = (day * world.sizes.users + who).astype(np.int64) * (MOST_SESSIONS + 1) + index
        clock = np.interp(world.uniform(f"{self._stream} clock", session), _CLOCK, np.arange(25))
        order = np.argsort(clock, kind="stable")
        who, session, clock = who[order], session[order], clock[order]
        hour = np.minimum(clock, 23.999).astype(np.int8)
        television = sigmoid(-1.6 + 1.4 * (hour >= 19) + world._television[who])
        luck = world.uniform(f"{self._stream} device", session)
        device = np.where(luck < television, 2, luck < television + 0.25 * (1 - television)).astype(np.int8)
        release = world.spec.knobs["null_device_day"]
        seen = np.where((device == 0) & (day >= release), -1, device) if release else device
        sessions: Columns = {
            "session": session, "t": day + clock / 24, "day": np.full(len(who), day, dtype=np.int16), "hour": hour,
            "user": who.astype(np.int32), "age_band": world._arrays["age_band"][who],
            "country": world._arrays["country"][who], "device": seen.astype(np.int8),
            "user_sessions": state.user_sessions[who], "user_clicks": state.user_clicks[who],
            "user_minutes": state.user_minutes[who],
        }  # fmt: skip
        return sessions | dict(zip(HISTORY, state.served_history[who].T.copy(), strict=True)), device

    def _rows(self, sessions: Columns, at: NDArray, ids: NDArray) -> Columns:
        """What the feature store says of a video ``ids[i]`` for the session at ``at[i]``, as of last night."""
        world, state = self._world, self.state
        shared = [c for c in sessions if c not in HISTORY]
        rows = {c: sessions[c][at] for c in shared}
        rows["video"] = ids.astype(np.int32)
        arrays = world._arrays
        rows |= {c: arrays[c][ids] for c in ("tag_a", "tag_b", "tag_c", "length")}
        rows["age"] = (rows["day"] - arrays["uploaded"][ids]).astype(np.int16)
        clicks = np.maximum(state.clicks, 1)
        per_video = {
            "video_shown": state.shown, "video_clicks": state.clicks,
            "video_ctr": (state.clicks / np.maximum(state.shown, 1)).astype(np.float32),
            "video_minutes": (state.minutes / clicks).astype(np.float32), "popularity": state.popularity,
        }  # fmt: skip
        rows |= {c: values[ids] for c, values in per_video.items()}
        rows["tag_share"] = self._tag_shares(sessions)[at, rows["tag_a"]]
        seen = np.zeros(len(ids), dtype=np.int8)
        pages = state.pages[sessions["user"]]
        for place in range(REMEMBERED):
            seen += pages[at, place] == ids
        return rows | {"seen": seen}

    def _tag_shares(self, sessions: Columns) -> NDArray[np.float32]:
        """Share of each tag (the first of a video) among the session's last watches: (sessions, tags)."""
        history = np.column_stack([sessions[c] for c in HISTORY])
        filled = history >= 0
        tag = self._world._arrays["tag_a"]
        tags, n = len(self._world._centre), len(history)
        cell = np.nonzero(filled)[0] * tags + tag[history[filled]]
        counts = np.bincount(cell, minlength=n * tags).reshape(n, tags)
        return (counts / np.maximum(filled.sum(1, keepdims=True), 1)).astype(np.float32)

    def _draw(self, sessions: Columns, name: str, exponent: float, k: int) -> NDArray[np.int64]:
        """``k`` videos for each session, with probability in proportion to a power of their popularity."""
        day = int(sessions["day"][0]) if len(sessions["day"]) else self.state.day
        weight = np.where(self._world._arrays["uploaded"] <= day, (self.state.popularity + 0.3) ** exponent, 0.0)
        edges = np.cumsum(weight / weight.sum())
        luck = self._world.uniform(f"{self._stream} {name}", sessions["session"][:, None], np.arange(k)[None])
        return np.minimum(np.searchsorted(edges, luck, side="right"), len(edges) - 1)

    def _dropped(self, sessions: Columns, ids: NDArray) -> NDArray[np.bool_]:
        """Candidates that no page shows: not uploaded yet, watched lately, or the same as one before it."""
        dropped = self._world._arrays["uploaded"][ids] > sessions["day"][:, None]
        for history in self.state.history[sessions["user"]].T:
            dropped |= ids == history[:, None]
        order = np.argsort(ids, axis=1, kind="stable")
        ordered = np.take_along_axis(ids, order, axis=1)
        again = np.zeros_like(dropped)
        np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        return dropped | again

    def _pages(self, sessions: Columns) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The videos of each page in order, -1 where it stays empty, and the probability of each where it stands."""
        n = len(sessions["t"])
        ranked = np.full((n, SLATE), -1, dtype=np.int64)
        for index, (label, policy) in enumerate(self._arms.items()):
            mine = np.flatnonzero(self._arm[sessions["user"]] == index)
            size = CHUNK if policy.retrieve else max(len(mine), 1)
            for start in range(0, len(mine), size):
                at = mine[start : start + size]
                ranked[at] = self._ranked({c: values[at] for c, values in sessions.items()}, label, policy)
        exploring = self._world.uniform(f"{self._stream} explore", sessions["session"]) < self._explore
        by_chance = {c: values[exploring] for c, values in sessions.items()}
        random = self._draw(by_chance, "random", 0.0, 2 * POOL)
        fine = ~self._dropped(by_chance, random)
        first = np.argsort(~fine, axis=1, kind="stable")[:, :SLATE]
        filled = np.take_along_axis(fine, first, axis=1)
        ids = ranked.copy()
        ids[exploring] = np.where(filled, np.take_along_axis(random, first, axis=1), -1)
        day = int(sessions["day"][0]) if n else self.state.day
        open_videos = int((self._world._arrays["uploaded"] <= day).sum())
        watched = (self.state.history[sessions["user"]] >= 0).sum(1, keepdims=True)
        chance = self._explore / np.maximum(open_videos - watched, 1)
        return ids, chance + (1 - self._explore) * (ids == ranked)

    def _ranked(self, sessions: Columns, label: str, policy: Recommender) -> NDArray[np.int64]:
        """The page of each session as a policy arranges it, -1 for an empty place."""
        frame, n = pd.DataFrame(sessions, copy=False), len(sessions["t"])
        if policy.retrieve is None:
            ids = self._draw(sessions, "pool", self._world.spec.knobs["popularity"], POOL)
        else:
            ids = self._checked_candidates(policy.retrieve(frame.copy(deep=False)), label, n)
        dropped = self._dropped(sessions, ids)
        at = np.repeat(np.arange(n), ids.shape[1])
        # Views that copy on write: a policy may change what it is given, not what happens.
        rows = pd.DataFrame(self._rows(sessions, at, ids.ravel()), copy=False)
        given = np.asarray(policy.rank(rows, frame.copy(deep=False)), dtype=np.float64)
        if given.shape != (ids.size,):
            raise ValueError(f"policy {label!r} gave shape {given.shape}: expected {(ids.size,)}")
        if not np.isfinite(given).all():
            raise ValueError(f"scores of policy {label!r} hold NaN or infinity: expected finite numbers")
        score = np.where(dropped, -np.inf, given.reshape(ids.shape))
        if policy.arrange is None:
            places = np.argsort(-score, axis=1, kind="stable")[:, :SLATE]
        else:
            places = np.asarray(policy.arrange(ids.copy(), score.copy(), frame.copy(deep=False)))
            ordered = np.sort(places, axis=1) if places.shape == (n, SLATE) else np.zeros((1, 2), dtype=int)
            if (ordered[:, 1:] == ordered[:, :-1]).any() or ordered.min() < 0 or ordered.max() >= ids.shape[1]:
                raise ValueError(
                    f"policy {label!r} arranged {places.shape}: expected {SLATE} places each, all different"
                )
        page = np.take_along_axis(ids, places, axis=1)
        return np.where(np.isfinite(np.take_along_axis(score, places, axis=1)), page, -1)

    def _checked_candidates(self, ids: NDArray, label: str, n: int) -> NDArray[np.int64]:
        ids = np.asarray(ids)
        if ids.ndim != 2 or len(ids) != n or ids.shape[1] < SLATE or ids.dtype.kind not in "iu":
            raise ValueError(
                f"policy {label!r} retrieved {ids.dtype} of shape {ids.shape}: expected whole numbers ({n}, {SLATE}+)"
            )
        last = self._world.sizes.videos - 1
        if ids.size and (ids.min() < 0 or ids.max() > last):
            raise ValueError(f"policy {label!r} retrieved {ids.min()} to {ids.max()}: expected videos 0 to {last}")
        return ids.astype(np.int64)

    def _happens(
        self, sessions: Columns, device: NDArray[np.int8], ids: NDArray[np.int64], propensity: NDArray[np.float64]
    ) -> tuple[Columns, Columns]:
        """What users do: observed columns, and true ones."""
        world, filled = self._world, ids >= 0
        at = np.nonzero(filled)[0]
        shown = self._rows(sessions, at, ids[filled])
        shown["pos"] = np.broadcast_to(np.arange(SLATE, dtype=np.int8), ids.shape)[filled]
        shown["propensity"] = propensity[filled].astype(np.float32)
        shown["arm"] = self._names[self._arm[shown["user"]]]

        def luck(name: str, rows: NDArray | slice = slice(None)) -> NDArray[np.float64]:
            return world.uniform(f"{self._stream} {name}", shown["session"][rows], shown["video"][rows])

        real = shown | {"device": device[at]}
        match = world._match(real)
        p_click = sigmoid(world._click_logit(match, real)) * world.truth.p_examined(real)
        mean, value = sigmoid(world._watch_logit(match, real)), world._value(match, real)
        clicked = np.flatnonzero(luck("click") < p_click)
        m = np.clip(mean[clicked], 0.01, 0.99).astype(float)
        fraction = betaincinv(4.0 * m, 4.0 * (1 - m), luck("fraction", clicked))
        click, minutes, survey = (np.zeros(len(at), dtype=dtype) for dtype in (np.int8, np.float32, np.int8))
        click[clicked], minutes[clicked] = 1, fraction * shown["length"][clicked]
        felt = 3.4 + 1.6 * value[clicked] + 0.6 * np.sqrt(2) * erfinv(2 * luck("feeling", clicked) - 1)
        answers = luck("survey", clicked) < world.spec.knobs["survey"]
        survey[clicked] = np.where(answers, np.clip(np.round(felt), 1, 5), 0)
        time = np.full(len(at), np.nan)
        mean_delay = np.full(len(clicked), world.spec.knobs["delay"])
        waiting = exponential_delay(mean_delay, luck("delay", clicked))
        time[clicked] = np.where(answers, shown["t"][clicked] + waiting, np.nan)
        shown |= {"click": click, "minutes": minutes, "survey": survey, "survey_time": time}
        length = shown["length"]
        truth = {"p_click": p_click, "expected_minutes": p_click * mean * length, "expected_value": p_click * value}
        return shown, {name: column.astype(np.float32) for name, column in truth.items()}

    def _remember(self, day: int, sessions: Columns, shown: Columns, truth: Columns) -> NDArray[np.bool_]:
        """Over night: moods move, some leave, the counts are brought up to date. Returns who left."""
        world, state, knobs = self._world, self.state, self._world.spec.knobs
        user, video, users, videos = shown["user"], shown["video"], len(state.mood), len(state.shown)
        clicked = shown["click"] == 1
        opened = np.bincount(sessions["user"], minlength=users)
        p = np.maximum(truth["p_click"], 1e-9)
        felt = np.bincount(user[clicked], weights=(truth["expected_value"] / p)[clicked], minlength=users)
        mood = state.mood * 0.9**opened + 0.1 * felt - knobs["monotony"] * 0.1 * self._sameness(shown, users)
        state.mood = np.clip(mood, -2, 2)
        hazard = np.minimum(knobs["leave"] * np.exp(-2 * knobs["satisfaction"] * state.mood), 0.5) * (opened > 0)
        left = world.uniform(f"{self._stream} leaves", np.arange(users), np.full(users, day)) < hazard
        state.staying = state.staying & ~left
        watched = clicked & (shown["minutes"] >= WATCHED * shown["length"])
        state.history = _pushed(state.history, user[watched], video[watched])
        state.pages = _pushed(state.pages, user, video)
        stale = knobs["stale_history_day"]
        if not stale or day + 1 < stale:
            state.served_history = state.history
        state.user_sessions = state.user_sessions + opened.astype(np.int32)
        state.user_clicks = state.user_clicks + np.bincount(user[clicked], minlength=users).astype(np.int32)
        watch_time = np.bincount(user, weights=shown["minutes"], minlength=users).astype(np.float32)
        state.user_minutes = state.user_minutes + watch_time
        new_clicks = np.bincount(video[clicked], minlength=videos)
        state.shown = state.shown + np.bincount(video, minlength=videos).astype(np.int32)
        state.clicks = state.clicks + new_clicks.astype(np.int32)
        new_minutes = np.bincount(video, weights=shown["minutes"], minlength=videos)
        state.minutes = state.minutes + new_minutes.astype(np.float32)
        state.popularity = (POPULARITY_DECAY * state.popularity + new_clicks).astype(np.float32)
        state.day = day + 1
        return left

    def _sameness(self, shown: Columns, users: int) -> NDArray[np.float64]:
        """For each user the sum over pages of how much one topic dominates: 0 for five topics or more, 1 for one."""
        topics = len(self._world._centre)
        page, at = np.unique(shown["session"], return_inverse=True)
        counts = np.bincount(at * topics + self._world._topic[shown["video"]], minlength=len(page) * topics)
        counts = counts.reshape(-1, topics)
        concentration = ((counts / np.maximum(counts.sum(1, keepdims=True), 1)) ** 2).sum(1)
        owner = np.zeros(len(page), dtype=np.int64)
        owner[at] = shown["user"]
        return np.bincount(owner, weights=np.maximum(concentration - 0.2, 0) / 0.8, minlength=users).astype(np.float64)

    def _summary(self, day: int, present: NDArray[np.bool_], done: NDArray, left: NDArray[np.bool_]) -> Columns:
        arms = np.arange(len(self._names))
        of = [present & (self._arm == index) for index in arms]
        rows: Columns = {"day": np.full(len(arms), day), "arm": self._names[arms]}
        rows["users"] = np.array([m.sum() for m in of])
        for name, values in zip(("sessions", "clicks", "minutes", "active"), done, strict=True):
            rows[name] = np.array([values[m].sum() for m in of])
        return rows | {"left": np.array([left[m].sum() for m in of])}


def _pushed(past: NDArray[np.int32], user: NDArray[np.integer], video: NDArray[np.integer]) -> NDArray[np.int32]:
    """Each user's list with new videos, given from the oldest to the newest, before the old ones; newest first."""
    size = past.shape[1]
    order = np.argsort(user, kind="stable")
    user, video = user[order], video[order]
    count = np.bincount(user, minlength=len(past))
    # How many of the same user come after each.
    rank = np.cumsum(count)[user] - 1 - np.arange(len(user))
    source = np.arange(size)[None] - count[:, None]
    result = np.take_along_axis(past, np.maximum(source, 0), axis=1)
    recent = rank < size
    result[user[recent], rank[recent]] = video[recent]
    return result


def _stacked(parts: list[Columns]) -> pd.DataFrame:
    """One table of all days; each column of a day is let go once it is copied."""
    names = list(parts[0])
    return pd.DataFrame({name: np.concatenate([part.pop(name) for part in parts]) for name in names}, copy=False)
