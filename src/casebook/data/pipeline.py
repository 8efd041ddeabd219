"""The pipeline from raw events to a training set, as Ibis expressions that run unchanged on DuckDB and on Spark.

Four event tables and two of the catalogue go in. Every event says on which morning it was first *known*: what
happened on a day is counted overnight and known the next morning, a rating on the first morning after it arrived. A
feature as of a morning is the sum of what was known by then. There is no ``asof_join`` here, which not every engine
has: a union, a group-by and a running sum over mornings do the same everywhere.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from casebook import validate

if TYPE_CHECKING:
    from ibis.backends import BaseBackend
    from ibis.expr.types import Table

__all__ = [
    "CONTEXT",
    "COUNTS",
    "KEYS",
    "Events",
    "connect",
    "events_of",
    "features_asof",
    "forget",
    "labels",
    "training_set",
]

KEYS = ["session", "restaurant"]
CONTEXT = [
    "t", "day", "hour", "session", "user", "town", "age_band", "device", "rain", "restaurant", "price", "distance",
    "pos", "propensity",
]  # fmt: skip
"""What the serving system writes down with each impression: nobody can rebuild it later."""
COUNTS = [
    "restaurant_shown", "restaurant_ctr", "restaurant_orders", "restaurant_rating", "restaurant_ratings", "seen",
    "user_sessions", "user_orders_here", "user_clicks_of_cuisine", "user_orders_of_cuisine",
]  # fmt: skip
"""What the pipeline counts from events."""

PRIOR_RATING, PRIOR_WEIGHT = 3.5, 5.0
AsOf = Literal["last night", "same day", "end of log"]
AS_OF = ("last night", "same day", "end of log")


@dataclass(frozen=True)
class Events:
    """The raw tables, as DataFrames or as tables of an engine.

    Attributes:
        impressions: one row a restaurant shown in a session: the columns of :data:`CONTEXT`.
        clicks: ``session, user, restaurant, time, day``.
        orders: the same columns.
        ratings: the same and ``stars``; ``time`` is that of arrival, days after the order.
        restaurants: ``restaurant, cuisine, photo, opened``.
    """

    impressions: "pd.DataFrame | Table"
    clicks: "pd.DataFrame | Table"
    orders: "pd.DataFrame | Table"
    ratings: "pd.DataFrame | Table"
    restaurants: "pd.DataFrame | Table"

    def tables(self) -> Mapping[str, "pd.DataFrame | Table"]:
        """The tables by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def events_of(log: pd.DataFrame, restaurants: pd.DataFrame) -> Events:
    """Takes a feed's log apart into the event tables that a company would have.

    Args:
        log: impressions with their outcomes, as :meth:`casebook.worlds.takeaway.Takeaway.log` has them.
        restaurants: the catalogue of restaurants.
    """
    own = [*KEYS, "user", "day"]

    def happened(mask: pd.Series, time: str, *more: str) -> pd.DataFrame:
        rows = log.loc[mask, [*own, time, *more]].rename(columns={time: "time", "rating": "stars"})
        return rows.reset_index(drop=True)

    return Events(
        log[CONTEXT].reset_index(drop=True),
        happened(log["click"] == 1, "t"),
        happened(log["order"] == 1, "t"),
        happened(log["rating"] > 0, "rating_time", "rating"),
        restaurants[["restaurant", "cuisine", "photo", "opened"]],
    )


def connect(events: Events, backend: "BaseBackend") -> Events:
    """The same events as tables of an engine: an Ibis connection to DuckDB, to Spark, or to another."""
    if isinstance(events.impressions, pd.DataFrame) and backend.name == "duckdb":
        for name, table in events.tables().items():
            backend.create_table(name, table, overwrite=True)
    else:
        for name, table in events.tables().items():
            backend.create_view(name, _as_table(table), overwrite=True)
    return Events(**{name: backend.table(name) for name in events.tables()})


def _as_table(table: "pd.DataFrame | Table") -> "Table":
    import ibis

    return ibis.memtable(table) if isinstance(table, pd.DataFrame) else table


def _running(spine: "Table", events: "Table", by: list[str], values: list[str]) -> "Table":
    """Sums of the values by key, as of each morning of the spine: everything with ``known`` up to that morning.

    Args:
        spine: the keys and mornings that are asked for: the columns ``by`` and ``day``.
        events: the columns ``by``, ``known`` and the values.
        by: key columns.
        values: columns to add up.
    """
    import ibis

    asked = spine.select(*by, known="day").distinct().mutate(**{v: ibis.literal(0, "int64") for v in values})
    given = events.select(*by, "known", **{v: events[v].cast("int64") for v in values})
    asked = asked.mutate(known=asked.known.cast("int64"), wanted=ibis.literal(1, "int64"))
    given = given.mutate(known=given.known.cast("int64"), wanted=ibis.literal(0, "int64"))
    daily = ibis.union(asked.select(*given.columns), given)
    daily = daily.group_by([*by, "known"]).agg(wanted=daily.wanted.max(), **{v: daily[v].sum() for v in values})
    window = ibis.cumulative_window(group_by=by, order_by="known")
    total = daily.mutate(**{v: daily[v].sum().over(window).cast("int64") for v in values})
    return total.filter(total.wanted == 1).select(*by, *values, day="known")


def features_asof(events: Events, as_of: AsOf = "last night") -> "Table":
    """Each impression with what was counted about it.

    Args:
        events: tables of one engine, see :func:`connect`.
        as_of: ``last night`` is what could have been known. The other two are mistakes, kept to price them: ``same
            day`` counts the impression's own day, its own click included; ``end of log`` joins today's totals to every
            row, however old.

    Returns:
        An expression: one row an impression, with the columns of :data:`CONTEXT`, the restaurant's, and :data:`COUNTS`.
    """
    import ibis

    validate.choice("as_of", as_of, AS_OF)
    shown, restaurants = events.impressions, events.restaurants
    done = shown.left_join(events.clicks.select(*KEYS, clicked=events.clicks.day), KEYS)
    done = done.select(*shown.columns, "clicked")
    done = done.left_join(events.orders.select(*KEYS, ordered=events.orders.day), KEYS)
    done = done.select(*shown.columns, "clicked", "ordered")
    done = done.left_join(restaurants, "restaurant").select(*done.columns, "cuisine", "photo", "opened")
    rated = events.ratings
    # The first morning on which it is known.
    morning, arrived = done.day.cast("int64") + 1, rated.time.ceil().cast("int64")
    if as_of != "last night":
        morning, arrived = morning - 1, arrived - 1
    if as_of == "end of log":
        morning, arrived = ibis.literal(0, "int64"), ibis.literal(0, "int64")
    done = done.mutate(
        known=morning, one=ibis.literal(1, "int64"),
        click=done.clicked.notnull().cast("int64"), order=done.ordered.notnull().cast("int64"),
    )  # fmt: skip
    opened = done.select("user", "session", "known").distinct().mutate(user_sessions=ibis.literal(1, "int64"))
    rated = rated.select("restaurant", "stars", known=arrived).mutate(restaurant_ratings=ibis.literal(1, "int64"))
    # Which key each count belongs to, which events it adds up, and under which name.
    counts: list[tuple[list[str], Table, dict[str, str]]] = [
        (["restaurant"], done, {"restaurant_shown": "one", "clicks": "click", "restaurant_orders": "order"}),
        (["restaurant"], rated, {"restaurant_ratings": "restaurant_ratings", "stars": "stars"}),
        (["user"], opened, {"user_sessions": "user_sessions"}),
        (["user", "restaurant"], done, {"seen": "one", "user_orders_here": "order"}),
        (["user", "cuisine"], done, {"user_clicks_of_cuisine": "click", "user_orders_of_cuisine": "order"}),
    ]
    rows = done.drop("known", "one", "click", "order", "clicked", "ordered").mutate(day=done.day.cast("int64"))
    for by, source, names in counts:
        given = source.select(*by, "known", **{name: source[column] for name, column in names.items()})
        sums = _running(rows, given, by, list(names))
        rows = rows.left_join(sums, [*by, "day"]).select(*rows.columns, *names)
    return rows.mutate(
        age=rows.day - rows.opened.cast("int64"),
        restaurant_ctr=(rows.clicks / ibis.greatest(rows.restaurant_shown, 1)).cast("float32"),
        restaurant_rating=((rows.stars + PRIOR_RATING * PRIOR_WEIGHT) / (rows.restaurant_ratings + PRIOR_WEIGHT)).cast(
            "float32"
        ),
    ).drop("clicks", "stars", "opened")


def labels(events: Events, now: float) -> "Table":
    """What is known about each impression at a time: ``click``, ``order``, and the ``stars`` that have arrived, or 0.

    Args:
        events: tables of one engine.
        now: in days. What arrives later reads 0, as in a real log.
    """
    validate.number("now", now)
    shown = events.impressions.filter(events.impressions.t <= now).select(*KEYS)
    for name, source in (("click", events.clicks), ("order", events.orders)):
        found = source.filter(source.time <= now).select(*KEYS, when="time")
        joined = shown.left_join(found, KEYS)
        shown = joined.select(*shown.columns, **{name: joined.when.notnull().cast("int64")})
    stars = events.ratings.filter(events.ratings.time <= now).select(*KEYS, "stars")
    joined = shown.left_join(stars, KEYS)
    return joined.select(*shown.columns, stars=joined.stars.cast("int64").fill_null(0))


def training_set(
    events: Events, *, start: float, now: float, mature: float = 0.0, as_of: AsOf = "last night"
) -> "Table":
    """Features and labels of the impressions that are old enough to learn from.

    Args:
        events: tables of one engine.
        start: first day; before it there is too little history.
        now: when the set is made. Nothing that arrived later is in its labels.
        mature: days that an impression must have waited, so that most of its labels have arrived.
        as_of: see :func:`features_asof`.

    Raises:
        ValueError: ``now`` - ``mature`` does not lie after ``start``.
    """
    start, mature = validate.number("start", start), validate.number("mature", mature, least=0)
    now = validate.number("now", now, above=start + mature)
    rows = features_asof(events, as_of)
    rows = rows.filter((rows.day >= start) & (rows.t <= now - mature))
    known = labels(events, now)
    return rows.inner_join(known, KEYS).select(*rows.columns, "click", "order", "stars")


def forget(events: Events, users: Collection[int]) -> Events:
    """The events without some users, in every table that names one. What was computed from them is to be rebuilt."""
    gone = [int(user) for user in np.asarray(list(users))]
    if not gone:
        raise ValueError("users is empty: expected at least one to forget")

    def kept(table: "pd.DataFrame | Table") -> "pd.DataFrame | Table":
        if "user" not in table.columns:
            return table
        if isinstance(table, pd.DataFrame):
            return table[~table["user"].isin(gone)]
        return table.filter(table.user.notin(gone))

    return Events(**{name: kept(table) for name, table in events.tables().items()})
