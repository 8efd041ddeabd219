"""The closed loop of the ad click world: every opening of the feed is an auction among candidates, hour by hour."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from casebook import validate
from casebook.worlds.auction import second_price
from casebook.worlds.mechanisms import exponential_delay

if TYPE_CHECKING:
    from casebook.worlds.ad_click import AdClick

__all__ = ["Columns", "Outcome", "Platform", "Scorer"]

Columns = dict[str, NDArray]
"""Impressions by column. The world computes on plain arrays; a policy gets a DataFrame of the same columns."""

Scorer = Callable[[pd.DataFrame], NDArray[np.floating]]
"""A policy: takes candidate impressions, one row each with the columns that the log has, gives their pCTR."""


@dataclass(frozen=True)
class Outcome:
    """What a policy did in the closed loop, one row an impression.

    Attributes:
        frame: what the platform sees: the log, with the ``arm`` and the ``revenue`` as charged.
        truth: row by row, what it does not: ``p_click``, ``p_hide``, expected ``revenue`` and ``welfare`` (what the
            impression is worth to its advertiser, in the currency of the bids).
    """

    frame: pd.DataFrame
    truth: pd.DataFrame


class Platform:
    """One run of the platform: what users have seen, what budgets are left, who scores whom."""

    def __init__(
        self, world: "AdClick", arms: Mapping[str, Scorer], *, explore: float, split: float, stream: str
    ) -> None:
        self._world, self._arms, self._explore, self._stream = world, arms, explore, stream
        users = world.sizes.users
        self._seen = np.zeros((users, world.sizes.advertisers), dtype=np.int16)
        in_second = world.uniform(f"arm {stream}", np.arange(users)) < split
        self._arm_of_user = in_second.astype(int) * (len(arms) - 1)

    def remember(self, user: NDArray[np.integer], advertiser: NDArray[np.integer]) -> None:
        """Counts impressions that users have had. In a run this happens over night, as a batch job would do it."""
        np.add.at(self._seen, (user, advertiser), 1)

    def run(self, days: range, traffic: float) -> Outcome:
        """Serves the days and returns what happened."""
        observed: list[Columns] = []
        hidden: list[Columns] = []
        for day in days:
            requests = self._world._requests(day, traffic)
            ads = self._world._draw_candidates(day, len(requests["t"]))
            left = self._world._budget * traffic
            bounds = np.searchsorted(requests["hour"], np.arange(25))
            start = len(observed)
            for first, last in itertools.pairwise(bounds):
                if first < last:
                    batch = {name: values[first:last] for name, values in requests.items()}
                    seen, truth = self._serve(day, np.arange(first, last), batch, ads[first:last], left)
                    np.subtract.at(left, seen["advertiser"], seen["revenue"])
                    observed.append(seen)
                    hidden.append(truth)
            for hour in observed[start:]:
                self.remember(hour["user"], hour["advertiser"])
        return Outcome(_stacked(observed), _stacked(hidden))

    def _serve(
        self,
        day: int,
        request: NDArray[np.integer],
        requests: Columns,
        ad: NDArray[np.int32],
        left: NDArray[np.float64],
    ) -> tuple[Columns, Columns]:
        """An hour of auctions. Budgets are checked hourly, so an advertiser may overspend within the hour."""
        world = self._world
        n, width = ad.shape
        advertiser = world._arrays["advertiser"][ad]
        columns = world._candidates(requests, ad, self._seen[requests["user"][:, None], advertiser])
        release = world.spec.knobs["null_device_day"]
        if release and day >= release:
            # A client release stops sending the device on every platform but the first.
            columns["device"] = np.where(columns["device"] > 0, np.int8(-1), columns["device"])
        arm = self._arm_of_user[requests["user"]]
        pctr = self._scores(columns, arm, width)
        repeated = np.zeros((n, width), dtype=bool)
        for column in range(1, width):
            repeated[:, column] = (ad[:, [column]] == ad[:, :column]).any(axis=1)
        draws = np.stack([world.uniform(f"{self._stream} explore {k}", day, request) for k in (0, 1)], axis=1)
        auction = second_price(
            pctr, world._arrays["bid"][ad], world._arrays["per_click"][ad], (left[advertiser] > 0) & ~repeated,
            explore=self._explore, uniform=draws,
        )  # fmt: skip
        shown = np.flatnonzero(auction.winner >= 0)
        at = shown * width + auction.winner[shown]
        won = {name: values[at] for name, values in columns.items()}
        won["arm"] = np.array(list(self._arms))[arm[shown]]
        won["pctr"] = pctr.ravel()[at].astype(np.float32)
        won["propensity"] = auction.propensity[shown].astype(np.float32)
        won["price"] = auction.price[shown]
        return self._happens(won, requests["device"][shown], request[shown])

    def _scores(self, columns: Columns, arm: NDArray[np.integer], width: int) -> NDArray[np.float64]:
        """Each request's candidates as its arm's policy scores them."""
        frame = pd.DataFrame(columns, copy=False)
        pctr = np.empty((len(arm), width))
        for index, (label, score) in enumerate(self._arms.items()):
            mine = arm == index
            if mine.any():
                # A view that copies on write: a policy may change what it is given, not what happens.
                rows = frame.copy(deep=False) if mine.all() else frame[np.repeat(mine, width)]
                given = np.asarray(score(rows), dtype=np.float64)
                if given.shape != (len(rows),):
                    raise ValueError(f"policy {label!r} gave shape {given.shape}: expected {(len(rows),)}")
                pctr[mine] = validate.probabilities(f"scores of policy {label!r}", given).reshape(-1, width)
        return pctr

    def _happens(
        self, won: Columns, device: NDArray[np.integer], request: NDArray[np.integer]
    ) -> tuple[Columns, Columns]:
        """What users do, and what is charged: observed columns and true ones."""
        world, actual = self._world, {**won, "device": device}
        day, ad = won["day"], won["ad"]

        def luck(name: str) -> NDArray[np.float64]:
            return world.uniform(f"{self._stream} {name}", day, request, ad)

        p_click, p_hide = world.truth.p_click(actual), world.truth.p_hide(actual)
        click = luck("click") < p_click
        buys = click & (luck("convert") < world.truth.p_convert(actual))
        wait = exponential_delay(world._delay_mean[won["advertiser"]], luck("delay"))
        arrival = np.where(buys, won["t"] + wait, np.nan)
        outage = world.spec.knobs["pixel_outage_day"]
        if outage:
            # The conversion pixel is down for a day: what would have arrived then never does.
            lost = (arrival >= outage) & (arrival < outage + 1)
            buys, arrival = buys & ~lost, np.where(lost, np.nan, arrival)
        price, per_click = won["price"], won["per_click"]
        won |= {
            "revenue": np.where(per_click, price * click, price),
            "click": click.astype(np.int8),
            "hide": (luck("hide") < p_hide).astype(np.int8),
            "conversion": buys.astype(np.int8),
            "conversion_time": arrival,
        }
        truth = {
            "p_click": p_click,
            "p_hide": p_hide,
            "revenue": np.where(per_click, price * p_click, price),
            "welfare": world._value_of_click[ad] * p_click,
        }
        return won, truth


def _stacked(parts: list[Columns]) -> pd.DataFrame:
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, copy=False)
