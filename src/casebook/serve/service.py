"""The scoring service: features from the online store, a model, and an answer in time, whatever fails.

What a request meets, in order: admission (a bounded number in flight, the rest shed at once with 503), validation
(422), features from the store behind a circuit breaker (local defaults while it is down), the model in a thread pool
(the event loop stays free to accept, shed and time out), and a deadline (fallback scores when it passes). Every answer
says whether it was degraded, why, and how long each stage took.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from casebook import validate
from casebook.serve.breaker import CircuitBreaker
from casebook.serve.latency import Stages
from casebook.serve.store import Store, StoreUnavailable

__all__ = [
    "MAX_CANDIDATES", "Admission", "Id", "Metrics", "Pool", "ScoreRequest", "ScoreResponse", "Scorer", "Value",
    "empty_scorer", "readable", "scoring_app",
]  # fmt: skip

MAX_CANDIDATES = 500
MAX_BODY_BYTES = 64 * 1024
BODY_S = 1.0
DRAIN_BYTES = 1024 * 1024

Reason = Literal["store unavailable", "deadline exceeded", "scoring failed"]

log = logging.getLogger(__name__)

Vector = NDArray[Any]
Id = Annotated[int, Field(ge=0, lt=2**63)]
Value = int | float | Annotated[str, Field(max_length=256)]


class ScoreRequest(BaseModel):
    """Who is looking, at what, in which context."""

    # Strict: "12" is not a user, true is not an ad. Forbid: a misspelt field is an error, not silence.
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    user: Id
    candidates: Annotated[list[Id], Field(min_length=1, max_length=MAX_CANDIDATES)]
    context: Annotated[dict[str, Value], Field(max_length=100)] = {}


class ScoreResponse(BaseModel):
    """One score per candidate, in the order of the request, and how it came about.

    ``unknown`` counts the keys that the store was asked for and does not have; ``ms`` has milliseconds by stage.
    """

    scores: list[float]
    degraded: bool
    reason: Reason | None
    unknown: int
    version: str
    ms: dict[str, float]


def _no_keys(request: ScoreRequest) -> list[str]:
    return []


def _no_default(key: str) -> Vector:
    raise KeyError(key)


@dataclass(frozen=True)
class Scorer:
    """What a service serves: four functions, and no knowledge of HTTP or of the store.

    Attributes:
        score: from a request and the vectors of its keys, in the order of ``keys``, to one finite score per candidate.
            Runs in a thread of a pool.
        fallback: one score per candidate without any feature, such as each ad's historical rate. Answers when the
            model is late or fails; runs on the event loop, so it must be a lookup.
        keys: the keys that the request needs of the store. None by default.
        default: the vector to use for a key that the store does not have, or can't give because it is down.
    """

    score: Callable[[ScoreRequest, list[Vector]], Vector]
    fallback: Callable[[ScoreRequest], Vector]
    keys: Callable[[ScoreRequest], list[str]] = _no_keys
    default: Callable[[str], Vector] = _no_default


def empty_scorer() -> Scorer:
    """A scorer that does nothing: what the service around it costs, the yardstick for every other."""

    def zeros(request: ScoreRequest, vectors: list[Vector] | None = None) -> Vector:
        return np.zeros(len(request.candidates))

    return Scorer(score=zeros, fallback=zeros)


class _FallbackFailed(Exception):
    """The last resort of a request failed."""


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


def scoring_app(
    scorer: Scorer,
    *,
    store: Store | None = None,
    version: str = "unversioned",
    deadline_ms: float = 50.0,
    max_in_flight: int = 32,
    workers: int = 4,
    retry_store_s: float = 0.5,
) -> FastAPI:
    """A service that scores candidates: ``POST /score``, ``GET /healthz``, ``GET /metrics``.

    Stages in the response, in milliseconds: ``parse`` (from admission to a valid request), ``queue`` (for a thread),
    ``features`` (from the store), ``score``, and ``total``. A stage that the deadline cut off is absent.

    Args:
        scorer: what is served.
        store: where the scorer's keys are; without one, every key gets its default and the answer is degraded.
        version: which model this is, repeated in every answer.
        deadline_ms: milliseconds from admission after which the fallback answers.
        max_in_flight: scoring requests admitted at once; more are shed.
        workers: threads that score.
        retry_store_s: seconds between two attempts to reach a store that is down.

    Raises:
        ValueError: a number that is not positive.
    """
    deadline_s = validate.number("deadline_ms", deadline_ms, above=0) / 1000
    limit = validate.positive_int("max_in_flight", max_in_flight)
    pool = Pool(validate.positive_int("workers", workers))
    breaker = CircuitBreaker(retry_s=retry_store_s)
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.close()

    app = FastAPI(title="Scoring service", version=version, lifespan=lifespan)
    app.add_middleware(Admission, limit=limit, metrics=metrics)

    def fetch(keys: list[str]) -> list[Vector | None] | None:
        """The store's vectors, or None when it is not there to be asked."""
        if store is None or not breaker.allows():
            return None
        try:
            found = store.get_vectors(keys)
        except StoreUnavailable:
            breaker.failed()
            return None
        except Exception:
            # It answered, if not with a vector; and a probe must report back.
            breaker.succeeded()
            raise
        breaker.succeeded()
        return list(found)

    def work(
        request: ScoreRequest, stages: Stages, submitted: float, give_up: float
    ) -> tuple[list[float], int, Reason | None]:
        """What a thread does for a request: features, then scores."""
        stages.add("queue", time.perf_counter() - submitted)
        reason: Reason | None = None
        unknown = 0
        with stages("features"):
            keys = scorer.keys(request)
            found = fetch(keys) if keys else []
            if found is None:
                reason, found = "store unavailable", [None] * len(keys)
            else:
                unknown = sum(vector is None for vector in found)
            vectors = [scorer.default(k) if v is None else v for k, v in zip(keys, found, strict=True)]
        if time.perf_counter() > give_up:
            raise TimeoutError  # nobody waits for these scores any more
        with stages("score"):
            scores = _checked(scorer.score(request, vectors), request)
        return scores, unknown, reason

    def fall_back(request: ScoreRequest) -> list[float]:
        try:
            return _checked(scorer.fallback(request), request)
        except Exception as error:
            log.exception("the fallback failed")
            raise _FallbackFailed from error

    @app.post("/score")
    async def score(request: ScoreRequest, http: Request) -> ScoreResponse:
        arrived: float = http.scope["casebook.arrived"]
        now, stages, unknown = time.perf_counter(), Stages(), 0
        stages.add("parse", now - arrived)
        reason: Reason | None
        try:
            async with asyncio.timeout(arrived + deadline_s - now):
                scores, unknown, reason = await pool.run(lambda: work(request, stages, now, arrived + deadline_s))
        except TimeoutError:
            scores, reason = fall_back(request), "deadline exceeded"
        except Exception:
            log.exception("the scorer failed; the fallback answers")
            scores, reason = fall_back(request), "scoring failed"
        ms = dict(stages.ms)  # a copy: a thread that is late may still be adding to it
        ms["total"] = 1000 * (time.perf_counter() - arrived)
        for stage, value in ms.items():
            metrics.stages.labels(stage).observe(value / 1000)
        metrics.unknown.inc(unknown)
        metrics.requests.labels("degraded" if reason else "ok").inc()
        return ScoreResponse(
            scores=scores, degraded=reason is not None, reason=reason, unknown=unknown, version=version, ms=ms
        )  # fmt: skip

    @app.exception_handler(RequestValidationError)
    async def invalid(http: Request, error: RequestValidationError) -> Response:
        metrics.requests.labels("invalid").inc()
        return JSONResponse({"error": readable(error.errors())}, 422)

    @app.exception_handler(_FallbackFailed)
    async def failed(http: Request, error: _FallbackFailed) -> Response:
        # Handled here, not by the framework's last resort: that one drops the connection, and with it the next request.
        metrics.requests.labels("error").inc()
        return JSONResponse({"error": "neither the model nor the fallback has an answer"}, 500)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Alive; a store that is down degrades the answers but is no reason to take the replica away."""
        return {"status": "ok" if breaker.state == "closed" else "degraded", "store": breaker.state, "version": version}

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _checked(scores: Vector, request: ScoreRequest) -> list[float]:
    values = validate.finite("scores", scores)
    if len(values) != len(request.candidates):
        raise ValueError(
            f"scores has {len(values)} values: expected one for each of {len(request.candidates)} candidates"
        )
    return values.tolist()
