"""The home feed of a food-delivery app: what people order, whether they liked it, and whether they come back.

A user of one of several towns opens the app; the feed shows a few of the town's restaurants in order. In this world

* a click needs a look (positions below are looked at less) and appeal: taste for the cuisine, the photo, the price, the
  distance, the hour, the novelty of a place never seen before;
* an order needs a click, and depends on taste and on the quality of the food, which nobody sees before eating;
* the meal surprises: good food pleasantly, a flattering photo unpleasantly, and a kitchen with more orders than it can
  cook delivers late;
* surprises add up to satisfaction, and the satisfied open the app more often. What is shown today changes who is there
  in a month.

Photos flatter: bad kitchens buy better ones. Ratings arrive days later, and more often after a strong surprise.
Everything that a company would not know is behind :attr:`Takeaway.truth`.
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
from casebook.worlds.latents import zipf_weights
from casebook.worlds.mechanisms import intercept_for, random_walk, sigmoid
from casebook.worlds.takeaway_feed import HOURS, Columns, Feed, FeedLog, FeedOutcome, Ranker, State

__all__ = ["LABELS", "FeedLog", "FeedOutcome", "Ranker", "Takeaway"]

HORIZON = 120
CHOICES = 30  # restaurants of a town, all of them candidates for every session in it
CUISINES, TASTES, DAYPARTS = 10, 6, 4
LABELS = ("click", "order", "rating", "rating_time")
DEVICES = (0.7, 0.3)
EXPONENTS = np.array([1.0, 0.6])  # of examination: a phone shows less at a time than a browser
UNIT_PRICE = 14.0  # the price of a middling meal


@dataclass(frozen=True)
class Sizes:
    """How large the world is."""

    users: int = 8_000
    towns: int = 20

    @property
    def restaurants(self) -> int:
        """Restaurants of all towns."""
        return self.towns * CHOICES


class Takeaway(World):
    """The world of the framework chapters.

    Args:
        seed: by default that of the run.
        size: ``book`` or ``big`` (ten times the users and towns); by default that of the run.
        users, towns: overrides of the size; users are spread evenly over towns.
        knobs: strengths of the mechanisms, see ``defaults``. At 0 a mechanism is off.

    Knobs: ``position`` scales the exponents of examination; ``bait`` is how far photos flatter (minus the correlation
    of photo and quality); ``satisfaction`` how strongly surprises drive later sessions; ``capacity`` scales what
    kitchens can cook (0: no limit); ``novelty`` is the log-odds that a never seen restaurant gains; ``explore`` the
    share of sessions to which the logging policy shows a random slate; ``mnar`` the extra probability of a rating after
    a strong surprise; ``delay`` the mean days until a rating; ``new`` the share of restaurants that open later than day
    0; ``rain`` the probability of rain in a town on a day; ``drift`` the daily deviation of each cuisine's appeal.
    ``kitchen_outage_day``, ``price_bug_day`` and ``stale_rating_day`` are the days of three incidents (0: never): for
    three days, kitchens of one cuisine accept no order; for three days, a partner reports the prices of one restaurant
    in three in cents; from then on, the rating feature is no longer updated.

    Raises:
        ValueError: an unknown knob, a value outside its range, fewer than 1 town or 2 users a town.
    """

    name: ClassVar[str] = "takeaway"
    defaults: ClassVar[Mapping[str, float]] = {
        "position": 1.0, "bait": 0.55, "satisfaction": 1.6, "capacity": 1.0, "novelty": 0.2, "explore": 0.1,
        "mnar": 0.25, "delay": 2.0, "new": 0.15, "rain": 0.2, "drift": 0.02,
        "kitchen_outage_day": 0.0, "price_bug_day": 0.0, "stale_rating_day": 0.0,
    }  # fmt: skip

    def __init__(
        self,
        *,
        seed: int | None = None,
        size: Literal["book", "big"] | None = None,
        users: int | None = None,
        towns: int | None = None,
        **knobs: float,
    ) -> None:
        self._specify(seed, size, knobs)
        for share, most in {"bait": 1.0, "explore": 1.0, "mnar": 0.85, "new": 0.9, "rain": 1.0}.items():
            validate.number(share, self.spec.knobs[share], least=0, most=most)
        scale, plain = (10 if self.spec.size == "big" else 1), Sizes()
        towns = plain.towns * scale if towns is None else validate.positive_int("towns", towns)
        least = 2 * towns
        users = plain.users * scale if users is None else validate.positive_int("users", users, least=least)
        self.sizes = Sizes(users=users, towns=towns)
        self._draw_restaurants()
        self._draw_users()
        self._draw_effects()

    # -- what is drawn once ------------------------------------------------------------------------------------------

    def _draw_restaurants(self) -> None:
        rng, n, knobs = self.stream("restaurants"), self.sizes.restaurants, self.spec.knobs
        cuisine = rng.choice(CUISINES, n, p=zipf_weights(CUISINES, 0.4, rng))
        self._quality = rng.standard_normal(n).astype(np.float32)
        own = rng.standard_normal(n)
        self._photo = (-knobs["bait"] * self._quality + np.sqrt(1 - knobs["bait"] ** 2) * own).astype(np.float32)
        self._log_price = (0.35 * rng.standard_normal(n)).astype(np.float32)
        later = rng.random(n) < knobs["new"]
        opens = np.where(later, rng.integers(1, 60, n), 0)
        self._place = rng.uniform(0, 6, (n, 2)).astype(np.float32)
        kitchen = rng.integers(12, 30, n)
        self._capacity = kitchen * knobs["capacity"] if knobs["capacity"] else np.full(n, np.inf)
        directions = self.stream("cuisines").standard_normal((CUISINES, TASTES))
        self._centre = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self._style = self._centre[cuisine] + 0.3 * self.stream("styles").standard_normal((n, TASTES))
        self.restaurants = pd.DataFrame(
            {
                "restaurant": np.arange(n, dtype=np.int32),
                "town": np.repeat(np.arange(self.sizes.towns, dtype=np.int16), CHOICES),
                "cuisine": cuisine.astype(np.int8),
                "price": (UNIT_PRICE * np.exp(self._log_price)).astype(np.float32),
                "photo": self._photo,
                "opened": opens.astype(np.int16),
            }
        )

    def _draw_users(self) -> None:
        rng, n = self.stream("users"), self.sizes.users
        town = np.sort(np.arange(n) % self.sizes.towns)
        mixture = self.stream("mixtures").dirichlet(np.full(CUISINES, 0.4), n)
        self._taste = 2.2 * mixture @ self._centre + 0.3 * self.stream("tastes").standard_normal((n, TASTES))
        age = rng.integers(0, 5, n)
        # Older people mind the price less; how much less is their own.
        self._thrift = np.exp(0.35 * rng.standard_normal(n) - 0.15 * (age - 2)).astype(np.float32)
        activity = np.exp(0.8 * rng.standard_normal(n))
        self._activity = 0.5 * activity / activity.mean()
        self._home = rng.uniform(0, 6, (n, 2)).astype(np.float32)
        self.users = pd.DataFrame(
            {
                "user": np.arange(n, dtype=np.int32),
                "town": town.astype(np.int16),
                "age_band": age.astype(np.int8),
                "device": rng.choice(2, n, p=DEVICES).astype(np.int8),
            }
        )
        local = town[:, None] * CHOICES + np.arange(CHOICES)
        self._distance = np.linalg.norm(self._home[:, None] - self._place[local], axis=2).astype(np.float32)
        self._match = np.einsum("uf,ucf->uc", self._taste, self._style[local], optimize=True).astype(np.float32)

    def _draw_effects(self) -> None:
        rng, n = self.stream("effects"), self.sizes.restaurants
        self._daypart = (0.5 * rng.standard_normal((CUISINES, DAYPARTS))).astype(np.float32)
        # What the old system goes by: a static list of what sells, made by people who looked at photos too.
        noise = rng.standard_normal(n)
        self._legacy = (0.45 * self._quality + 0.3 * self._photo + 0.6 * noise).astype(np.float32)
        self._walk = random_walk(HORIZON, CUISINES, self.spec.knobs["drift"], self.stream("drift"))
        draws = self.stream("rain").random((HORIZON, self.sizes.towns))
        self._rain = draws < self.spec.knobs["rain"]
        self._click_intercept = self._order_intercept = 0.0
        sample = self._reference_sample(40_000)
        self._click_intercept = intercept_for(self._click_appeal(sample), 0.16)
        self._order_intercept = intercept_for(self._order_appeal(sample), 0.22)

    def _reference_sample(self, n: int) -> Columns:
        """Random users before random restaurants: what the intercepts are set on, before any policy selects."""
        rng = self.stream("reference")
        user = rng.integers(0, self.sizes.users, n)
        town = self.users["town"].to_numpy()[user].astype(np.int64)
        return {
            "user": user,
            "restaurant": town * CHOICES + rng.integers(0, CHOICES, n),
            "day": np.zeros(n, dtype=np.int16),
            "hour": rng.choice(24, n, p=HOURS / HOURS.sum()),
            "rain": np.zeros(n, dtype=np.int8),
            "seen": np.ones(n, dtype=np.int16),
        }

    # -- what people do ----------------------------------------------------------------------------------------------

    def _common(self, x: Columns | pd.DataFrame) -> tuple[NDArray[np.float32], ...]:
        """Taste, price as it weighs on this user, distance as it weighs today, and the hour's appeal."""
        user, restaurant = np.asarray(x["user"]), np.asarray(x["restaurant"])
        slot = restaurant % CHOICES
        cuisine = self._arrays["cuisine"][restaurant]
        price = self._thrift[user] * self._log_price[restaurant]
        distance = self._distance[user, slot] * (1 + 0.7 * np.asarray(x["rain"]))
        day = np.minimum(np.asarray(x["day"]), HORIZON - 1)
        # Morning, noon, afternoon, evening.
        part = np.digitize(np.asarray(x["hour"]), (11, 15, 18))
        hour = self._daypart[cuisine, part] + self._walk[day, cuisine]
        return self._match[user, slot], price, distance.astype(np.float32), hour

    def _click_appeal(self, x: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Log-odds of a click on a restaurant that is looked at."""
        taste, price, distance, hour = self._common(x)
        new = self.spec.knobs["novelty"] * (np.asarray(x["seen"]) == 0)
        photo = self._photo[np.asarray(x["restaurant"])]
        return self._click_intercept + 1.3 * taste + 0.8 * photo - 0.9 * price - 0.12 * distance + hour + new

    def _order_appeal(self, x: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """Log-odds of an order after a click."""
        taste, price, distance, hour = self._common(x)
        quality = self._quality[np.asarray(x["restaurant"])]
        return self._order_intercept + 0.7 * taste + 0.35 * quality - 0.6 * price - 0.1 * distance + 0.3 * hour

    def _kitchen_closed(self, x: Columns | pd.DataFrame) -> NDArray[np.bool_]:
        start = self.spec.knobs["kitchen_outage_day"]
        day = np.asarray(x["day"])
        hit = self._arrays["cuisine"][np.asarray(x["restaurant"])] == self.outage_cuisine
        return hit & (day >= start) & (day < start + 3) if start else np.zeros(len(day), dtype=bool)

    @cached_property
    def outage_cuisine(self) -> int:
        """The cuisine whose kitchens accept no order from ``kitchen_outage_day`` on: the commonest one."""
        return int(self.restaurants["cuisine"].mode()[0])

    @cached_property
    def _arrays(self) -> Columns:
        """The catalogue's columns as arrays, which index a hundred times faster than a DataFrame's."""
        users, restaurants = self.users.drop(columns="town"), self.restaurants.drop(columns="town")
        return {c: t[c].to_numpy() for t in (users, restaurants) for c in t} | {"town": self.users["town"].to_numpy()}

    @cached_property
    def truth(self) -> "Truth":
        """What the company does not know."""
        return Truth(self)

    # -- what is logged and run --------------------------------------------------------------------------------------

    def catalogue(self) -> dict[str, pd.DataFrame]:
        """The tables that the company has: users, restaurants."""
        return {"users": self.users.copy(), "restaurants": self.restaurants.copy()}

    def legacy(self, frame: pd.DataFrame) -> NDArray[np.floating]:
        """The ranking that runs before any model: a static list for everybody, nearer places first."""
        return self._legacy[np.asarray(frame["restaurant"])] - 0.15 * np.asarray(frame["distance"])

    def log(self, days: int = 28, *, stream: str = "log") -> FeedLog:
        """The log of the old ranking: ``days`` days from day 0, one row an impression.

        Raises:
            ValueError: fewer than one day, or more than the world has.
        """
        validate.number("days", days, least=1, most=HORIZON)
        validate.positive_int("days", days)
        feed = Feed(self, {"all": self.legacy}, State.fresh(self), explore=self.spec.knobs["explore"], stream=stream)
        outcome = feed.run(range(days), share=1.0, features=True)
        late = (Delayed("rating", "rating_time"),)
        return FeedLog(outcome.frame.drop(columns="arm"), late, feed.state)

    def rollout(
        self,
        policies: Ranker | Mapping[str, Ranker],
        days: range,
        *,
        after: FeedLog | None = None,
        by: Literal["user", "town", "town_day"] = "user",
        explore: float = 0.0,
        share: float = 1.0,
        split: float = 0.5,
        features: bool = False,
        stream: str = "online",
    ) -> FeedOutcome:
        """Runs the feed for some days and returns what happened.

        Every policy meets the same users, hours and luck, so that two rollouts are paired. With two policies in a
        mapping, the second gets the share ``split`` of the units, in one market: they share the kitchens, and each
        restaurant has one history.

        Args:
            policies: a ranker, or control and treatment by name.
            days: consecutive days.
            after: a log that ends where the days begin; users and histories are as it left them. By default everybody
                is new, in a town without a history.
            by: the unit that is assigned to an arm: a user, a whole town, or a town on a day (a switchback).
            explore: share of sessions that get a random slate.
            share: share of the users who take part; kitchens shrink with it.
            split: share of the units in the second arm.
            features: whether to keep all that the policies saw, as the log does; it takes three times the memory.
            stream: name of the luck. Another name, another draw of what the same people do.

        Raises:
            ValueError: days outside the world or not those that follow the log, more than two policies, a share outside
                its range, scores that are not one finite number a candidate.
        """
        arms = dict(policies) if isinstance(policies, Mapping) else {"all": policies}
        if not 1 <= len(arms) <= 2:
            raise ValueError(f"policies has {len(arms)} entries: expected one ranker, or two by name")
        for label, rank in arms.items():
            if not callable(rank):
                raise ValueError(f"policy {label!r} is {rank!r}: expected a function of the candidates")
        if not isinstance(days, range) or len(days) == 0 or days.step != 1 or days.start < 0 or days.stop > HORIZON:
            raise ValueError(f"days is {days!r}: expected a non-empty range of days within 0..{HORIZON - 1}")
        validate.number("share", share, above=0, most=1)
        validate.probability("explore", explore)
        validate.probability("split", split)
        validate.choice("by", by, ("user", "town", "town_day"))
        if after is not None and after.state.day != days.start:
            raise ValueError(f"days begins with {days.start}: expected {after.state.day}, the day after the log")
        state = State.fresh(self) if after is None else after.state.copy()
        feed = Feed(self, arms, state, explore=explore, stream=stream, by=by, split=split)
        return feed.run(days, share=share, features=features)


class Truth:
    """What only the world knows. Each method takes impressions or candidates and returns one number a row.

    Rows without a column ``pos`` are candidates: they are answered for the first position. With independent clicks and
    orders, the slate that sorts by one of these and shows the largest first has the largest expected sum in a session:
    sorting by :meth:`p_click` is the oracle of clicks of a session, sorting by :meth:`p_order` that of its orders. Over
    weeks neither is optimal (the best trade between orders and satisfaction is unknown): there they are references.
    """

    def __init__(self, world: Takeaway) -> None:
        self._world = world

    def p_examined(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability that the position is looked at, given the device."""
        if "pos" not in frame:
            return np.ones(len(np.asarray(frame["user"])))
        exponent = self._world.spec.knobs["position"] * EXPONENTS[np.asarray(frame["device"])]
        return (1.0 + np.asarray(frame["pos"])) ** -exponent

    def p_click(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability of a click."""
        return sigmoid(self._world._click_appeal(frame)) * self.p_examined(frame)

    def p_order_after_click(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability of an order, once clicked."""
        closed = self._world._kitchen_closed(frame)
        return np.where(closed, 0.0, sigmoid(self._world._order_appeal(frame)))

    def p_order(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability of a click and an order."""
        return self.p_click(frame) * self.p_order_after_click(frame)

    def surprise(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """How much better the meal is than it looked, delivered on time; around 0, with a deviation of about 0.5."""
        w = self._world
        user, restaurant = np.asarray(frame["user"]), np.asarray(frame["restaurant"])
        taste = w._match[user, restaurant % CHOICES]
        return 0.30 * w._quality[restaurant] - 0.30 * w._photo[restaurant] + 0.15 * taste

    def quality(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The quality of the food, standard normal over restaurants."""
        return self._world._quality[np.asarray(frame["restaurant"])]
