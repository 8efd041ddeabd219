"""An open-loop load generator: requests leave when they are due, not when the service is ready for them.

A client that waits for one answer before it asks again slows down with the service and misses the delays it causes
("coordinated omission", Gil Tene's name for it). Users don't wait for each other. So arrivals are drawn beforehand as
a Poisson process, each request leaves on time, and its latency runs from the moment when it was due.
"""

import asyncio
import contextlib
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from casebook import validate
from casebook.serve.balance import Balancer, Policy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OUTCOMES", "Load", "poisson_load"]

# Every request ends as exactly one of these. The first four were answered.
OUTCOMES = ("ok", "degraded", "shed", "invalid", "timeout", "error")
ANSWERED = OUTCOMES[:4]
SCORED = OUTCOMES[:2]

MAX_REQUESTS = 100_000
MAX_SECONDS = 120.0
MAX_CONNECTIONS = 400  # at once, below the file descriptors that a laptop gives a process


@dataclass(frozen=True)
class Load:
    """What became of every request.

    Attributes:
        requests: one row per request in order of arrival. ``due_s`` (seconds since the start), ``late_ms`` (how much
            later it left: the generator's own delay, part of the latency), ``latency_ms`` (from due to answered),
            ``outcome`` (one of :data:`OUTCOMES`), ``status`` (0 without an answer), ``replica``, ``reason`` (of a
            degraded answer, a refusal or an error), ``unknown``, ``version``, ``scores`` (None without), and a column
            ``<stage>_ms`` for each stage.
        events: what else happened: ``name``, ``begun_s``, ``ended_s``.
        seconds: from the start to the last answer.
    """

    requests: "pd.DataFrame"
    events: "pd.DataFrame"
    seconds: float

    def summary(self) -> dict[str, float]:
        """Counts by outcome (they add up to ``sent``), rates, and percentiles of the latency of scored requests."""
        frame = self.requests
        counts = {outcome: int((frame["outcome"] == outcome).sum()) for outcome in OUTCOMES}
        scored = frame.loc[frame["outcome"].isin(SCORED), "latency_ms"]
        p50, p95, p99 = np.percentile(scored, [50, 95, 99]) if len(scored) else [float("nan")] * 3
        return {
            "sent": len(frame),
            "answered": sum(counts[outcome] for outcome in ANSWERED),
            **counts,
            "offered_per_s": len(frame) / float(frame["due_s"].iloc[-1]),
            "scored_per_s": len(scored) / self.seconds,
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "late_p99_ms": float(np.percentile(frame["late_ms"], 99)),
        }


@dataclass
class _Exchange:
    """One request: written while it happens, read afterwards."""

    due: float
    sent: float = 0.0
    answered: float = 0.0
    status: int = 0
    body: bytes = b""
    replica: int = -1
    failure: str = ""


class _Client:
    """HTTP/1.1 over kept connections, no more than the service needs.

    A general client takes longer for a request than the service does; on a machine that both share, it would be
    measuring itself.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._targets = []
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme != "http" or parts.hostname is None or parts.port is None:
                raise ValueError(f"urls has {url!r}: expected such as http://127.0.0.1:8000")
            self._targets.append((parts.hostname, parts.port))
        self._idle: list[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = [[] for _ in urls]
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def post(self, replica: int, body: bytes) -> tuple[int, bytes]:
        async with self._slots:
            host, port = self._targets[replica]
            idle = self._idle[replica]
            reader, writer = idle.pop() if idle else await asyncio.open_connection(host, port)
            keep = False
            try:
                head = f"POST /score HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
                answer = await reader.readexactly(int(headers["content-length"]))
                keep = headers.get("connection", "").lower() != "close"
                return int(status_line.split()[1]), answer
            finally:
                if keep:
                    idle.append((reader, writer))
                else:
                    writer.close()

    async def close(self) -> None:
        for idle in self._idle:
            for _, writer in idle:
                writer.close()


@contextlib.contextmanager
def _loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread: a notebook runs one of its own in the main thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A full collection in a notebook that holds a data set stops every thread for longer than a request lasts."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def poisson_load(
    urls: str | Sequence[str],
    requests: Sequence[Mapping[str, Any] | bytes],
    *,
    rate: float,
    rng: np.random.Generator,
    policy: Policy = "round robin",
    patience_s: float = 1.0,
    events: Mapping[float, Callable[[], object]] | None = None,
) -> Load:
    """Sends every request once, as a Poisson process, to one or several replicas, and accounts for each.

    Args:
        urls: the replicas.
        requests: what to send, in order: mappings that become JSON, or bytes that are sent as they are.
        rate: requests a second, on average and over all replicas.
        rng: a generator of this call's own; arrivals and the policy's choices have streams of their own.
        policy: how a replica is chosen for each request.
        patience_s: seconds after which a request that was due is given up as a timeout.
        events: what to do at which second, such as ``{2.0: store.kill}``; in order, in a thread of their own.

    Returns:
        One row for every request: none is lost, whatever happened to it.

    Raises:
        ValueError: no requests or more than 100,000, a load of more than 120 s, an unknown policy, a URL that is none,
            an event after the last arrival.
        Exception: what an event raised, once the load is over.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    rate = validate.number("rate", rate, above=0)
    patience_s = validate.number("patience_s", patience_s, above=0, most=60)
    bodies = [r if isinstance(r, bytes) else json.dumps(r, separators=(",", ":")).encode() for r in requests]
    if not 1 <= len(bodies) <= MAX_REQUESTS or len(bodies) / rate > MAX_SECONDS:
        raise ValueError(
            f"requests has {len(bodies)} at {rate:g} a second: "
            f"expected 1 to {MAX_REQUESTS}, in {MAX_SECONDS:g} s at most"
        )
    arrivals_rng, choices_rng = rng.spawn(2)
    due = np.cumsum(arrivals_rng.exponential(1 / rate, len(bodies)))
    for moment in events or {}:
        validate.number("events", moment, least=0, most=float(due[-1]))  # a later one would never happen
    balancer = Balancer(policy, len(urls), choices_rng)
    client = _Client(urls)
    exchanges: list[_Exchange] = []

    async def exchange(it: _Exchange, body: bytes) -> None:
        it.sent = time.perf_counter()
        it.replica = balancer.start()
        try:
            async with asyncio.timeout(it.due + patience_s - it.sent):
                it.status, it.body = await client.post(it.replica, body)
        except TimeoutError:
            it.failure = "timeout"
        except (OSError, EOFError, LookupError, ValueError) as error:
            it.failure = type(error).__name__
        finally:
            it.answered = time.perf_counter()
            balancer.finish(it.replica)

    with _no_garbage_collection(), ThreadPoolExecutor(1) as aside, _loop_in_thread() as loop:
        start = time.perf_counter() + 0.05
        stop = threading.Event()
        happened = aside.submit(_happen, events or {}, start, stop)
        pending = []
        try:
            # This thread sleeps and hands over: the loop's own timers are rounded up to whole milliseconds.
            for moment, body in zip((start + due).tolist(), bodies, strict=True):
                time.sleep(max(0.0, moment - time.perf_counter()))
                exchanges.append(_Exchange(moment))
                pending.append(asyncio.run_coroutine_threadsafe(exchange(exchanges[-1], body), loop))
            for future in pending:
                future.result()
        finally:
            stop.set()
            asyncio.run_coroutine_threadsafe(client.close(), loop).result()
        finished = happened.result()
    return _accounted(exchanges, start, finished)


def _happen(
    events: Mapping[float, Callable[[], object]], start: float, stop: threading.Event
) -> list[tuple[str, float, float]]:
    finished = []
    for moment in sorted(events):
        if stop.wait(max(0.0, start + moment - time.perf_counter())):
            break
        begun = time.perf_counter() - start
        events[moment]()
        finished.append((getattr(events[moment], "__name__", "event"), begun, time.perf_counter() - start))
    return finished


def _accounted(exchanges: list[_Exchange], start: float, finished: list[tuple[str, float, float]]) -> Load:
    import pandas as pd

    rows = []
    for it in exchanges:
        answer = _decoded(it.body)
        outcome = _outcome(it, answer)
        rows.append(
            {
                "due_s": it.due - start,
                "late_ms": 1000 * (it.sent - it.due),
                "latency_ms": 1000 * (it.answered - it.due),
                "outcome": outcome,
                "status": it.status,
                "replica": it.replica,
                "reason": it.failure or answer.get("reason") or answer.get("error"),
                "unknown": answer.get("unknown", 0),
                "version": answer.get("version"),
                "scores": answer.get("scores"),
                **{f"{stage}_ms": value for stage, value in answer.get("ms", {}).items()},
            }
        )
    return Load(
        requests=pd.DataFrame(rows),
        events=pd.DataFrame(finished, columns=["name", "begun_s", "ended_s"]),
        seconds=max(it.answered for it in exchanges) - start,
    )


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _outcome(it: _Exchange, answer: dict[str, Any]) -> str:
    if it.failure:
        return "timeout" if it.failure == "timeout" else "error"
    if it.status == 200 and "degraded" in answer:
        return "degraded" if answer["degraded"] else "ok"
    return {503: "shed", 422: "invalid", 413: "invalid"}.get(it.status, "error")
