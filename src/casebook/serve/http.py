"""What every service of this package has in front of its model: admission, counters, threads, readable errors."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import Field

__all__ = ["Admission", "Id", "Metrics", "Pool", "Value", "add_operations", "readable"]

MAX_BODY_BYTES = 64 * 1024
BODY_S = 1.0
DRAIN_BYTES = 1024 * 1024

Id = Annotated[int, Field(ge=0, lt=2**63)]
Value = int | float | Annotated[str, Field(max_length=256)]


class Metrics:
    """What a service counts, in a registry of its own: several apps can live in one process.

    Attributes:
        registry: what ``/metrics`` shows.
        requests: by outcome, such as ``ok``, ``degraded``, ``shed``, ``invalid``.
        unknown: keys that the store does not have.
        in_flight: requests admitted and not answered.
        peak: the most that were ever in flight.
        stages: seconds by stage.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("casebook_requests", "Requests by outcome", ["outcome"], registry=self.registry)
        self.unknown = Counter("casebook_unknown_keys", "Keys that the store does not have", registry=self.registry)
        self.in_flight = Gauge("casebook_in_flight", "Requests admitted and not answered", registry=self.registry)
        self.peak = Gauge(
            "casebook_in_flight_peak", "The most requests that were ever in flight", registry=self.registry
        )
        self.stages = Histogram(
            "casebook_stage_seconds", "Seconds by stage", ["stage"], registry=self.registry,
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        )  # fmt: skip


Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Admission:
    """Lets a bounded number of scoring requests in and sheds the rest before their body is read.

    A queue that may grow turns an overload into a latency that nobody waits for; a refusal in a millisecond lets the
    caller try another replica. Health and metrics are never shed. A request that is let in finds the moment of its
    admission, by ``time.perf_counter``, in ``scope["casebook.arrived"]``.

    Args:
        app: the application behind it: this is a middleware.
        limit: requests in flight at once.
        metrics: where it counts.
    """

    def __init__(self, app: App, *, limit: int, metrics: Metrics) -> None:
        self._app = app
        self._limit = limit
        self._metrics = metrics
        self._in_flight = 0
        self._peak = 0

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/score":
            return await self._app(scope, receive, send)
        scope["casebook.arrived"] = time.perf_counter()
        if refusal := self._refusal(dict(scope["headers"])):
            return await _refuse(refusal, scope, receive, send)
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        self._metrics.in_flight.set(self._in_flight)
        self._metrics.peak.set(self._peak)

        async def receive_soon() -> Any:
            # A client that never sends the body it announced would hold its place for ever. This makes it a 400.
            async with asyncio.timeout(BODY_S):
                return await receive()

        try:
            await self._app(scope, receive_soon, send)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    def _refusal(self, headers: dict[bytes, bytes]) -> Response | None:
        if self._in_flight >= self._limit:
            self._metrics.requests.labels("shed").inc()
            error = f"overloaded: {self._in_flight} requests in flight, {self._limit} allowed"
            return JSONResponse({"error": error}, 503, {"Retry-After": "1"})
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) <= MAX_BODY_BYTES:
            return None
        # The body is not read to its end, so the connection can't carry another request.
        self._metrics.requests.labels("invalid").inc()
        error = f"Content-Length is {length.decode('latin-1') or 'absent'}: expected at most {MAX_BODY_BYTES} bytes"
        return JSONResponse({"error": error}, 413, {"Connection": "close"})


async def _refuse(refusal: Response, scope: Scope, receive: Any, send: Any) -> None:
    """Answer at once, then take what the client is still sending off the wire, within bounds.

    Closing on unread bytes resets the connection, and a client in the middle of its upload would never see the answer.
    """

    async def send_and_hold(message: Any) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await refusal(scope, receive, send_and_hold)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BODY_S):
            taken, message = 0, {"more_body": True}
            while message.get("more_body") and taken < DRAIN_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b""})


class Pool:
    """Threads for the model. Work waits in the event loop, where a deadline can withdraw it, never in the pool's own
    queue: a model that hangs then holds its threads and nothing else.

    Args:
        workers: how many threads.
    """

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="score")
        self._free = asyncio.Semaphore(workers)

    async def run(self, work: Callable[[], Any]) -> Any:
        """What the work returns or raises, once a thread was free for it."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)
        # Freed when the thread is, which may be long after the request was answered without it.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.release))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the threads, when what they work on is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def readable(errors: Any) -> str:
    """The errors of a request's validation as a sentence: ``candidates.0: Input should be a valid integer, got 'x'``.

    Args:
        errors: as ``RequestValidationError.errors()`` lists them; one clause each, five at most.
    """
    clauses = []
    for error in errors[:5]:
        where = ".".join(str(part) for part in error["loc"][1:]) or "body"
        if error["type"] == "json_invalid":
            clauses.append(f"body is not JSON: {error.get('ctx', {}).get('error', error['msg'])} at character {where}")
        elif error["type"] in ("missing", "extra_forbidden"):
            clauses.append(f"{where}: {error['msg']}")
        else:
            clauses.append(f"{where}: {error['msg']}, got {error['input']!r:.60}")
    return "; ".join(clauses + [f"and {len(errors) - 5} more"] * (len(errors) > 5))


def add_operations(
    app: FastAPI, metrics: Metrics, health: Callable[[], dict[str, str]], *, repeat_input: bool = True
) -> None:
    """Adds ``GET /healthz`` and ``GET /metrics``, and answers a malformed request with 422 and a sentence on it.

    Args:
        app: the service.
        metrics: what ``/metrics`` shows, and where malformed requests are counted.
        health: what ``/healthz`` answers.
        repeat_input: whether the sentence repeats the value that was refused; an image is no text to send back.
    """

    @app.exception_handler(RequestValidationError)
    async def invalid(http: Request, error: RequestValidationError) -> Response:
        metrics.requests.labels("invalid").inc()
        errors = [one if repeat_input else {**one, "input": "..."} for one in error.errors()]
        return JSONResponse({"error": readable(errors)}, 422)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return health()

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
