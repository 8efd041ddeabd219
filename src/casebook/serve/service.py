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
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from casebook import validate
from casebook.serve.breaker import CircuitBreaker
from casebook.serve.http import Admission, Id, Metrics, Pool, Value, add_operations
from casebook.serve.latency import Stages
from casebook.serve.store import Store, StoreUnavailable

__all__ = ["MAX_CANDIDATES", "ScoreRequest", "ScoreResponse", "Scorer", "empty_scorer", "scoring_app"]

MAX_CANDIDATES = 500

Reason = Literal["store unavailable", "deadline exceeded", "scoring failed"]

log = logging.getLogger(__name__)

Vector = NDArray[Any]


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

    @app.exception_handler(_FallbackFailed)
    async def failed(http: Request, error: _FallbackFailed) -> Response:
        # Handled here, not by the framework's last resort: that one drops the connection, and with it the next request.
        metrics.requests.labels("error").inc()
        return JSONResponse({"error": "neither the model nor the fallback has an answer"}, 500)

    def health() -> dict[str, str]:
        # A store that is down degrades the answers but is no reason to take the replica away.
        return {"status": "ok" if breaker.state == "closed" else "degraded", "store": breaker.state, "version": version}

    add_operations(app, metrics, health)
    return app


def _checked(scores: Vector, request: ScoreRequest) -> list[float]:
    values = validate.finite("scores", scores)
    if len(values) != len(request.candidates):
        raise ValueError(
            f"scores has {len(values)} values: expected one for each of {len(request.candidates)} candidates"
        )
    return values.tolist()
