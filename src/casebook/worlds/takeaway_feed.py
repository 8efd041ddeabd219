"""The closed loop of the Takeaway world: a day of sessions at a time, and what people remember of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from casebook.worlds.core import Log
from casebook.worlds.mechanisms import exponential_delay

if TYPE_CHECKING:
    from casebook.worlds.takeaway import Takeaway

__all__ = ["Columns", "Feed", "FeedLog", "FeedOutcome", "Ranker", "State"]

Columns = dict[str, NDArray]
"""Candidates or impressions by column. The world computes on plain arrays; a policy gets a DataFrame of the same."""

Ranker = Callable[[pd.DataFrame], NDArray[np.floating]]
"""A policy: takes the candidates of some sessions, one row each and those of a session together, and gives each a
score; the feed shows the highest first."""

SLATE = 8
HOURS = np.array([1, 0, 0, 0, 0, 0, 1, 2, 2, 2, 4, 8, 10, 7, 3, 2, 3, 6, 11, 13, 10, 7, 5, 3], dtype=float)
_CLOCK = np.r_[0, np.cumsum(HOURS) / HOURS.sum()]
MOST_SESSIONS = 6  # of one user in a day
PRIOR_RATING, PRIOR_WEIGHT = 3.5, 5.0
OUTCOMES = ("t", "day", "session", "user", "town", "restaurant", "pos", "click", "order", "rating", "rating_time")


@dataclass
class State:
    """What a day leaves for the next: satisfaction, and the counts that the feature store holds as of last night.

    Arrays over users, restaurants, or users and the restaurants (cuisines) of their town.
    """

    day: int
    satisfaction: NDArray[np.float64]
    seen: NDArray[np.int16]
    ordered: NDArray[np.int16]
    clicks_of_cuisine: NDArray[np.int16]
    orders_of_cuisine: NDArray[np.int16]
    sessions: NDArray[np.int32]
    shown: NDArray[np.int32]
    clicks: NDArray[np.int32]
    orders: NDArray[np.int32]
    rating_sum: NDArray[np.float64]
    ratings: NDArray[np.int32]
    rating_feature: NDArray[np.float32]
    pending: pd.DataFrame = field(repr=False)

    @classmethod
    def fresh(cls, world: "Takeaway") -> "State":
        """Everybody is new."""
        users, restaurants = world.sizes.users, world.sizes.restaurants
        choices, cuisines = world._distance.shape[1], len(world._centre)

        def none(*shape: int, dtype: type = np.int32) -> NDArray:
            return np.zeros(shape, dtype)

        return cls(
            0, none(users, dtype=float), none(users, choices, dtype=np.int16), none(users, choices, dtype=np.int16),
            none(users, cuisines, dtype=np.int16), none(users, cuisines, dtype=np.int16), none(users),
            none(restaurants), none(restaurants), none(restaurants), none(restaurants, dtype=float), none(restaurants),
            np.full(restaurants, PRIOR_RATING, np.float32),
            pd.DataFrame({"restaurant": none(0), "rating": none(0, dtype=float), "time": none(0, dtype=float)}),
        )  # fmt: skip

    def copy(self) -> "State":
        """A state that can go on without changing this one."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return State(**{name: value if name == "day" else value.copy() for name, value in values.items()})


@dataclass(frozen=True)
class FeedLog(Log):
    """The log of the feed, with the state in which it left the world (for :meth:`Takeaway.rollout`, not for models)."""

    state: State = field(default=None, repr=False, kw_only=False)  # type: ignore[assignment]


@dataclass(frozen=True)
class FeedOutcome:
    """What happened in a closed loop.

    Attributes:
        frame: what the company sees, one row an impression, with its ``arm``.
        truth: row by row, what it does not see: ``p_click``, ``p_order``, and the ``surprise`` of the meal, if any.
        users: one row a user who took part, sessions or not: ``user``, ``town``, ``arm`` (of the first day), and over
            all days ``sessions``, ``clicks``, ``orders``.
        days: one row a day and arm: ``day``, ``arm``, ``users``, ``sessions``, ``clicks``, ``orders``, ``late`` (share
            of orders that waited for the kitchen) and ``satisfaction`` (mean over the arm's users: a truth too).
    """

    frame: pd.DataFrame
    truth: pd.DataFrame
    users: pd.DataFrame
    days: pd.DataFrame


class Feed:
    """One run of the feed: who is there, what they are shown, what they do and remember."""

    def __init__(
        self,
        world: "Takeaway",
        arms: Mapping[str, Ranker],
        state: State,
        *,
        explore: float,
        stream: str,
        by: str = "user",
        split: float = 0.5,
    ) -> None:
        self._world, self._arms, self.state = world, arms, state
        self._explore, self._stream, self._by, self._split = explore, stream, by, split
        self._names = np.array(list(arms))

    def run(self, days: range, *, share: float, features: bool) -> FeedOutcome:
        """Serves the days and returns what happened."""
        world = self._world
        everyone = np.arange(world.sizes.users)
        taking_part = world.uniform("takes part", everyone) < share if share < 1 else np.ones(len(everyone), bool)
        totals = np.zeros((3, len(everyone)), dtype=np.int64)
        arm_at_first = self._arm(everyone, days.start)
        observed: list[Columns] = []
        hidden: list[Columns] = []
        summary: list[pd.DataFrame] = []
        for day in days:
            sessions = self._sessions(day, taking_part)
            candidates = self._candidates(sessions)
            slate, propensity = self._slate(candidates, sessions)
            shown, truth, late = self._happens(candidates, sessions, slate, propensity, share)
            user, count = shown["user"], len(everyone)
            done = [np.bincount(sessions["user"], minlength=count)]
            done += [np.bincount(user, weights=shown[c], minlength=count).astype(int) for c in ("click", "order")]
            totals += done
            self._remember(day, sessions, shown, truth)
            summary.append(self._summary(day, taking_part, np.array(done), shown, late))
            kept = shown if features else {name: shown[name] for name in (*OUTCOMES, "arm")}
            observed.append(kept)
            hidden.append(truth)
        part = np.flatnonzero(taking_part)
        people = {
            "user": part.astype(np.int32),
            "town": world._arrays["town"][part],
            "arm": self._names[arm_at_first[part]],
        }
        people |= dict(zip(("sessions", "clicks", "orders"), totals[:, part], strict=True))
        return FeedOutcome(
            _stacked(observed), _stacked(hidden), pd.DataFrame(people), pd.concat(summary, ignore_index=True)
        )

    # -- a day -------------------------------------------------------------------------------------------------------

    def _arm(self, user: NDArray[np.integer], day: int) -> NDArray[np.int64]:
        """The arm of each user on a day: 0 or 1."""
        if len(self._arms) == 1:
            return np.zeros(len(user), dtype=np.int64)
        town = self._world._arrays["town"][user].astype(np.int64)
        luck = f"arm {self._stream}"
        if self._by == "user":
            return (self._world.uniform(luck, user) < self._split).astype(np.int64)
        towns = np.arange(self._world.sizes.towns)
        keys = (towns,) if self._by == "town" else (towns, np.full(len(towns), day))
        draws = self._world.uniform(f"{luck} {self._by}", *keys)
        # As many towns in the second arm as its share says: with few units, tossing coins would lose power.
        second = np.zeros(len(towns), dtype=np.int64)
        second[np.argsort(draws, kind="stable")[: round(self._split * len(towns))]] = 1
        return second[town]

    def _sessions(self, day: int, taking_part: NDArray[np.bool_]) -> Columns:
        """Who opens the app and when: the more satisfied and the wetter, the more often."""
        world = self._world
        user = np.flatnonzero(taking_part)
        town = world._arrays["town"][user]
        rain = world._rain[day, town]
        pull = np.exp(world.spec.knobs["satisfaction"] * np.clip(self.state.satisfaction[user], -1, 1))
        mean = world._activity[user] * pull * (1 + 0.3 * rain)
        # Poisson by inversion: the same luck brings more sessions where the mean is higher.
        luck, below = world.uniform(f"{self._stream} sessions", user, np.full(len(user), day)), np.exp(-mean)
        term, number = below.copy(), np.zeros(len(user), dtype=np.int64)
        for k in range(1, MOST_SESSIONS + 1):
            number += luck >= below
            term = term * mean / k
            below = below + term
        at = np.repeat(np.arange(len(user)), number)
        index = np.arange(len(at)) - np.repeat(np.cumsum(number) - number, number)
        who = user[at]
        session = (day * world.sizes.users + who).astype(np.int64) * (MOST_SESSIONS + 1) + index
        clock = np.interp(world.uniform(f"{self._stream} clock", session), _CLOCK, np.arange(25))
        order = np.argsort(clock, kind="stable")
        return {
            "t": (day + clock / 24)[order],
            "day": np.full(len(at), day, dtype=np.int16),
            "hour": np.minimum(clock[order], 23.999).astype(np.int8),
            "session": session[order],
            "user": who[order].astype(np.int32),
            "town": town[at][order],
            "age_band": world._arrays["age_band"][who[order]],
            "device": world._arrays["device"][who[order]],
            "rain": rain[at][order].astype(np.int8),
        }

    def _candidates(self, sessions: Columns) -> Columns:
        """Every restaurant of the town, one row each, with what the feature store holds as of last night."""
        world, state, n = self._world, self.state, len(sessions["t"])
        user, choices = sessions["user"], state.seen.shape[1]
        day = int(sessions["day"][0]) if n else state.day
        columns = {name: np.repeat(values, choices) for name, values in sessions.items()}
        restaurant = (sessions["town"].astype(np.int64)[:, None] * choices + np.arange(choices)).ravel()
        columns["restaurant"] = restaurant.astype(np.int32)
        cuisine = world._arrays["cuisine"]
        price = world._arrays["price"]
        bug = world.spec.knobs["price_bug_day"]
        if bug and bug <= day < bug + 3:
            price = np.where(np.arange(len(price)) % 3 == 0, price * 100, price).astype(np.float32)
        orders, shown = state.orders.astype(np.float32), np.maximum(state.shown, 1)
        per_restaurant = {
            "cuisine": cuisine, "price": price, "photo": world._arrays["photo"],
            "age": (day - world._arrays["opened"]).astype(np.int16),
            "restaurant_shown": state.shown, "restaurant_ctr": (state.clicks / shown).astype(np.float32),
            "restaurant_orders": orders, "restaurant_rating": state.rating_feature,
            "restaurant_ratings": state.ratings,
        }  # fmt: skip
        columns |= {name: values[restaurant] for name, values in per_restaurant.items()}
        columns["distance"] = world._distance[user].ravel()
        columns["seen"] = state.seen[user].ravel()
        columns["user_sessions"] = np.repeat(state.sessions[user], choices)
        columns["user_orders_here"] = state.ordered[user].ravel()
        of_cuisine = (np.repeat(user, choices), columns["cuisine"])
        columns["user_clicks_of_cuisine"] = state.clicks_of_cuisine[of_cuisine]
        columns["user_orders_of_cuisine"] = state.orders_of_cuisine[of_cuisine]
        return columns

    def _slate(self, candidates: Columns, sessions: Columns) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The rows that each session is shown, in order, and the probability with which each was shown there."""
        world, n, choices = self._world, len(sessions["t"]), self.state.seen.shape[1]
        arm = self._arm(sessions["user"], self.state.day)
        score = self._scores(candidates, arm, choices)
        closed = candidates["age"].reshape(n, choices) < 0
        score[closed] = -np.inf
        ranked = np.argsort(-score, axis=1, kind="stable")[:, :SLATE]
        # A random slate is a random permutation of the restaurants that are open.
        keys = world.uniform(f"{self._stream} shuffle", candidates["session"], candidates["restaurant"])
        shuffled = np.argsort(np.where(closed, 2.0, keys.reshape(n, choices)), axis=1, kind="stable")[:, :SLATE]
        exploring = world.uniform(f"{self._stream} explore", sessions["session"]) < self._explore
        chosen = np.where(exploring[:, None], shuffled, ranked)
        propensity = self._explore / (~closed).sum(1, keepdims=True) + (1 - self._explore) * (chosen == ranked)
        # In a town with fewer open restaurants than places, the rest of the slate stays empty.
        filled = np.arange(SLATE) < (~closed).sum(1, keepdims=True)
        slate = np.where(filled, np.arange(n)[:, None] * choices + chosen, -1)
        return slate, propensity

    def _scores(self, candidates: Columns, arm: NDArray[np.integer], choices: int) -> NDArray[np.float64]:
        """Each session's candidates as its arm's policy scores them."""
        frame = pd.DataFrame(candidates, copy=False)
        score = np.zeros((len(arm), choices))
        for index, (label, rank) in enumerate(self._arms.items()):
            mine = arm == index
            if mine.any():
                # A view that copies on write: a policy may change what it is given, not what happens.
                rows = frame.copy(deep=False) if mine.all() else frame[np.repeat(mine, choices)]
                given = np.asarray(rank(rows), dtype=np.float64)
                if given.shape != (len(rows),):
                    raise ValueError(f"policy {label!r} gave shape {given.shape}: expected {(len(rows),)}")
                if not np.isfinite(given).all():
                    raise ValueError(f"scores of policy {label!r} hold NaN or infinity: expected finite numbers")
                score[mine] = given.reshape(-1, choices)
        return score

    def _happens(
        self,
        candidates: Columns,
        sessions: Columns,
        slate: NDArray[np.int64],
        propensity: NDArray[np.float64],
        share: float,
    ) -> tuple[Columns, Columns, NDArray[np.bool_]]:
        """What users do and how the meals turn out: observed columns, true ones, and which orders were late."""
        world, state = self._world, self.state
        filled = slate >= 0
        at = slate[filled]
        shown = {name: values[at] for name, values in candidates.items()}
        shown["pos"] = np.broadcast_to(np.arange(slate.shape[1], dtype=np.int8), slate.shape)[filled]
        shown["propensity"] = propensity[filled].astype(np.float32)
        shown["arm"] = np.repeat(self._names[self._arm(sessions["user"], state.day)], filled.sum(1))

        def luck(name: str) -> NDArray[np.float64]:
            return world.uniform(f"{self._stream} {name}", shown["session"], shown["restaurant"])

        p_click, p_after = world.truth.p_click(shown), world.truth.p_order_after_click(shown)
        click = luck("click") < p_click
        order = click & (luck("order") < p_after)
        # Lunch and dinner are cooked apart. A kitchen with more orders than it can cook is late, for all of them.
        service = shown["restaurant"].astype(np.int64) * 2 + (shown["hour"] >= 16)
        load = np.bincount(service, weights=order, minlength=2 * world.sizes.restaurants)
        room = np.repeat(world._capacity * share, 2)
        late = np.clip(load / room - 1, 0, 2)[service]
        noise = 0.25 * np.sqrt(2) * _erfinv(2 * luck("meal") - 1)
        surprise = np.where(order, world.truth.surprise(shown) + noise - 0.5 * late, 0.0)
        strong = np.abs(surprise) > 0.5
        rates = order & (luck("rates") < 0.15 + world.spec.knobs["mnar"] * strong)
        rating = np.clip(np.round(3.6 + 1.8 * surprise), 1, 5)
        delay = exponential_delay(np.full(len(at), world.spec.knobs["delay"]), luck("delay"))
        shown |= {
            "click": click.astype(np.int8),
            "order": order.astype(np.int8),
            "rating": np.where(rates, rating, 0).astype(np.int8),
            "rating_time": np.where(rates, shown["t"] + delay, np.nan),
        }
        return shown, {"p_click": p_click, "p_order": p_click * p_after, "surprise": surprise}, late > 0

    def _remember(self, day: int, sessions: Columns, shown: Columns, truth: Columns) -> None:
        """Over night: satisfaction moves, and the counts are brought up to date."""
        world, state = self._world, self.state
        user, restaurant, choices = shown["user"], shown["restaurant"], state.seen.shape[1]
        count = len(state.sessions)
        opened = np.bincount(sessions["user"], minlength=count)
        felt = np.bincount(user, weights=truth["surprise"], minlength=count)
        fed = np.bincount(user, weights=shown["order"], minlength=count)
        hungry = np.maximum(opened - fed, 0)
        state.satisfaction = state.satisfaction * 0.97**opened + 0.35 * felt - 0.01 * hungry
        slot, cuisine = restaurant % choices, shown["cuisine"]
        clicked, ordered = shown["click"] == 1, shown["order"] == 1
        np.add.at(state.seen, (user, slot), 1)
        np.add.at(state.ordered, (user[ordered], slot[ordered]), 1)
        np.add.at(state.clicks_of_cuisine, (user[clicked], cuisine[clicked]), 1)
        np.add.at(state.orders_of_cuisine, (user[ordered], cuisine[ordered]), 1)
        state.sessions += opened.astype(np.int32)
        size = len(state.shown)
        state.shown += np.bincount(restaurant, minlength=size).astype(np.int32)
        state.clicks += np.bincount(restaurant[clicked], minlength=size).astype(np.int32)
        state.orders += np.bincount(restaurant[ordered], minlength=size).astype(np.int32)
        rated = shown["rating"] > 0
        fresh = {"restaurant": restaurant[rated], "rating": shown["rating"][rated].astype(float)}
        new = pd.DataFrame(fresh | {"time": shown["rating_time"][rated]})
        waiting = pd.concat([state.pending, new], ignore_index=True) if len(state.pending) else new
        arrived = waiting["time"].to_numpy() <= day + 1
        done = waiting[arrived]
        state.ratings += np.bincount(done["restaurant"], minlength=size).astype(np.int32)
        state.rating_sum += np.bincount(done["restaurant"], weights=done["rating"], minlength=size)
        state.pending = waiting[~arrived]
        stale = world.spec.knobs["stale_rating_day"]
        if not stale or day + 1 < stale:
            smoothed = (state.rating_sum + PRIOR_RATING * PRIOR_WEIGHT) / (state.ratings + PRIOR_WEIGHT)
            state.rating_feature = smoothed.astype(np.float32)
        state.day = day + 1

    def _summary(
        self, day: int, taking_part: NDArray[np.bool_], done: NDArray, shown: Columns, late: NDArray[np.bool_]
    ) -> pd.DataFrame:
        people = np.flatnonzero(taking_part)
        arm = self._arm(people, day)
        table = pd.DataFrame(dict(zip(("sessions", "clicks", "orders"), done[:, people], strict=True)))
        table["users"], table["satisfaction"] = 1, self.state.satisfaction[people]
        sums = table.groupby(arm).sum().reset_index(names="arm")
        sums["satisfaction"] /= sums["users"]
        name = self._names[sums["arm"]]
        ordered = shown["order"] == 1
        share = [
            late[ordered & (shown["arm"] == a)].mean() if (ordered & (shown["arm"] == a)).any() else 0.0 for a in name
        ]
        sums["day"], sums["arm"], sums["late"] = day, name, share
        return sums[["day", "arm", "users", "sessions", "clicks", "orders", "late", "satisfaction"]]


def _erfinv(x: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import erfinv

    return erfinv(np.clip(x, -1 + 1e-12, 1 - 1e-12))


def _stacked(parts: list[Columns]) -> pd.DataFrame:
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, copy=False)
