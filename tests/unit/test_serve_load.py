"""The load generator accounts for every request; balancers, latency summaries and the export say what is so."""

import json
import math
import socket
import threading
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casebook import rng
from casebook.serve.balance import POLICIES, Balancer, simulate_queue
from casebook.serve.export import ExportMismatch, export_onnx, onnx_session
from casebook.serve.latency import Stages, percentiles, waterfall
from casebook.serve.load import OUTCOMES, _accounted, _Exchange, poisson_load
from casebook.serve.run import run_in_thread
from casebook.serve.service import Scorer, empty_scorer, scoring_app

GOOD = {"user": 1, "candidates": [1, 2]}


def stream(name):
    return rng.stream("test_serve", name, seed=0)


# --- load ---------------------------------------------------------------------------------------------------------


class _Scripted:
    """A server that reads one request per connection and answers with given bytes, or hangs up, or says nothing."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            connection.recv(65536)
            if self._answer is not None:
                connection.sendall(self._answer)
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()


def _answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (_answer("200 OK", b'{"degraded": false, "scores": [1]}'), "ok", 200),
        (_answer("200 OK", b'{"degraded": true, "reason": "x"}'), "degraded", 200),
        (_answer("503 Service Unavailable", b"{}"), "shed", 503),
        (_answer("422 Unprocessable", b'{"error": "why"}'), "invalid", 422),
        (_answer("500 Internal Server Error", b"not json"), "error", 500),
        (_answer("200 OK", b"not json"), "error", 200),
        (_answer("200 OK", b"[1]"), "error", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "error", 0),
        (b"HTTP/1.1 200 OK\r\n\r\n", "error", 0),
        (b"nonsense\r\n\r\n", "error", 0),
        (b"", "error", 0),
        (None, "timeout", 0),
    ],
)
def test_every_kind_of_answer_has_its_outcome(answer, outcome, status):
    with _Scripted(answer) as server:
        load = poisson_load(
            server.url, [GOOD] * 3, rate=100, rng=stream("outcomes"), patience_s=0.3 if answer is None else 10
        )
    assert load.requests["outcome"].tolist() == [outcome] * 3
    assert load.requests["status"].tolist() == [status] * 3
    total = load.summary()
    assert total["sent"] == 3 == sum(total[name] for name in OUTCOMES)


def test_a_service_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    load = poisson_load(url, [GOOD] * 5, rate=200, rng=stream("nobody"))
    assert load.requests["outcome"].tolist() == ["error"] * 5
    assert set(load.requests["reason"]) == {"ConnectionRefusedError"}
    assert math.isnan(load.summary()["p99_ms"]) and load.summary()["answered"] == 0


def test_a_real_service_good_and_bad_requests():
    requests = [GOOD, b"{", {"user": 1, "candidates": []}] * 20
    with run_in_thread(scoring_app(empty_scorer(), version="v", deadline_ms=5_000)) as service:
        load = poisson_load(service.url, requests, rate=300, rng=stream("mixed"), patience_s=20)
    frame = load.requests
    assert frame["outcome"].tolist() == ["ok", "invalid", "invalid"] * 20
    assert "candidates: List should have at least 1 item" in frame["reason"].iloc[2]
    assert frame["scores"].iloc[0] == [0.0, 0.0] and frame["version"].iloc[0] == "v"
    assert frame["due_s"].is_monotonic_increasing
    assert (frame["late_ms"] >= 0).all() and (frame["latency_ms"] > frame["late_ms"]).all()
    ok = frame[frame["outcome"] == "ok"]
    assert (ok["latency_ms"] >= ok["total_ms"]).all()
    assert load.seconds >= frame["due_s"].iloc[-1]


def test_latency_runs_from_when_a_request_was_due():
    """One stall of 0.4 s: a client that waited for it would see one slow request; this one sees all that it delayed."""
    stall = threading.Lock()
    first = [True]

    def score(request, vectors):
        with stall:
            if first[0]:
                first[0] = False
                time.sleep(0.4)
        return np.zeros(len(request.candidates))

    app = scoring_app(Scorer(score=score, fallback=score), deadline_ms=10_000, max_in_flight=100, workers=1)
    with run_in_thread(app) as service:
        load = poisson_load(service.url, [GOOD] * 60, rate=200, rng=stream("stall"), patience_s=20)
    frame = load.requests
    behind = frame[frame["due_s"] < frame["due_s"].iloc[0] + 0.3]
    assert len(behind) > 20
    assert (behind["latency_ms"] > 90).all()
    assert frame["outcome"].eq("ok").all()


def test_the_generator_s_own_delay_is_part_of_the_latency():
    late = _Exchange(due=10.0, sent=10.5, answered=12.0, status=200, body=b'{"degraded": false, "ms": {"score": 7.0}}')
    load = _accounted([late, _Exchange(due=11.0, sent=11.0, answered=11.5, failure="timeout")], 9.0, [])
    assert load.requests["latency_ms"].tolist() == [2000.0, 500.0]
    assert load.requests["late_ms"].tolist() == [500.0, 0.0]
    assert load.requests["outcome"].tolist() == ["ok", "timeout"]
    assert load.requests["score_ms"].iloc[0] == 7.0 and load.seconds == 3.0
    assert load.summary()["p99_ms"] == 2000.0, "only scored requests have a latency worth a percentile"


def test_arrivals_are_poisson_reproducible_and_independent_of_the_policy():
    def due(policy, name="arrivals"):
        with _Scripted(_answer("503 no", b"{}")) as one, _Scripted(_answer("503 no", b"{}")) as two:
            return poisson_load([one.url, two.url], [GOOD] * 50, rate=500, rng=stream(name), policy=policy).requests[
                "due_s"
            ]

    np.testing.assert_allclose(due("random"), due("two choices"), atol=1e-6)
    assert not np.allclose(due("random"), due("random", "others"))
    expected = np.cumsum(stream("arrivals").spawn(2)[0].exponential(1 / 500, 50))
    np.testing.assert_allclose(due("random"), expected, atol=1e-6)


def test_an_event_that_fails_is_reported_after_the_load():
    def fails():
        raise RuntimeError("the drill itself failed")

    with _Scripted(_answer("503 no", b"{}")) as server, pytest.raises(RuntimeError, match="the drill itself failed"):
        poisson_load(server.url, [GOOD] * 20, rate=200, rng=stream("event"), events={0.01: fails})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"requests": []}, "requests has 0 at 10 a second: expected 1 to 100000, in 120 s at most"),
        ({"requests": [GOOD] * 2_000}, "requests has 2000 at 10 a second"),
        ({"rate": 0}, "rate is 0"),
        ({"patience_s": -1}, "patience_s is -1"),
        ({"policy": "sticky"}, "policy is 'sticky': expected one of random, round robin"),
        ({"urls": []}, "servers is 0"),
        ({"urls": "127.0.0.1:80"}, r"urls has '127\.0\.0\.1:80': expected such as http://127\.0\.0\.1:8000"),
        ({"events": {1e6: print}}, "events is 1000000"),
    ],
)
def test_load_bad_input(change, message):
    good = {"urls": "http://127.0.0.1:9", "requests": [GOOD], "rate": 10, "rng": stream("bad")}
    with pytest.raises(ValueError, match=message):
        poisson_load(**{**good, **change})


# --- balance ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.sampled_from(POLICIES), st.integers(1, 6), st.lists(st.booleans(), max_size=80))
def test_a_balancer_counts_what_is_in_flight(policy, servers, actions):
    balancer = Balancer(policy, servers, np.random.default_rng(0))
    flying = []
    for start in actions:
        if start or not flying:
            least = min(balancer.in_flight)
            server = balancer.start()
            if policy == "least in flight":
                assert balancer.in_flight[server] == least + 1
            flying.append(server)
        else:
            balancer.finish(flying.pop(0))
        assert balancer.in_flight == [flying.count(server) for server in range(servers)]


def test_round_robin_takes_turns_and_two_choices_never_takes_the_fullest():
    balancer = Balancer("round robin", 3, stream("turns"))
    assert [balancer.start() for _ in range(5)] == [0, 1, 2, 0, 1]
    balancer = Balancer("two choices", 3, stream("fullest"))
    balancer.in_flight = [9, 0, 0]
    chosen = [balancer._choose() for _ in range(3_000)]
    assert 0 not in chosen, "two different servers are compared, and one of them is not the fullest"
    assert abs(chosen.count(1) / 3_000 - 0.5) < 0.05


def exponential(n, name):
    return stream(f"service:{name}").exponential(1.0, n)


def simulated(policy, load, servers, n=100_000):
    # The first tenth is left out: the queues start empty.
    frame = simulate_queue(
        policy,
        servers=servers,
        rate=load * servers,
        service_times=exponential(n, policy),
        rng=stream(f"queue:{policy}"),
    )
    return frame["latency_s"].iloc[n // 10 :]


def test_random_is_many_single_queues():
    """M/M/1: exponential time in system with mean 1 / (1 - load), so its quantiles are known too."""
    latency = simulated("random", 0.7, 20)
    assert latency.mean() == pytest.approx(1 / 0.3, rel=0.05)
    assert latency.quantile(0.99) == pytest.approx(-math.log(0.01) / 0.3, rel=0.08)


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_two_choices_is_the_supermarket_model(load):
    """Mitzenmacher (2001): mean time in system, many servers, d = 2: the sum over i of load ** (2 ** i - 2)."""
    expected = sum(load ** (2**i - 2) for i in range(1, 30))
    assert simulated("two choices", load, 100).mean() == pytest.approx(expected, rel=0.06)


def test_one_queue_for_one_server_is_the_lindley_recursion():
    work = exponential(500, "lindley")
    frame = simulate_queue("least in flight", servers=1, rate=0.8, service_times=work, rng=stream("lindley"))
    wait, expected = 0.0, []
    gaps = np.diff(frame["arrival_s"], append=np.inf)
    for seconds, gap in zip(work, gaps, strict=True):
        expected.append(wait)
        wait = max(0.0, wait + seconds - gap)
    np.testing.assert_allclose(frame["wait_s"], expected, atol=1e-9)


def test_policies_meet_the_same_arrivals_and_a_slow_server_is_avoided_only_by_those_who_look():
    work = exponential(20_000, "slow")
    frames = {
        policy: simulate_queue(
            policy, servers=4, rate=1.6, service_times=work, rng=stream("slow"), speeds=[1, 1, 1, 0.5]
        )
        for policy in POLICIES
    }
    for frame in frames.values():
        np.testing.assert_array_equal(frame["arrival_s"], frames["random"]["arrival_s"])
        np.testing.assert_allclose(frame["wait_s"] + frame["service_s"], frame["latency_s"])
        assert (frame["wait_s"] >= 0).all()
    share = {policy: (frame["server"] == 3).mean() for policy, frame in frames.items()}
    assert share["round robin"] == 0.25
    assert share["two choices"] < 0.22 and share["least in flight"] < 0.22
    tail = {policy: frame["latency_s"].quantile(0.99) for policy, frame in frames.items()}
    assert tail["two choices"] < tail["round robin"] < tail["random"]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(POLICIES),
    st.integers(1, 5),
    st.lists(st.floats(0.01, 10), min_size=1, max_size=60),
    st.floats(0.1, 20),
)
def test_servers_work_on_one_request_at_a_time_in_order(policy, servers, work, rate):
    frame = simulate_queue(policy, servers=servers, rate=rate, service_times=work, rng=np.random.default_rng(1))
    assert len(frame) == len(work)
    for _, mine in frame.groupby("server"):
        begun, ended = mine["arrival_s"] + mine["wait_s"], mine["arrival_s"] + mine["latency_s"]
        assert (begun.iloc[1:].to_numpy() >= ended.iloc[:-1].to_numpy() - 1e-9).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "best"}, "policy is 'best'"),
        ({"servers": 0}, "servers is 0"),
        ({"rate": -1}, "rate is -1"),
        ({"service_times": []}, "service_times is empty"),
        ({"service_times": [1.0, -0.5]}, r"service_times has -0\.5 at 1: expected positive numbers"),
        ({"service_times": [np.nan]}, "service_times has nan"),
        ({"speeds": [1.0]}, "speeds has 1 values: expected one for each of 2 servers"),
        ({"speeds": [1.0, 0.0]}, "speeds has 0 at 1"),
    ],
)
def test_simulation_bad_input(change, message):
    good = {"policy": "random", "servers": 2, "rate": 1.0, "service_times": [1.0], "rng": stream("bad")}
    arguments = {**good, **change}
    with pytest.raises(ValueError, match=message):
        simulate_queue(arguments.pop("policy"), **arguments)


# --- latency ------------------------------------------------------------------------------------------------------


def test_stages_add_up_and_survive_an_exception():
    stages = Stages()
    stages.add("a", 0.002)
    stages.add("a", 0.001)
    with pytest.raises(KeyError), stages("b"):
        raise KeyError
    assert stages.ms["a"] == pytest.approx(3.0) and stages.ms["b"] >= 0


def test_percentiles_against_order_statistics_by_hand():
    """n = 100, median: ranks 40 and 61 of the binomial(100, 1/2) hold 96 %, the usual textbook interval."""
    frame = percentiles(np.arange(1, 101), at=(50,))
    assert frame.loc[0, ["value", "n"]].tolist() == [50.5, 100]
    assert (frame.loc[0, "low"], frame.loc[0, "high"]) == (40, 61)
    assert math.isnan(percentiles(np.arange(100), at=(99,))["high"][0])
    assert math.isfinite(percentiles(np.arange(400), at=(99,))["high"][0])


def test_percentile_intervals_cover():
    truth = -math.log(0.05)  # the 95th percentile of an exponential
    generator = stream("coverage")
    samples = [percentiles(generator.exponential(1.0, 300), at=(95,)).loc[0] for _ in range(150)]
    covered = np.mean([sample["low"] <= truth <= sample["high"] for sample in samples])
    assert 0.9 <= covered <= 0.995


def test_waterfall_adds_up_to_the_band_it_shows():
    generator = stream("waterfall")
    frame = pd.DataFrame({"features": generator.exponential(2.0, 4_000), "score": generator.exponential(1.0, 4_000)})
    frame["total"] = frame["features"] + frame["score"] + 0.5
    shown = waterfall(frame, ["features", "score"], total="total")
    assert shown["stage"].tolist() == ["features", "score", "other"] * 2
    for percentile, rows in shown.groupby("percentile"):
        assert rows["duration"].sum() == pytest.approx(np.percentile(frame["total"], percentile), rel=0.03)
        assert rows["start"].tolist() == pytest.approx([0, *rows["duration"].cumsum().iloc[:-1]])
        assert rows["duration"].iloc[-1] == pytest.approx(0.5)
        assert rows["n"].iloc[0] == pytest.approx({50: 80, 99: 40}[percentile], abs=2)
    slow = shown[shown["percentile"] == 99].set_index("stage")["duration"]
    assert slow["features"] > 2 * slow["score"]  # the stage with the longer tail makes the slow requests


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: percentiles([]), "latencies is empty"),
        (lambda: percentiles([1.0, np.inf]), "latencies has inf"),
        (lambda: percentiles([1.0], at=(100,)), "expected 0 < each < 100"),
        (lambda: percentiles([1.0], confidence=1.0), "confidence below 1"),
        (lambda: waterfall(pd.DataFrame({"a": [1.0]}), ["a"], total="t"), "requests has no 't'"),
        (lambda: waterfall(pd.DataFrame({"a": [], "t": []}), ["a"], total="t"), r"requests\['a'\] is empty"),
        (lambda: waterfall(pd.DataFrame({"a": [1.0], "t": [2.0]}), ["a"], total="t", at=(101,)), "at is 101"),
    ],
)
def test_latency_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- export -------------------------------------------------------------------------------------------------------


def _model(torch):
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(50, 4)
            self.layer = torch.nn.Linear(7, 1)

        def forward(self, ids, dense):
            return torch.sigmoid(self.layer(torch.cat([self.embedding(ids), dense], 1)))[:, 0]

    return Model(), (torch.arange(8), torch.randn(8, 3))


def test_an_exported_model_computes_the_same(tmp_path, recwarn):
    torch = pytest.importorskip("torch")
    model, example = _model(torch)
    worst = export_onnx(model, example, tmp_path / "m.onnx", inputs=["ids", "dense"])
    assert 0 <= worst < 1e-6
    assert not model.training
    assert not [w for w in recwarn if "onnx" in str(w.message).lower()]
    ids, dense = np.arange(30) % 50, np.ones((30, 3), dtype=np.float32)
    (scores,) = onnx_session(tmp_path / "m.onnx").run(None, {"ids": ids, "dense": dense})
    with torch.no_grad():
        np.testing.assert_allclose(scores, model(torch.tensor(ids), torch.tensor(dense)).numpy(), atol=1e-6)


def test_an_export_that_differs_is_refused(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    model, example = _model(torch)
    exported = torch.onnx.export

    def another_model(module, *arguments, **named):
        other, _ = _model(torch)
        with torch.no_grad():
            other.layer.bias += 0.1
        exported(other.eval(), *arguments, **named)

    monkeypatch.setattr(torch.onnx, "export", another_model)
    with pytest.raises(ExportMismatch, match=r"outputs differ by 0\.0\d+: expected at most 1e-05"):
        export_onnx(model, example, tmp_path / "m.onnx", inputs=["ids", "dense"])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_number_of_rows_baked_into_the_graph_is_refused(tmp_path):
    torch = pytest.importorskip("torch")

    class Baked(torch.nn.Module):
        def forward(self, x):
            return x.reshape(int(x.shape[0]), 3).sum(1) + torch.zeros(len(x))

    with pytest.raises(ExportMismatch, match="row"):
        export_onnx(Baked(), (torch.randn(4, 3),), tmp_path / "m.onnx", inputs=["x"])


def test_export_bad_input(tmp_path):
    torch = pytest.importorskip("torch")
    module, path = torch.nn.Linear(2, 1), tmp_path / "m.onnx"
    with pytest.raises(ValueError, match="inputs has 2 names and example 1 tensors"):
        export_onnx(module, (torch.ones(2, 2),), path, inputs=["a", "b"])
    with pytest.raises(ValueError, match=r"example for 'a' has shape \(1, 2\): expected at least two rows"):
        export_onnx(module, (torch.ones(1, 2),), path, inputs=["a"])
    with pytest.raises(ValueError, match="tolerance is 0"):
        export_onnx(module, (torch.ones(2, 2),), path, inputs=["a"], tolerance=0)
    with pytest.raises(ValueError, match="expected an existing ONNX file"):
        onnx_session(path)


def test_requests_are_sent_as_given():
    bodies = []

    def score(request, vectors):
        bodies.append(json.loads(request.model_dump_json()))
        return np.zeros(len(request.candidates))

    with run_in_thread(scoring_app(Scorer(score=score, fallback=score), deadline_ms=5_000)) as service:
        sent = {"user": 7, "candidates": [3, 1], "context": {"page": "feed", "hour": 3.5, "day": 2}}
        poisson_load(service.url, [sent], rate=100, rng=stream("sent"), patience_s=20)
    assert bodies == [sent]
