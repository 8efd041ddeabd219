"""A page over HTTP: several generators in parallel, features from the store, a ranker, a blender, an answer in time.

What a request meets, in order: admission (a bounded number in flight, the rest shed with 503), validation (422), the
generators, each in a thread of its own and all under one budget (who is late is left out), features from the store
behind a circuit breaker (local defaults while it is down), the ranker, the blender. When no generator answers in time,
or the ranker fails or misses the deadline, the fallback page is shown. ``python -m casebook.serve.slate`` is one
replica, in a process of its own; :func:`start_slate` starts it.
"""

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from casebook import validate
from casebook.serve.artefact import read_artefact
from casebook.serve.breaker import CircuitBreaker
from casebook.serve.http import Admission, Id, Metrics, Pool, Value, add_operations
from casebook.serve.latency import Stages
from casebook.serve.replica import end_with_parent
from casebook.serve.run import Service, start_process, uvicorn_server
from casebook.serve.store import Store, StoreUnavailable, connect

__all__ = ["SlateAnswer", "SlateEngine", "SlateRequest", "merged", "slate_app", "start_slate"]

MAX_CANDIDATES = 2_000

Reason = Literal["store unavailable", "generator late", "deadline exceeded", "no candidates", "ranking failed"]
Array = NDArray[Any]

log = logging.getLogger(__name__)


class SlateRequest(BaseModel):
    """Who opens the page, in which context, and how many candidates to rank."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    user: Id
    candidates: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)] = 200
    context: Annotated[dict[str, Value], Field(max_length=100)] = {}


class SlateAnswer(BaseModel):
    """The page, best first (named ``scores``, which the load generator keeps), and how it came about.

    ``unknown`` counts the keys that the store does not have, ``late`` names the generators that were left out, and
    ``ms`` has milliseconds by stage.
    """

    scores: list[int]
    degraded: bool
    reason: Reason | None
    unknown: int
    late: list[str]
    version: str
    ms: dict[str, float]


Generate = Callable[[SlateRequest, Array], Array]


@dataclass(frozen=True)
class SlateEngine:
    """What a page service serves: functions, and no knowledge of HTTP or of the store.

    Attributes:
        user_key: the key of what the store holds of the user. It is read first, for the generators need it.
        generators: by name, from a request and the user's vector to item ids, best first. Each runs in a thread.
        item_key: the key of what the store holds of an item.
        default: the vector for a key that the store does not have, or can't give because it is down.
        rank: from a request, the user's vector, item ids (n,) and their vectors (n, columns) to one score an item.
        blend: from item ids (n,), their vectors and scores to the ids of the page in order.
        fallback: the page without anything, from the request alone. Runs on the event loop: a look-up.
        version: which model this is, repeated in every answer.
    """

    user_key: Callable[[SlateRequest], str]
    generators: Mapping[str, Generate]
    item_key: Callable[[int], str]
    default: Callable[[str], Array]
    rank: Callable[[SlateRequest, Array, Array, Array], Array]
    blend: Callable[[Array, Array, Array], Array]
    fallback: Callable[[SlateRequest], Array]
    version: str = "unversioned"


def merged(lists: Sequence[Array], most: int) -> Array:
    """The candidates of several generators, taken in turn, without duplicates: first all firsts, then all seconds.

    Args:
        lists: ids of each generator, best first; lengths may differ.
        most: how many to keep.

    Raises:
        ValueError: fewer than one to keep.
    """
    most = validate.positive_int("most", most)
    if not (kept := [np.asarray(one, dtype=np.int64) for one in lists if len(one)]):
        return np.empty(0, dtype=np.int64)
    place = np.concatenate([np.arange(len(one)) for one in kept])
    ids = np.concatenate(kept)[np.argsort(place, kind="stable")]
    _, first = np.unique(ids, return_index=True)
    return ids[np.sort(first)][:most]


def slate_app(
    engine: SlateEngine,
    *,
    store: Store | None = None,
    generator_ms: float = 50.0,
    deadline_ms: float = 200.0,
    max_in_flight: int = 64,
    workers: int = 4,
    parallel: bool = True,
    retry_store_s: float = 0.5,
) -> FastAPI:
    """A service that makes pages: ``POST /score``, ``GET /healthz``, ``GET /metrics``.

    Stages of an answer, in milliseconds: ``parse``, ``user`` (from the store), ``generate`` (all generators together;
    ``generate:<name>`` is one of them), ``features``, ``rank``, ``blend``, ``total``. Those not reached are absent.

    Args:
        engine: what is served.
        store: where the engine's keys are; without one every key gets its default and the answer is degraded.
        generator_ms: milliseconds after which generators that have not answered are left out.
        deadline_ms: milliseconds from admission after which the fallback answers.
        max_in_flight: pages made at once; more are shed.
        workers: threads for ranking; each generator has as many of its own.
        parallel: ask all generators at once; one after the other for comparison.
        retry_store_s: seconds between two attempts to reach a store that is down.

    Raises:
        ValueError: a number that is not positive, or an engine without generators.
    """
    if not engine.generators:
        raise ValueError("generators is empty: expected at least one")
    budget_s = validate.number("generator_ms", generator_ms, above=0) / 1000
    deadline_s = validate.number("deadline_ms", deadline_ms, above=0) / 1000
    limit = validate.positive_int("max_in_flight", max_in_flight)
    threads = validate.positive_int("workers", workers)
    # A pool for each generator: one that hangs holds its own threads and nobody else's.
    pools = {name: ThreadPoolExecutor(threads, thread_name_prefix=name) for name in engine.generators}
    pool, metrics, breaker = Pool(threads), Metrics(), CircuitBreaker(retry_s=retry_store_s)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.close()
        for one in pools.values():
            one.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="Pages", version=engine.version, lifespan=lifespan)
    app.add_middleware(Admission, limit=limit, metrics=metrics)

    def fetch(keys: list[str]) -> tuple[list[Array], int, bool]:
        """Vectors of these keys, how many are unknown, and whether the store answered."""
        found: Sequence[Array | None] | None = None
        if store is not None and breaker.allows():
            try:
                found = store.get_vectors(keys)
                breaker.succeeded()
            except StoreUnavailable:
                breaker.failed()
        there = found is not None
        values = [None] * len(keys) if found is None else found
        vectors = [engine.default(k) if v is None else v for k, v in zip(keys, values, strict=True)]
        return vectors, sum(v is None for v in values) if there else 0, there

    def timed(name: str, request: SlateRequest, user: Array, stages: Stages) -> Array:
        with stages(f"generate:{name}"):
            return engine.generators[name](request, user)

    async def generate(request: SlateRequest, user: Array, stages: Stages) -> tuple[list[Array], list[str]]:
        """The candidates of those who answered, and the names of those who did not."""
        loop, give_up = asyncio.get_running_loop(), time.perf_counter() + budget_s

        def asked(name: str) -> "asyncio.Future[Array]":
            return loop.run_in_executor(pools[name], timed, name, request, user, stages)

        with stages("generate"):
            if parallel:
                tasks = {name: asked(name) for name in engine.generators}
                await asyncio.wait(tasks.values(), timeout=budget_s)
            else:
                tasks = {}
                for name in engine.generators:
                    tasks[name] = asked(name)
                    await asyncio.wait([tasks[name]], timeout=max(give_up - time.perf_counter(), 0.001))
        found, late = [], []
        for name, task in tasks.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                found.append(task.result())
            else:
                late.append(name)
                if task.done():
                    log.warning("generator %s failed: %r", name, task.exception())
                else:
                    task.cancel()  # withdrawn if it still waits for a thread; one that runs is left to end
        return found, late

    def finish(
        request: SlateRequest, user: Array, ids: Array, stages: Stages, give_up: float
    ) -> tuple[list[int], int, bool]:
        """Features, scores and the page."""
        with stages("features"):
            vectors, unknown, there = fetch([engine.item_key(int(i)) for i in ids])
            table = np.stack(vectors)
        if time.perf_counter() > give_up:
            raise TimeoutError  # nobody waits for this page any more
        with stages("rank"):
            score = validate.finite("scores", engine.rank(request, user, ids, table))
        with stages("blend"):
            page = [int(i) for i in engine.blend(ids, table, score)]
        return page, unknown, there

    async def made(
        request: SlateRequest, stages: Stages, give_up: float
    ) -> tuple[list[int], int, list[str], Reason | None]:
        with stages("user"):
            (user,), unknown, there = await pool.run(lambda: fetch([engine.user_key(request)]))
        found, late = await generate(request, user, stages)
        ids = merged(found, request.candidates)
        if not len(ids):
            return [int(i) for i in engine.fallback(request)], unknown, late, "no candidates"
        page, more, also = await pool.run(lambda: finish(request, user, ids, stages, give_up))
        reason: Reason | None = None if there and also else "store unavailable"
        return page, unknown + more, late, reason or ("generator late" if late else None)

    @app.post("/score")
    async def score(request: SlateRequest, http: Request) -> SlateAnswer:
        arrived: float = http.scope["casebook.arrived"]
        stages, unknown, late = Stages(), 0, list[str]()
        stages.add("parse", time.perf_counter() - arrived)
        reason: Reason | None
        try:
            async with asyncio.timeout(arrived + deadline_s - time.perf_counter()):
                page, unknown, late, reason = await made(request, stages, arrived + deadline_s)
        except TimeoutError:
            page, reason = [int(i) for i in engine.fallback(request)], "deadline exceeded"
        except Exception:
            log.exception("the page could not be ranked; the fallback answers")
            page, reason = [int(i) for i in engine.fallback(request)], "ranking failed"
        ms = dict(stages.ms)  # a copy: a thread that is late may still be adding to it
        ms["total"] = 1000 * (time.perf_counter() - arrived)
        for stage, value in ms.items():
            metrics.stages.labels(stage).observe(value / 1000)
        metrics.unknown.inc(unknown)
        metrics.requests.labels("degraded" if reason else "ok").inc()
        return SlateAnswer(
            scores=page, degraded=reason is not None, reason=reason, unknown=unknown, late=late,
            version=engine.version, ms=ms,
        )  # fmt: skip

    def health() -> dict[str, str]:
        return {"status": "ok" if breaker.state == "closed" else "degraded", "version": engine.version}

    add_operations(app, metrics, health)
    return app


@contextlib.contextmanager
def start_slate(
    artefact: Path,
    *,
    store: str | None = None,
    store_timeout_ms: float = 20.0,
    generator_ms: float = 50.0,
    deadline_ms: float = 200.0,
    max_in_flight: int = 64,
    workers: int = 4,
    parallel: bool = True,
) -> Iterator[Service]:
    """Serves an artefact from a process of its own, for as long as the ``with`` block lasts.

    Args:
        artefact: a directory completed by ``write_artefact`` whose function returns a :class:`SlateEngine`.
        store: the address of an open store.
        store_timeout_ms: milliseconds after which the store counts as down.
        generator_ms: as in :func:`slate_app`, and so are the others.
        deadline_ms: see there.
        max_in_flight: see there.
        workers: see there.
        parallel: see there.

    Raises:
        ValueError: no such directory.
        RuntimeError: the replica did not start; the message has its last lines.
    """
    if not Path(artefact).is_dir():
        raise ValueError(f"artefact is {str(artefact)!r}: expected a directory made by write_artefact")
    options = {
        "artefact": artefact, "store-timeout-ms": store_timeout_ms, "generator-ms": generator_ms,
        "deadline-ms": deadline_ms, "max-in-flight": max_in_flight, "workers": workers, "parallel": int(parallel),
    }  # fmt: skip
    command = [sys.executable, "-m", "casebook.serve.slate"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    if store is not None:
        command += ["--store", store]
    with start_process(command) as service:
        yield service


def main() -> None:
    """One replica on an inherited socket, until told to stop or until whoever started it is gone."""
    parser = argparse.ArgumentParser(prog="python -m casebook.serve.slate", description="Serve pages.")
    parser.add_argument("--artefact", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="an inherited listening socket")
    parser.add_argument("--store", help="the address of an open store")
    for name in ("store-timeout-ms", "generator-ms", "deadline-ms"):
        parser.add_argument(f"--{name}", type=float, required=True)
    for name in ("max-in-flight", "workers", "parallel"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = vars(parser.parse_args())
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener, address, timeout = (options.pop(name) for name in ("fd", "store", "store_timeout_ms"))
    store = connect(address, timeout_s=timeout / 1000) if address else None
    engine, _ = read_artefact(options.pop("artefact"), SlateEngine)
    app = slate_app(engine, store=store, **options | {"parallel": bool(options["parallel"])})
    uvicorn_server(app).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    # By its name, because an artefact makes an engine of the class that it imports by that name.
    from casebook.serve import slate

    slate.main()
