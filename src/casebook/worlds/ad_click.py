"""Ads in the feed of a social platform: who clicks, who buys later, and who is paid how.

Users open pages of the feed; on each page one ad slot is auctioned among a few candidates. A click depends on

* an additive part: how good the ad and the page are, the user's age and income, the hour;
* planted crosses and thresholds: this format on that device, this category for that segment, the rich and the dear;
* an inner product of the user's and the ad's tastes, which observed groups explain in part;
* what the product does: the position of the slot, fatigue with an advertiser, weekends, advertisers that drift.

Clicks that pay convert later, with a delay of the advertiser's own. Income goes missing by one of three mechanisms.
Everything that a platform would not know is behind :attr:`AdClick.truth`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from casebook import validate
from casebook.worlds.ad_platform import Columns, Outcome, Platform, Scorer
from casebook.worlds.core import Delayed, Log, World
from casebook.worlds.latents import group_latents, standardise, zipf_weights
from casebook.worlds.mechanisms import (
    delay_cdf,
    examination,
    intercept_for,
    missing_mask,
    random_walk,
    sigmoid,
)  # fmt: skip

__all__ = ["LABELS", "AdClick", "Outcome", "Scorer"]

CANDIDATES = 8
HORIZON = 28
# Knobs that are shares, with the largest of each: some incomes must be left to learn from.
SHARES = {"explained": 1.0, "cpm": 1.0, "explore": 1.0, "mcar": 0.99, "mar": 0.99, "mnar": 0.99}
DIMENSIONS = 6
COUNTS = {"age_band": 6, "country": 8, "segment": 12, "topic": 16, "category": 16, "format": 4, "device": 3, "slot": 3}
LABELS = ("click", "hide", "conversion", "conversion_time")
DEVICES = (0.6, 0.3, 0.1)
HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 6, 5, 5, 5, 6, 6, 5, 5, 5, 6, 7, 8, 9, 9, 7, 4], dtype=float)


@dataclass(frozen=True)
class Sizes:
    """How large the world is."""

    users: int = 6_000
    ads: int = 1_000
    advertisers: int = 120
    pages: int = 200
    requests: int = 36_000


class AdClick(World):
    """The world of the ad click case.

    Args:
        seed: by default that of the run.
        size: ``book`` or ``big`` (ten times the users and requests); by default that of the run.
        users, ads, requests: overrides of the size, for the sweeps; ``requests`` are those of a day.
        knobs: strengths of the mechanisms, see ``defaults``. At 0 a mechanism is off.

    Knobs: ``additive``, ``threshold`` and ``inner`` are the shares of the three parts of the appeal, relative to their
    sum; ``signal`` is its standard deviation in log-odds; ``explained`` the share of tastes that observed groups
    explain; ``ctr`` the mean click rate of a random candidate in the first slot; ``position`` the exponent of
    examination; ``fatigue``, ``weekend`` and ``drift`` scale log-odds; ``delay`` scales the mean delay of conversions;
    ``mcar``, ``mar`` and ``mnar`` are the shares of users whose income goes missing; ``cpm`` the share of advertisers
    who pay per impression; ``budget`` scales daily budgets (0: unlimited); ``explore`` is the share of requests that
    the logging policy gives to a random candidate; ``pixel_outage_day``, ``null_device_day`` and ``burst_day`` are the
    days of three incidents (0: never).

    Raises:
        ValueError: an unknown knob, a value outside its range, fewer than 2 users, 8 ads or 1 request.
    """

    name: ClassVar[str] = "ad_click"
    defaults: ClassVar[Mapping[str, float]] = {
        "additive": 0.45, "threshold": 0.25, "inner": 0.30, "signal": 1.1, "explained": 0.7, "ctr": 0.03,
        "position": 0.6, "fatigue": 0.25, "weekend": 0.35, "drift": 0.12, "delay": 1.0,
        "mcar": 0.0, "mar": 0.0, "mnar": 0.3, "cpm": 0.4, "budget": 1.0, "explore": 0.1,
        "pixel_outage_day": 0.0, "null_device_day": 0.0, "burst_day": 0.0,
    }  # fmt: skip

    def __init__(
        self,
        *,
        seed: int | None = None,
        size: Literal["book", "big"] | None = None,
        users: int | None = None,
        ads: int | None = None,
        requests: int | None = None,
        **knobs: float,
    ) -> None:
        self._specify(seed, size, knobs)
        for share, most in SHARES.items():
            validate.number(share, self.spec.knobs[share], least=0, most=most)
        validate.number("ctr", self.spec.knobs["ctr"], above=0, most=0.9)
        scale = 10 if self.spec.size == "big" else 1
        plain = Sizes()
        self.sizes = Sizes(
            users=plain.users * scale if users is None else validate.positive_int("users", users, least=2),
            ads=plain.ads if ads is None else validate.positive_int("ads", ads, least=CANDIDATES),
            advertisers=min(plain.advertisers, plain.ads if ads is None else ads),
            requests=plain.requests * scale if requests is None else validate.positive_int("requests", requests),
        )
        self._draw_users()
        self._draw_ads()
        self._index_catalogue()
        self._draw_effects()
        self._draw_market()

    # -- what is drawn once ------------------------------------------------------------------------------------------

    def _draw_users(self) -> None:
        rng, n, knobs = self.stream("users"), self.sizes.users, self.spec.knobs
        age = rng.integers(0, COUNTS["age_band"], n)
        segment = rng.choice(COUNTS["segment"], n, p=zipf_weights(COUNTS["segment"], 0.5, rng))
        country = rng.choice(COUNTS["country"], n, p=zipf_weights(COUNTS["country"], 0.8, rng))
        wealth = rng.standard_normal(COUNTS["country"])[country]
        income = 0.45 * wealth + 0.35 * (age - 2.5) / 1.7 + 0.75 * rng.standard_normal(n)
        self._income = ((income - income.mean()) / income.std()).astype(np.float32)
        self._activity = zipf_weights(n, 0.6, rng)
        tastes = self.stream("user tastes")
        self._taste, self._taste_mean = group_latents(segment, DIMENSIONS, knobs["explained"], tastes)
        missing = np.zeros(n, dtype=bool)
        for mechanism in ("mcar", "mar", "mnar"):
            missing |= missing_mask(
                mechanism, knobs[mechanism], values=self._income, observed=age, rng=self.stream(f"missing {mechanism}")
            )
        self.users = pd.DataFrame(
            {
                "user": np.arange(n, dtype=np.int32),
                "age_band": age.astype(np.int8),
                "country": country.astype(np.int8),
                "segment": segment.astype(np.int8),
                "income": np.where(missing, np.nan, self._income).astype(np.float32),
            }
        )

    def _draw_ads(self) -> None:
        rng, n, advertisers = self.stream("ads"), self.sizes.ads, self.sizes.advertisers
        category_of = rng.integers(0, COUNTS["category"], advertisers)
        advertiser = rng.choice(advertisers, n, p=zipf_weights(advertisers, 0.5, rng))
        category = np.where(rng.random(n) < 0.85, category_of[advertiser], rng.integers(0, COUNTS["category"], n))
        per_click = rng.random(advertisers) >= self.spec.knobs["cpm"]
        value = np.exp(0.5 * rng.standard_normal(advertisers))
        first = np.maximum(rng.integers(-14, HORIZON, n), 0)
        self._first_day, self._last_day = first, first + rng.integers(5, 20, n)
        self._reach = zipf_weights(n, 0.7, rng)
        self._value_of_click = (value[advertiser] * np.exp(0.2 * rng.standard_normal(n))).astype(np.float32)
        tastes = self.stream("ad tastes")
        self._charm, self._charm_mean = group_latents(category, DIMENSIONS, self.spec.knobs["explained"], tastes)
        self.ads = pd.DataFrame(
            {
                "ad": np.arange(n, dtype=np.int32),
                "advertiser": advertiser.astype(np.int16),
                "category": category.astype(np.int8),
                "format": rng.integers(0, COUNTS["format"], n).astype(np.int8),
                "price_tier": rng.integers(0, 3, n).astype(np.int8),
                "per_click": per_click[advertiser],
            }
        )
        topic = self.stream("pages").integers(0, COUNTS["topic"], self.sizes.pages)
        self._page_reach = zipf_weights(self.sizes.pages, 0.7, self.stream("page reach"))
        self.pages = pd.DataFrame({"page": np.arange(self.sizes.pages, dtype=np.int16), "topic": topic.astype(np.int8)})

    def _draw_effects(self) -> None:
        """The parameters of the click model, then the scales that give each part its share of the signal."""
        rng, knobs = self.stream("effects"), self.spec.knobs

        def table(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
            return (scale * rng.standard_normal(shape)).astype(np.float32)

        self._ad_quality = (
            table(self.sizes.ads, scale=0.8) + table(self.sizes.advertisers, scale=0.6)[self.ads["advertiser"]]
        )
        self._page_quality = table(self.sizes.pages, scale=0.6)
        self._age_effect, self._hour_effect = table(COUNTS["age_band"], scale=0.5), table(24, scale=0.3)
        self._device_effect = table(COUNTS["device"], scale=0.4)
        self._format_device = table(COUNTS["format"], COUNTS["device"], 2)
        self._age_format = table(COUNTS["age_band"], COUNTS["format"], scale=0.8)
        self._topic_category = table(COUNTS["topic"], COUNTS["category"], scale=0.8)
        self._weekend = table(COUNTS["category"])
        self._walk = random_walk(HORIZON, self.sizes.advertisers, knobs["drift"], self.stream("drift"))
        self._annoyance = table(self.sizes.advertisers, scale=0.7)
        self._convert = table(self.sizes.advertisers, scale=0.5)
        self._delay_mean = (0.4 + 2.6 * rng.random(self.sizes.advertisers)).astype(np.float32) * knobs["delay"]
        sample = self._random_impressions(60_000)
        parts = self._parts(sample, self._taste, self._charm)
        self._scales = [standardise(part) for part in parts]
        shares = np.array([knobs["additive"], knobs["threshold"], knobs["inner"]])
        if shares.sum() == 0:
            raise ValueError("additive, threshold and inner are all 0: expected at least one part of the signal")
        self._weights = knobs["signal"] * np.sqrt(shares / shares.sum())
        self._intercept = 0.0
        appeal = self._appeal(sample, parts)
        self._intercept = intercept_for(appeal, knobs["ctr"])
        # An ad's expected click rate, averaged over who might see it: what advertisers and the old system go by.
        rate = pd.Series(sigmoid(appeal + self._intercept)).groupby(sample["ad"]).mean()
        self._mean_rate = rate.reindex(range(self.sizes.ads)).fillna(knobs["ctr"]).to_numpy(np.float32)

    def _draw_market(self) -> None:
        rng, knobs = self.stream("market"), self.spec.knobs
        belief = np.exp(0.3 * rng.standard_normal(self.sizes.ads))
        per_click = self.ads["per_click"].to_numpy()
        self._bid = np.where(per_click, self._value_of_click, self._value_of_click * self._mean_rate * belief)
        self.ads["bid"] = self._bid.astype(np.float32)
        self._index_catalogue()
        # The old system's belief: the ad's mean rate, seen through noise; it knows neither user nor page.
        self._legacy_rate = np.clip(self._mean_rate * np.exp(0.5 * rng.standard_normal(self.sizes.ads)), 1e-4, 0.5)
        typical = self.sizes.requests * knobs["ctr"] * 2.5 / self.sizes.advertisers
        spend = typical * np.exp(0.8 * rng.standard_normal(self.sizes.advertisers))
        self._budget = np.where(knobs["budget"] > 0, spend * max(knobs["budget"], 1e-9), np.inf)

    # -- the click model ---------------------------------------------------------------------------------------------

    def _parts(
        self,
        x: Columns | pd.DataFrame,
        taste: NDArray[np.float32],
        charm: NDArray[np.float32],
        income: NDArray | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The additive, threshold and inner parts of the appeal, before they are scaled."""
        user, ad, page = (np.asarray(x[c]) for c in ("user", "ad", "page"))
        age, hour, device = (np.asarray(x[c]) for c in ("age_band", "hour", "device"))
        if (device < 0).any():
            raise ValueError("device has -1: expected the device in use (an outcome's own truth goes by that one)")
        rich = self._income[user] if income is None else income
        kind, dear = np.asarray(x["format"]), np.asarray(x["price_tier"])
        additive = (
            self._ad_quality[ad] + self._page_quality[page] + self._age_effect[age] + self._hour_effect[hour]
            + self._device_effect[device] - 0.5 * rich
        )  # fmt: skip
        evening = ((hour >= 18) & (hour < 23)).astype(np.int8)
        threshold = (
            self._format_device[kind, device, evening] + self._age_format[age, kind]
            + self._topic_category[np.asarray(x["topic"]), np.asarray(x["category"])]
            + 1.2 * ((rich > 0.8) & (dear == 2)) - 1.0 * ((rich < -0.5) & (dear == 2))
        )  # fmt: skip
        inner = np.einsum("ij,ij->i", taste[user], charm[ad])
        return additive, threshold.astype(np.float32), inner

    def _appeal(self, x: Columns | pd.DataFrame, parts: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
        """Log-odds of a click on an ad that is looked at."""
        knobs = self.spec.knobs
        total = np.full(len(parts[0]), self._intercept, dtype=np.float32)
        for part, (mean, deviation), weight in zip(parts, self._scales, self._weights, strict=True):
            total += np.float32(weight / deviation) * (part - np.float32(mean))
        day = np.asarray(x["day"])
        total += self._walk[np.minimum(day, HORIZON - 1), np.asarray(x["advertiser"])]
        total += np.float32(knobs["weekend"]) * self._weekend[np.asarray(x["category"])] * (day % 7 >= 5)
        total -= np.float32(knobs["fatigue"]) * np.log1p(np.asarray(x["seen"], dtype=np.float32))
        if knobs["burst_day"]:
            total -= 2.0 * self._in_burst(x)
        return total

    def _in_burst(self, x: Columns | pd.DataFrame) -> NDArray[np.bool_]:
        """Impressions of the advertiser whose campaign explodes: many, and for the wrong people."""
        start = self.spec.knobs["burst_day"]
        day = np.asarray(x["day"])
        return (np.asarray(x["advertiser"]) == self.burst_advertiser) & (day >= start) & (day < start + 2)

    @property
    def burst_advertiser(self) -> int:
        """The advertiser whose campaign explodes on ``burst_day``."""
        return int(self.ads["advertiser"].mode()[0])

    def _examined(self, x: Columns | pd.DataFrame) -> NDArray[np.float64]:
        return examination(np.asarray(x["slot"]), self.spec.knobs["position"])

    @cached_property
    def truth(self) -> "Truth":
        """What the platform does not know."""
        return Truth(self)

    # -- what is logged and run --------------------------------------------------------------------------------------

    def catalogue(self) -> dict[str, pd.DataFrame]:
        """The tables that the platform has: users, ads, pages."""
        return {"users": self.users.copy(), "ads": self.ads.copy(), "pages": self.pages.copy()}

    def legacy(self, frame: pd.DataFrame) -> NDArray[np.floating]:
        """The pCTR of the system that runs before any model: one noisy rate per ad, the same for everybody."""
        return self._legacy_rate[np.asarray(frame["ad"])]

    def log(self, days: int = 14, *, stream: str = "log") -> Log:
        """The log of the old system: ``days`` days from day 0, one row an impression.

        Raises:
            ValueError: fewer than one day, or more than the world has.
        """
        validate.positive_int("days", days)
        outcome = self.rollout(self.legacy, range(days), explore=self.spec.knobs["explore"], stream=stream)
        return Log(outcome.frame.drop(columns=["arm", "revenue"]), (Delayed("conversion", "conversion_time"),))

    def rollout(
        self,
        policies: Scorer | Mapping[str, Scorer],
        days: range,
        *,
        after: Log | None = None,
        explore: float = 0.0,
        traffic: float = 1.0,
        split: float = 0.5,
        stream: str = "online",
    ) -> Outcome:
        """Runs the platform for some days and returns what happened.

        Every policy meets the same requests, candidates and luck, so that two rollouts are paired. With two policies
        in a mapping, users are split between them (the second gets the share ``split``), in one market: budgets are
        shared, as in a real experiment.

        Args:
            policies: a scorer, or control and treatment by name.
            days: consecutive days.
            after: a log, from whose earlier days users remember what they have seen; by default nothing.
            explore: share of requests given to a random candidate.
            traffic: share of the day's requests that is simulated; budgets shrink with it.
            split: share of the users in the second arm.
            stream: name of the luck. Another name, another draw of clicks on the same requests.

        Raises:
            ValueError: days outside the world or on which no ad runs, more than two policies, a share outside its
                range, scores that are not one probability a candidate.
        """
        arms = dict(policies) if isinstance(policies, Mapping) else {"all": policies}
        if not 1 <= len(arms) <= 2:
            raise ValueError(f"policies has {len(arms)} entries: expected one scorer, or two by name")
        for label, score in arms.items():
            if not callable(score):
                raise ValueError(f"policy {label!r} is {score!r}: expected a function of the candidates")
        if not isinstance(days, range) or len(days) == 0 or days.step != 1 or days.start < 0 or days.stop > HORIZON:
            raise ValueError(f"days is {days!r}: expected a non-empty range of days within 0..{HORIZON - 1}")
        validate.number("traffic", traffic, above=0, most=1)
        validate.probability("explore", explore)
        validate.probability("split", split)
        platform = Platform(self, arms, explore=explore, split=split, stream=stream)
        if after is not None:
            past = after.between(0, days.start) if days.start else after.frame[:0]
            platform.remember(past["user"].to_numpy(), past["advertiser"].to_numpy())
        return platform.run(days, traffic)

    def _random_impressions(self, n: int) -> Columns:
        """Random candidates for random requests: what the scales are set on, before any policy selects."""
        rng = self.stream("reference")
        requests: Columns = {
            "day": np.zeros(n, dtype=np.int16),
            "user": rng.integers(0, self.sizes.users, n),
            "page": rng.choice(self.sizes.pages, n, p=self._page_reach),
            "hour": rng.choice(24, n, p=HOURS / HOURS.sum()),
            "device": rng.choice(3, n, p=DEVICES),
            "slot": np.zeros(n, dtype=np.int8),
        }
        ad = rng.integers(0, self.sizes.ads, n)
        return self._candidates(requests, ad[:, None], np.zeros((n, 1), dtype=np.int16))

    def _requests(self, day: int, share: float) -> Columns:
        """A day's openings of the feed, in the order of time: the same for every policy."""
        rng = self.stream(f"requests {day}")
        n = max(24, round(self.sizes.requests * share))
        # A minute-by-minute clock whose rate follows the hour: distinct times, already in order.
        clock = np.interp(np.sort(rng.random(n)), np.r_[0, np.cumsum(HOURS) / HOURS.sum()], np.arange(25))
        return {
            "t": day + clock / 24,
            "day": np.full(n, day, dtype=np.int16),
            "hour": np.minimum(clock, 23.999).astype(np.int8),
            "user": rng.choice(self.sizes.users, n, p=self._activity).astype(np.int32),
            "device": rng.choice(3, n, p=DEVICES).astype(np.int8),
            "page": rng.choice(self.sizes.pages, n, p=self._page_reach).astype(np.int16),
            "slot": rng.choice(3, n, p=[0.5, 0.3, 0.2]).astype(np.int8),
        }

    def _draw_candidates(self, day: int, n: int) -> NDArray[np.int32]:
        reach = self._reach * ((self._first_day <= day) & (day < self._last_day))
        if self.spec.knobs["burst_day"] and 0 <= day - self.spec.knobs["burst_day"] < 2:
            reach = reach * np.where(self.ads["advertiser"] == self.burst_advertiser, 8.0, 1.0)
        if not reach.any():
            raise ValueError(f"ads is {self.sizes.ads}: expected more, since none of them runs on day {day}")
        # A table of 2**16 slots, shared out by reach, draws ten times faster than a search for each candidate.
        cells = (np.arange(2**16) + 0.5) / 2**16
        table = np.searchsorted(np.cumsum(reach) / reach.sum(), cells).astype(np.int32)
        return table[self.stream(f"candidates {day}").integers(0, 2**16, (n, CANDIDATES))]

    def _candidates(self, requests: Columns, ad: NDArray[np.integer], seen: NDArray[np.integer]) -> Columns:
        """One row a candidate, requests in order, with every observable column."""
        at = np.repeat(np.arange(len(requests["user"])), ad.shape[1])
        flat = ad.ravel()
        columns = {name: values[at] for name, values in requests.items()}
        for name in ("age_band", "country", "segment", "income"):
            columns[name] = self._arrays[name][columns["user"]]
        columns["topic"] = self._arrays["topic"][columns["page"]]
        columns["ad"] = flat.astype(np.int32)
        for name in self.ads.columns.drop("ad"):
            columns[name] = self._arrays[name][flat]
        columns["seen"] = seen.ravel()
        return columns

    def _index_catalogue(self) -> None:
        """The catalogue's columns as arrays, which index a hundred times faster than a DataFrame's."""
        tables = (self.users, self.ads, self.pages)
        self._arrays: Columns = {name: table[name].to_numpy() for table in tables for name in table}


class Truth:
    """What only the world knows: probabilities, the references that a model is measured against, hidden values.

    Each method takes impressions with the columns of the log and returns one number a row.
    """

    def __init__(self, world: AdClick) -> None:
        self._world = world

    def p_click(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability of a click. No predictor has a lower expected log loss: this is an oracle."""
        w = self._world
        appeal = w._appeal(frame, w._parts(frame, w._taste, w._charm))
        return sigmoid(appeal) * w._examined(frame)

    def p_click_attainable(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """A reference for what a log can teach: every parameter known, private tastes and missing incomes averaged out.

        Private tastes (what groups do not explain) and missing incomes are integrated out around their mean given what
        is observed, by the probit approximation of a logistic-normal mean (MacKay 1992). A model that learns private
        tastes from long histories can pass it: it is a reference, not an oracle.
        """
        w = self._world
        knobs = w.spec.knobs
        user = np.asarray(frame["user"])
        known = w.users["income"].to_numpy()[user]
        missing = np.isnan(known)
        unseen = w.users["income"].isna().to_numpy()
        guess = float(w._income[unseen].mean()) if unseen.any() else 0.0
        spread = float(w._income[unseen].std()) if unseen.any() else 0.0
        parts = w._parts(frame, w._taste_mean, w._charm_mean, np.where(missing, np.float32(guess), known))
        own = 1 - knobs["explained"]
        u, v = w._taste_mean[user], w._charm_mean[np.asarray(frame["ad"])]
        inner_variance = own * ((u**2).sum(1) + (v**2).sum(1)) + DIMENSIONS * own**2
        (_, additive_sd), _, (_, inner_sd) = w._scales
        variance = (w._weights[2] / inner_sd) ** 2 * inner_variance
        variance = variance + missing * (0.5 * spread * w._weights[0] / additive_sd) ** 2
        return sigmoid(w._appeal(frame, parts) / np.sqrt(1 + np.pi * variance / 8)) * w._examined(frame)

    def p_hide(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability that the user hides the ad: annoying advertisers, bad matches, repetition."""
        w = self._world
        match = np.einsum("ij,ij->i", w._taste[np.asarray(frame["user"])], w._charm[np.asarray(frame["ad"])])
        tired = 2 * w.spec.knobs["fatigue"] * np.log1p(np.asarray(frame["seen"], dtype=np.float32))
        return sigmoid(-5.5 + w._annoyance[np.asarray(frame["advertiser"])] - 0.2 * match + tired) * w._examined(frame)

    def p_convert(self, frame: Columns | pd.DataFrame) -> NDArray[np.floating]:
        """The probability that a click is followed by a conversion, however late."""
        w = self._world
        user, ad = np.asarray(frame["user"]), np.asarray(frame["ad"])
        match = np.einsum("ij,ij->i", w._taste[user], w._charm[ad])
        return sigmoid(-1.1 + w._convert[np.asarray(frame["advertiser"])] + 0.15 * match + 0.3 * w._income[user])

    def p_arrived(self, frame: Columns | pd.DataFrame, now: float) -> NDArray[np.floating]:
        """The probability that a conversion, if there is one, has been reported by time ``now`` (days)."""
        mean = self._world._delay_mean[np.asarray(frame["advertiser"])]
        return delay_cdf(now - np.asarray(frame["t"]), mean)

    def income(self, frame: Columns | pd.DataFrame) -> NDArray[np.float32]:
        """The standardised log income of each user, missing or not."""
        return self._world._income[np.asarray(frame["user"])]
