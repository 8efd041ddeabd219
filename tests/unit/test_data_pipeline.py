"""The pipeline rebuilds what was served, to the last bit; its leaks are leaks; forgetting leaves nothing."""

import ibis
import numpy as np
import pandas as pd
import pytest

from casebook.data import pipeline
from casebook.worlds.takeaway import Takeaway


@pytest.fixture(scope="module")
def world():
    return Takeaway(users=80, towns=2)


@pytest.fixture(scope="module")
def log(world):
    return world.log(9)


@pytest.fixture(scope="module")
def events(world, log):
    return pipeline.connect(pipeline.events_of(log.frame, world.restaurants), ibis.duckdb.connect())


def aligned(log, table):
    return log.frame.merge(table.to_pandas(), on=pipeline.KEYS, suffixes=("", "_rebuilt"), validate="one_to_one")


@pytest.mark.parametrize("column", pipeline.COUNTS)
def test_rebuilt_features_equal_those_served(log, events, column):
    both = aligned(log, pipeline.features_asof(events))
    assert len(both) == len(log.frame)
    np.testing.assert_array_equal(both[column].to_numpy(float), both[f"{column}_rebuilt"].to_numpy(float))


def by_hand():
    shown = pd.DataFrame({
        "t": [0.5, 1.5, 2.5], "day": [0, 1, 2], "hour": 12, "session": [1, 2, 3], "user": 7, "town": 0, "age_band": 0,
        "device": 0, "rain": 0, "restaurant": 4, "price": 9.0, "distance": 1.0, "pos": 0, "propensity": 1.0,
    })  # fmt: skip
    clicks = pd.DataFrame({"session": [1, 2], "restaurant": 4, "user": 7, "day": [0, 1], "time": [0.5, 1.5]})
    orders = clicks.iloc[:1]
    ratings = orders.assign(time=1.8, stars=5)
    restaurants = pd.DataFrame({"restaurant": [4], "cuisine": [3], "photo": [0.0], "opened": [0]})
    return pipeline.connect(pipeline.Events(shown, clicks, orders, ratings, restaurants), ibis.duckdb.connect())


@pytest.mark.parametrize(
    ("as_of", "seen", "ctr", "ratings"),
    [
        ("last night", [0, 1, 2], [0, 1, 1], [0, 0, 1]),
        ("same day", [1, 2, 3], [1, 1, 2 / 3], [0, 1, 1]),
        ("end of log", [3, 3, 3], [2 / 3] * 3, [1, 1, 1]),
    ],
)
def test_counts_by_hand(as_of, seen, ctr, ratings):
    rows = pipeline.features_asof(by_hand(), as_of).order_by("day").to_pandas()
    assert rows["seen"].tolist() == seen
    assert rows["restaurant_ctr"].tolist() == pytest.approx(ctr)
    assert rows["restaurant_ratings"].tolist() == ratings


def test_a_label_is_known_once_it_has_arrived():
    early, late = (pipeline.labels(by_hand(), now).order_by("session").to_pandas() for now in (1.6, 1.9))
    assert early["stars"].tolist() == [0, 0]
    assert late["stars"].tolist() == [5, 0]
    assert late["click"].tolist() == [1, 1]


def test_rows_wait_until_they_are_mature():
    rows = pipeline.training_set(by_hand(), start=0, now=2.6, mature=1).to_pandas()
    assert sorted(rows["session"]) == [1, 2]


def test_forgotten_users_are_in_no_table_and_in_no_count(world, log):
    tables = pipeline.events_of(log.frame, world.restaurants)
    gone = log.frame["user"].unique()[:3]
    left = pipeline.forget(tables, gone)
    assert not any(table["user"].isin(gone).any() for table in left.tables().values() if "user" in table)
    rebuilt = pipeline.features_asof(pipeline.connect(left, ibis.duckdb.connect())).to_pandas()
    kept = log.frame[~log.frame["user"].isin(gone)].merge(rebuilt, on=pipeline.KEYS, suffixes=("", "_rebuilt"))
    assert (kept["restaurant_shown_rebuilt"] <= kept["restaurant_shown"]).all()
    assert (kept["restaurant_shown_rebuilt"] < kept["restaurant_shown"]).any()
    on_engine = pipeline.forget(pipeline.connect(tables, ibis.duckdb.connect()), gone)
    assert on_engine.clicks.count().to_pandas() == len(left.clicks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: pipeline.features_asof(e, "today"), "as_of"),
        (lambda e: pipeline.training_set(e, start=7, now=8, mature=2), "now"),
        (lambda e: pipeline.labels(e, float("nan")), "now"),
        (lambda e: pipeline.forget(e, []), "users is empty"),
    ],
)
def test_bad_input_is_refused(events, call, message):
    with pytest.raises(ValueError, match=message):
        call(events)
