"""The scoring service: what it answers, what it refuses, and what it does when something fails."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from casebook import rng
from casebook.serve.artefact import read_artefact, write_artefact
from casebook.serve.load import poisson_load
from casebook.serve.run import _listen, run_in_thread, start_replicas
from casebook.serve.service import Scorer, ScoreRequest, empty_scorer, scoring_app
from casebook.serve.store import StoreUnavailable, open_store

DIM = 3
PRIOR = 0.02
FEATURES = {"user:1": np.array([1.0, 0.0, 0.0]), **{f"ad:{i}": np.full(DIM, float(i)) for i in range(10)}}


def load_dot(directory: Path) -> Scorer:
    """User times ad, plus a bias from a file."""
    import numpy as np

    from casebook.serve.service import Scorer

    bias = float(np.load(directory / "bias.npy")) if directory else 0.0

    def score(request, vectors):
        user, *ads = vectors
        return np.stack(ads) @ user + bias

    return Scorer(
        score=score,
        fallback=lambda request: np.full(len(request.candidates), 0.02),
        keys=lambda request: [f"user:{request.user}", *(f"ad:{ad}" for ad in request.candidates)],
        default=lambda key: np.full(3, 0.5, dtype=np.float32),
    )


DOT = load_dot(None)


@pytest.fixture(scope="module")
def store():
    with open_store(private=True) as opened:
        opened.set_many(FEATURES)
        yield opened


@contextlib.contextmanager
def client_of(scorer, **named):
    with run_in_thread(scoring_app(scorer, **{"deadline_ms": 5_000, **named})) as service:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            yield client


@pytest.fixture(scope="module")
def client(store):
    with client_of(DOT, store=store, version="v7") as opened:
        yield opened


def metric(client, name: str) -> float:
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return 0.0


def wait_until(condition, seconds=10.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def ask(client, *candidates, user=1, **more):
    response = client.post("/score", json={"user": user, "candidates": list(candidates), **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_scores_in_the_order_of_the_candidates(client):
    answer = ask(client, 7, 2, 7, context={"hour": 3, "page": "feed", "age_s": 1.5})
    assert answer["scores"] == [7.0, 2.0, 7.0]
    assert (answer["degraded"], answer["reason"], answer["unknown"], answer["version"]) == (False, None, 0, "v7")
    stages = answer["ms"]
    assert list(stages) == ["parse", "queue", "features", "score", "total"]
    assert all(value >= 0 for value in stages.values())
    assert sum(stages.values()) - stages["total"] <= stages["total"]


def test_an_unknown_id_gets_the_default_and_is_counted(client):
    before = metric(client, "casebook_unknown_keys_total")
    answer = ask(client, 4, 999)
    assert answer["scores"] == [4.0, 0.5]  # the default ad against the user's (1, 0, 0)
    assert answer["unknown"] == 1 and not answer["degraded"]
    assert ask(client, 4, user=888)["scores"] == [6.0]  # the default user against (4, 4, 4)
    assert metric(client, "casebook_unknown_keys_total") == before + 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"user": 1, "candidates": [1', "body is not JSON"),
        ("[]", "body: Input should be a valid dictionary"),
        ('{"candidates": [1]}', "user: Field required"),
        ('{"user": "1", "candidates": [1]}', "user: Input should be a valid integer, got '1'"),
        ('{"user": -1, "candidates": [1]}', "user: Input should be greater than or equal to 0, got -1"),
        ('{"user": 1e400, "candidates": [1]}', "user: Input should be"),
        ('{"user": 1, "candidates": []}', "candidates: List should have at least 1 item after validation, not 0"),
        (json.dumps({"user": 1, "candidates": [1] * 501}), "candidates: List should have at most 500 items"),
        ('{"user": 1, "candidates": [1, true]}', "candidates.1: Input should be a valid integer, got True"),
        ('{"user": 1, "candidates": [1], "contxt": {}}', "contxt: Extra inputs are not permitted"),
        ('{"user": 1, "candidates": [1], "context": {"hour": NaN}}', "hour"),
        ('{"user": 1, "candidates": [1], "context": {"hour": null}}', "got None"),
        (json.dumps({"user": 1, "candidates": ["x"] * 9}), "and 4 more"),
        (b"\xff\xfe", "body"),
    ],
)
def test_a_malformed_request_is_a_422_that_says_why(client, body, message):
    response = client.post("/score", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422, response.text
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]
    assert len(response.text) < 1_000


def test_invalid_requests_are_counted_and_do_not_hurt_the_next(client):
    before = metric(client, 'casebook_requests_total{outcome="invalid"}')
    client.post("/score", content=b"{")
    assert metric(client, 'casebook_requests_total{outcome="invalid"}') == before + 1
    assert ask(client, 3)["scores"] == [3.0]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Content-Length: 100000", "Content-Length is 100000: expected at most 65536 bytes"),
        ("Transfer-Encoding: chunked", "Content-Length is absent: expected at most 65536 bytes"),
    ],
)
def test_a_body_that_is_too_long_or_unannounced_is_refused_unread(client, header, reason):
    # Not a byte of the body is sent: the answer to the headers alone says that nobody waited for it.
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as sender:
        sender.sendall(f"POST /score HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sender.recv(4096), b"")).decode()
    assert " 413 " in answer.splitlines()[0]
    assert reason in answer
    assert ask(client, 3)["scores"] == [3.0]


def test_a_client_in_the_middle_of_a_refused_upload_still_gets_the_answer(client):
    # The answer is there before the body is: had the service closed by then, the rest of the body would reset the
    # connection, and the answer with it.
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as sender:
        sender.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n")
        for _ in range(50):
            time.sleep(0.005)
            sender.sendall(b"x" * 10_000)
        answer = b"".join(iter(lambda: sender.recv(4096), b"")).decode()
    assert " 413 " in answer.splitlines()[0]
    assert ask(client, 3)["scores"] == [3.0]


def test_small_answers_are_sent_at_once():
    listener, _ = _listen()
    with listener:
        assert listener.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on"


def test_an_endless_refused_upload_is_cut_off(client, monkeypatch):
    monkeypatch.setattr("casebook.serve.http.DRAIN_BYTES", 100_000)
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as sender:
        sender.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(100_000):
                sender.sendall(b"x" * 10_000)
    assert ask(client, 3)["scores"] == [3.0]


def test_a_body_that_never_comes_does_not_keep_its_place(store, monkeypatch):
    monkeypatch.setattr("casebook.serve.http.BODY_S", 0.1)
    with client_of(DOT, store=store, max_in_flight=1) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as slow:
            slow.sendall(
                b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
            assert b" 400 " in slow.recv(100)
        assert ask(client, 3)["scores"] == [3.0]


request_bodies = st.fixed_dictionaries(
    {
        "user": st.integers(-2, 2**64),
        "candidates": st.lists(st.integers(-1, 30) | st.booleans() | st.none(), max_size=6),
    },
    optional={
        "context": st.dictionaries(st.text(max_size=5), st.floats() | st.text(max_size=5) | st.none(), max_size=3)
    },
)


@settings(max_examples=50, deadline=None)
@given(request_bodies)
def test_what_passes_is_what_the_service_can_handle(body):
    try:
        request = ScoreRequest.model_validate_json(json.dumps(body))
    except ValidationError:
        return
    assert 0 <= request.user < 2**63 and 1 <= len(request.candidates) <= 500
    assert all(type(candidate) is int and candidate >= 0 for candidate in request.candidates)
    assert all(np.isfinite(v) for v in request.context.values() if isinstance(v, float))


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "ok", "store": "closed", "version": "v7"}
    ask(client, 1)
    text = client.get("/metrics").text
    assert 'casebook_stage_seconds_count{stage="features"}' in text
    wait_until(lambda: metric(client, "casebook_in_flight") == 0)


def test_apps_do_not_share_their_counts():
    with client_of(empty_scorer()) as one, client_of(empty_scorer()) as two:
        assert ask(one, 1, 2)["scores"] == [0.0, 0.0]
        assert metric(one, 'casebook_requests_total{outcome="ok"}') == 1
        assert metric(two, 'casebook_requests_total{outcome="ok"}') == 0


def test_a_late_model_gives_way_to_the_fallback_and_its_thread_is_not_waited_for():
    release = threading.Event()

    def score(request, vectors):
        assert request.user == 2 or release.wait(20)
        return np.ones(len(request.candidates))

    try:
        with client_of(Scorer(score=score, fallback=DOT.fallback), deadline_ms=200, workers=1) as client:
            late = ask(client, 1, 2)
            assert late["scores"] == [PRIOR, PRIOR]
            assert (late["degraded"], late["reason"]) == (True, "deadline exceeded")
            # The only thread still hangs; a request that the model would answer at once waits no longer than allowed.
            assert ask(client, 1, user=2)["reason"] == "deadline exceeded"
            assert client.get("/healthz").json()["status"] == "ok"
            release.set()
            wait_until(lambda: not ask(client, 1, user=2)["degraded"])
    finally:
        release.set()


@pytest.mark.parametrize(
    "broken",
    [lambda r, v: 1 / 0, lambda r, v: np.ones(1), lambda r, v: np.full(2, np.nan), lambda r, v: np.ones((2, 1))],
    ids=["raises", "too few", "not finite", "wrong shape"],
)
def test_a_broken_model_gives_way_to_the_fallback(broken, caplog):
    with client_of(Scorer(score=broken, fallback=DOT.fallback)) as client:
        answer = ask(client, 1, 2)
    assert (answer["scores"], answer["reason"]) == ([PRIOR, PRIOR], "scoring failed")
    assert "the scorer failed" in caplog.text


def test_a_broken_fallback_is_answered_too_on_a_connection_that_stays():
    broken = Scorer(score=lambda r, v: 1 / 0, fallback=lambda r: 1 / 0)
    with client_of(broken) as client:
        for count in range(1, 5):
            response = client.post("/score", json={"user": 1, "candidates": [1]})
            assert response.status_code == 500
            assert response.json() == {"error": "neither the model nor the fallback has an answer"}
            assert metric(client, 'casebook_requests_total{outcome="error"}') == count
        wait_until(lambda: metric(client, "casebook_in_flight") == 0)


def test_without_a_store_the_defaults_answer():
    with client_of(DOT) as client:
        answer = ask(client, 1, 2)
    assert answer["scores"] == [0.75, 0.75] and answer["reason"] == "store unavailable" and answer["unknown"] == 0


def test_a_store_that_is_down_is_left_alone_until_the_next_probe():
    class Down:
        asked = 0

        def get_vectors(self, keys):
            self.asked += 1
            raise StoreUnavailable

    store = Down()
    with client_of(DOT, store=store, retry_store_s=3_600) as client:
        assert {ask(client, 1)["reason"] for _ in range(10)} == {"store unavailable"}
        assert store.asked == 3
        assert client.get("/healthz").json() == {"status": "degraded", "store": "open", "version": "unversioned"}


def test_a_value_that_is_no_vector_is_a_failure_of_scoring_not_of_the_store(store, caplog):
    store.set_many({"user:3": b"odd"})
    with client_of(DOT, store=store) as client:
        assert ask(client, 1, user=3)["reason"] == "scoring failed"
        assert client.get("/healthz").json()["store"] == "closed"
    assert "the scorer failed" in caplog.text


def test_overload_is_shed_and_the_number_in_flight_stays_bounded():
    limit, release = 3, threading.Event()

    def score(request, vectors):
        release.wait(20)
        return np.zeros(len(request.candidates))

    app = scoring_app(Scorer(score=score, fallback=DOT.fallback), deadline_ms=20_000, max_in_flight=limit, workers=2)
    with run_in_thread(app) as service, httpx.Client(base_url=service.url, timeout=20) as client:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(client, 1))) for _ in range(limit)]
        for thread in threads:
            thread.start()
        wait_until(lambda: metric(client, "casebook_in_flight") == limit)
        for _ in range(5):
            shed = client.post("/score", json={"user": 1, "candidates": [1]})
            assert shed.status_code == 503
            assert int(shed.headers["retry-after"]) >= 1
            assert shed.json() == {"error": "overloaded: 3 requests in flight, 3 allowed"}
        assert client.get("/healthz").status_code == 200
        release.set()
        for thread in threads:
            thread.join()
        assert [answer["scores"] for answer in answers] == [[0.0]] * limit
        assert ask(client, 1)["scores"] == [0.0]
        assert metric(client, "casebook_in_flight_peak") == limit
        assert metric(client, 'casebook_requests_total{outcome="shed"}') == 5


def test_a_load_beyond_capacity_loses_nothing():
    def score(request, vectors):
        time.sleep(0.02)
        return np.zeros(len(request.candidates))

    app = scoring_app(Scorer(score=score, fallback=DOT.fallback), deadline_ms=5_000, max_in_flight=4, workers=1)
    with run_in_thread(app) as service:
        requests = [{"user": 1, "candidates": [1, 2]}] * 150
        load = poisson_load(service.url, requests, rate=200, rng=rng.stream("test", "overload", seed=0), patience_s=20)
        total = load.summary()
        assert total["sent"] == 150 == total["answered"] == total["ok"] + total["shed"]
        assert total["shed"] > 0 and total["ok"] > 0  # 200 a second meet a capacity of 50
        with httpx.Client(base_url=service.url) as client:
            assert metric(client, "casebook_in_flight_peak") == 4


def test_the_drill_store_killed_under_load_and_back(store):
    requests = [{"user": 1, "candidates": [1, 2, 3]} for _ in range(400)]

    def back():
        store.restart()
        store.set_many(FEATURES)

    app = scoring_app(DOT, store=store, deadline_ms=5_000, retry_store_s=0.1, max_in_flight=200)
    try:
        with run_in_thread(app) as service:
            load = poisson_load(
                service.url, requests, rate=200, rng=rng.stream("test", "drill", seed=0), patience_s=20,
                events={0.5: store.kill, 1.0: back},
            )  # fmt: skip
            seen = load.requests
            health = httpx.get(f"{service.url}/healthz").json()
    finally:
        back()
    assert len(seen) == 400 == load.summary()["answered"]
    assert set(seen["outcome"]) == {"ok", "degraded"}
    degraded = seen[seen["outcome"] == "degraded"]
    assert set(degraded["reason"]) == {"store unavailable"}
    assert list(degraded["scores"].iloc[0]) == [0.75] * 3  # default user, default ads
    killed, returned = load.events["begun_s"][0], load.events["ended_s"][1]
    assert load.events["name"].tolist() == ["kill", "back"]
    assert degraded["due_s"].min() > killed - 0.5
    assert len(degraded) >= 20
    assert health == {"status": "ok", "store": "closed", "version": "unversioned"}
    after = seen[seen["due_s"] > degraded["due_s"].max()]
    assert len(after) > 0 and after["due_s"].max() > returned
    assert list(after["scores"].iloc[-1]) == [1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    directory = tmp_path_factory.mktemp("artefact")
    np.save(directory / "bias.npy", 0.25)
    write_artefact(directory, load_dot)
    return directory


def test_an_artefact_scores_as_the_function_it_was_made_from(artefact):
    scorer, version = read_artefact(artefact)
    request = ScoreRequest(user=1, candidates=[1, 2])
    assert scorer.keys(request) == ["user:1", "ad:1", "ad:2"]
    assert scorer.score(request, [np.array([1.0, 0, 0]), np.ones(3), np.full(3, 2.0)]).tolist() == [1.25, 2.25]
    assert len(version) == 12 and version == read_artefact(artefact)[1]


def test_the_version_changes_with_any_file(tmp_path):
    np.save(tmp_path / "bias.npy", 0.25)
    first = write_artefact(tmp_path, load_dot)
    np.save(tmp_path / "bias.npy", 0.26)
    assert read_artefact(tmp_path)[1] != first


def test_a_loader_must_be_self_contained(tmp_path):
    outside = 3

    def closes_over(directory):
        return outside

    def uses_a_global(directory):
        return [lambda request: PRIOR for _ in range(2)]

    def returns_something_else(directory):
        return 1

    with pytest.raises(ValueError, match="load uses outside from outside"):
        write_artefact(tmp_path, closes_over)
    with pytest.raises(ValueError, match="load uses PRIOR from outside: expected imports and constants inside it"):
        write_artefact(tmp_path, uses_a_global)
    with pytest.raises(ValueError, match="expected a function defined with def"):
        write_artefact(tmp_path, lambda directory: None)
    with pytest.raises(ValueError, match=r"has no scorer\.py"):
        read_artefact(tmp_path)
    with pytest.raises(ValueError, match="expected an existing directory"):
        read_artefact(tmp_path / "absent")
    write_artefact(tmp_path, returns_something_else)
    with pytest.raises(ValueError, match=r"load returned a int: expected a casebook\.serve\.service\.Scorer"):
        read_artefact(tmp_path)


def test_replicas_serve_an_artefact_from_processes_of_their_own(artefact, store):
    version = read_artefact(artefact)[1]
    with start_replicas(
        artefact, replicas=2, store=store.address, deadline_ms=5_000, store_timeout_ms=2_000
    ) as services:
        requests = [{"user": 1, "candidates": [1, 5]}] * 40
        load = poisson_load(
            [s.url for s in services], requests, rate=100, rng=rng.stream("test", "replicas", seed=0), patience_s=20
        )
        assert load.summary()["ok"] == 40
        assert load.requests.groupby("replica").size().tolist() == [20, 20]
        assert set(load.requests["version"]) == {version}
        assert all(list(scores) == [1.25, 5.25] for scores in load.requests["scores"])
        pids = [service.pid for service in services]
        assert len({os.getpid(), *pids}) == 3
        assert all(service.cpu_seconds() > 0 for service in services)

        services[0].stop()
        load = poisson_load(
            [s.url for s in services], requests, rate=400, rng=rng.stream("test", "stopped", seed=0), patience_s=20
        )
        assert load.summary()["error"] == 20 == load.summary()["ok"]  # every request accounted for, also the refused
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_replica_that_can_not_start_says_why(tmp_path):
    def broken(directory):
        raise RuntimeError("no weights in this directory")

    write_artefact(tmp_path, broken)
    with pytest.raises(RuntimeError, match=r"did not start: .*no weights in this directory"), start_replicas(tmp_path):
        pass


def test_replicas_end_with_their_owner_even_when_that_is_killed(artefact):
    code = (
        "import sys\nfrom casebook.serve.run import start_replicas\n"
        "with start_replicas(sys.argv[1]) as services: print(services[0].pid, flush=True); input()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(artefact)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(owner.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()

    def gone():
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return True

    wait_until(gone)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"deadline_ms": 0}, "deadline_ms is 0"),
        ({"max_in_flight": 0}, "max_in_flight is 0"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"retry_store_s": -1}, "retry_s is -1"),
    ],
)
def test_bad_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        scoring_app(empty_scorer(), **wrong)


def test_bad_replica_settings_are_refused(artefact, tmp_path):
    with pytest.raises(ValueError, match=r"artefact is .*expected a directory"), start_replicas(tmp_path / "absent"):
        pass
    for wrong in ({"replicas": 0}, {"deadline_ms": -1}, {"workers": 0}, {"store_timeout_ms": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))), start_replicas(artefact, **wrong):
            pass
    with run_in_thread(scoring_app(empty_scorer())) as service, pytest.raises(ValueError, match="service is a thread"):
        service.cpu_seconds()
