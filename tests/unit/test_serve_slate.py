"""The page service: what it answers, whom it leaves out, and what it does when the store or the ranker is gone."""

import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook import rng
from casebook.serve import store as stores
from casebook.serve.artefact import read_artefact, write_artefact
from casebook.serve.load import poisson_load
from casebook.serve.run import run_in_thread
from casebook.serve.slate import SlateEngine, merged, slate_app, start_slate


def load_numbers(directory: Path) -> SlateEngine:
    """Items are numbers, an item's vector is its negative, and the page is the three best."""
    import numpy as np

    from casebook.serve.slate import SlateEngine

    first = np.load(directory / "first.npy")
    return SlateEngine(
        user_key=lambda request: f"user:{request.user}",
        generators={
            "even": lambda request, user: first + 2 * np.arange(5),
            "odd": lambda request, user: first + 1 + 2 * np.arange(5),
        },
        item_key=lambda item: f"item:{item}",
        default=lambda key: np.zeros(1, dtype=np.float32),
        rank=lambda request, user, ids, table: table[:, 0] + user[0],
        blend=lambda ids, table, score: ids[np.argsort(-score, kind="stable")][:3],
        fallback=lambda request: np.array([100, 101, 102]),
        version="one",
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    directory = tmp_path_factory.mktemp("slate")
    np.save(directory / "first.npy", np.array([4]))
    write_artefact(directory, load_numbers)
    return directory


@pytest.fixture(scope="module")
def engine(home):
    return read_artefact(home, SlateEngine)[0]


@pytest.fixture
def filled():
    with stores.open_store(private=True) as one:
        one.set_many({f"item:{i}": np.array([float(-i)]) for i in range(50)} | {"user:7": np.array([1.0])})
        yield one


def ask(app, **body):
    with run_in_thread(app) as one:
        answer = httpx.post(f"{one.url}/score", json={"user": 7} | body, timeout=10)
    return answer.json() | {"status": answer.status_code}


def changed(engine, **parts):
    return SlateEngine(**{**engine.__dict__, **parts})


def slow(request, user):
    time.sleep(0.5)
    return np.array([0])


def broken(*arguments):
    raise RuntimeError("no")


def test_a_page_is_ranked_and_blended(engine, filled):
    said = ask(slate_app(engine, store=filled))
    assert (said["scores"], said["degraded"], said["version"]) == ([4, 5, 6], False, "one")
    stages = {"parse", "user", "generate", "generate:even", "generate:odd", "features", "rank", "blend", "total"}
    assert set(said["ms"]) == stages


def test_fewer_candidates_are_taken_in_turn(engine, filled):
    assert sorted(ask(slate_app(engine, store=filled), candidates=3)["scores"]) == [4, 5, 6]
    assert sorted(ask(slate_app(engine, store=filled), candidates=2)["scores"]) == [4, 5]


@pytest.mark.parametrize("parallel", [True, False])
def test_a_late_generator_is_left_out(engine, filled, parallel):
    late = changed(engine, generators={"even": engine.generators["even"], "slow": slow})
    said = ask(slate_app(late, store=filled, generator_ms=50, deadline_ms=2_000, parallel=parallel))
    assert (said["scores"], said["late"], said["reason"]) == ([4, 6, 8], ["slow"], "generator late")
    assert said["ms"]["total"] < 400


def test_a_broken_generator_is_left_out(engine, filled):
    said = ask(slate_app(changed(engine, generators={**engine.generators, "odd": broken}), store=filled))
    assert (said["scores"], said["late"]) == ([4, 6, 8], ["odd"])


def test_without_any_generator_the_fallback_answers(engine, filled):
    said = ask(slate_app(changed(engine, generators={"odd": broken}), store=filled))
    assert (said["scores"], said["reason"]) == ([100, 101, 102], "no candidates")


def test_a_broken_ranker_and_a_deadline_fall_back(engine, filled):
    said = ask(slate_app(changed(engine, rank=broken), store=filled))
    assert (said["scores"], said["reason"]) == ([100, 101, 102], "ranking failed")
    late = changed(engine, generators={"slow": slow})
    said = ask(slate_app(late, store=filled, generator_ms=1_000, deadline_ms=50))
    assert (said["scores"], said["reason"]) == ([100, 101, 102], "deadline exceeded")


def test_scores_that_are_not_numbers_are_not_shown(engine, filled):
    nan = changed(engine, rank=lambda request, user, ids, table: np.full(len(ids), np.nan))
    assert ask(slate_app(nan, store=filled))["reason"] == "ranking failed"


def test_a_dead_store_means_defaults(engine, filled):
    filled.kill()
    said = ask(slate_app(engine, store=filled))
    assert (said["reason"], len(said["scores"])) == ("store unavailable", 3)
    assert ask(slate_app(engine))["reason"] == "store unavailable"


def test_unknown_keys_are_counted(engine, filled):
    assert ask(slate_app(engine, store=filled), user=8)["unknown"] == 1


@pytest.mark.parametrize(
    "body", [{"user": "7"}, {"candidates": 0}, {"candidates": 5_000}, {"candidate": 3}, {"user": -1}]
)
def test_malformed_requests_are_refused(engine, filled, body):
    assert ask(slate_app(engine, store=filled), **body)["status"] == 422


def test_health_and_metrics(engine, filled):
    with run_in_thread(slate_app(engine, store=filled)) as one:
        httpx.post(f"{one.url}/score", json={"user": 7}, timeout=10)
        assert httpx.get(f"{one.url}/healthz").json()["status"] == "ok"
        assert 'casebook_requests_total{outcome="ok"} 1.0' in httpx.get(f"{one.url}/metrics").text


def test_a_process_of_its_own(home, filled):
    with start_slate(home, store=filled.address, store_timeout_ms=500, deadline_ms=5_000) as one:
        done = poisson_load(one.url, [{"user": 7}] * 20, rate=50, rng=rng.stream("test", "slate"), patience_s=10)
    assert (done.requests["outcome"] == "ok").all()
    assert done.requests["scores"].iloc[0] == [4, 5, 6]


def test_what_is_no_artefact(tmp_path):
    with pytest.raises(ValueError, match="expected one made by write_artefact"):
        read_artefact(tmp_path, SlateEngine)
    with pytest.raises(ValueError, match="expected a directory"), start_slate(tmp_path / "none"):
        pass


def test_an_engine_without_generators_is_refused(engine):
    with pytest.raises(ValueError, match="expected at least one"):
        slate_app(changed(engine, generators={}))


lists = st.lists(st.lists(st.integers(0, 20), max_size=10, unique=True), max_size=4)


@given(lists, st.integers(1, 30))
def test_merged_keeps_order_and_no_duplicates(given_lists, most):
    found = merged([np.array(one, dtype=int) for one in given_lists], most).tolist()
    everything = {i for one in given_lists for i in one}
    assert len(found) == len(set(found)) == min(most, len(everything))
    firsts = [one[0] for one in given_lists if one]
    assert set(firsts[:most]) <= set(found) or len(set(firsts)) > most


def test_merged_takes_turns():
    assert merged([np.array([1, 2, 3]), np.array([9]), np.array([2, 8])], 5).tolist() == [1, 9, 2, 8, 3]
    with pytest.raises(ValueError, match="most"):
        merged([], 0)
