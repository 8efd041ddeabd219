"""Search by image over HTTP: crop, cache, encode and search in micro-batches, re-rank, and an answer in time.

What a request meets, in order: admission (a bounded number in flight, the rest shed with 503), validation (422), a
version that it may insist on (409), the crop, a cache of near duplicates, the micro-batcher (encode, search, re-rank,
in a thread), and a deadline (the fallback answers when it passes or when the encoder fails). A service whose encoder
and index are of different versions does not start. ``python -m casebook.serve.imagesearch`` is one replica, in a
process of its own; :func:`start_search` starts it.
"""

import argparse
import asyncio
import base64
import binascii
import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from casebook import validate
from casebook.serve.artefact import read_artefact
from casebook.serve.http import Admission, Metrics, add_operations
from casebook.serve.latency import Stages
from casebook.serve.microbatch import MicroBatcher
from casebook.serve.nearcache import NearDuplicateCache, perceptual_hash
from casebook.serve.replica import end_with_parent
from casebook.serve.run import Service, start_process, uvicorn_server

__all__ = [
    "SearchAnswer", "SearchEngine", "SearchRequest", "VersionMismatch", "body_of", "search_app", "start_search",
]  # fmt: skip

MAX_SIDE = 128
MAX_FOUND = 100

Reason = Literal["deadline exceeded", "encoder failed"]
Array = NDArray[Any]
Side = Annotated[int, Field(ge=4, le=MAX_SIDE)]
At = Annotated[int, Field(ge=0, le=MAX_SIDE)]

log = logging.getLogger(__name__)


class VersionMismatch(Exception):
    """The encoder of queries is not the one that embedded the catalogue."""


@dataclass(frozen=True)
class SearchEngine:
    """What a search service serves: functions, and which encoder each half belongs to.

    Attributes:
        crop: from an image, shape (height, width, 3) of uint8, and a box (top, left, height, width) or None, to what
            is encoded, of one shape for all images.
        encode: from crops, shape (n, ...), to vectors, shape (n, dimensions).
        search: from vectors and a number k to catalogue ids, shape (n, k), best first; -1 for none.
        rerank: from a vector and its ids, shape (k,), to the ids in their final order.
        fallback: from a crop and k to ids, without the encoder. Runs on the event loop: a look-up.
        encoder: version of the encoder of queries.
        indexed_by: version of the encoder that made the vectors in the index.
    """

    crop: Callable[[Array, Sequence[int] | None], Array]
    encode: Callable[[Array], Array]
    search: Callable[[Array, int], Array]
    rerank: Callable[[Array, Array], Array]
    fallback: Callable[[Array, int], Array]
    encoder: str
    indexed_by: str

    def checked(self) -> Self:
        """The engine, if its two halves speak of the same space.

        Raises:
            VersionMismatch: they do not. Vectors of two encoders have the same shape and no common meaning, so nothing
                else would notice.
        """
        if self.encoder != self.indexed_by:
            raise VersionMismatch(f"queries by encoder {self.encoder}, index by encoder {self.indexed_by}")
        return self


class SearchRequest(BaseModel):
    """A photo, where to look in it, and how many products to return."""

    model_config = ConfigDict(strict=True, extra="forbid")

    image: Annotated[str, Field(max_length=4 * MAX_SIDE * MAX_SIDE + 4)]
    height: Side
    width: Side
    box: Annotated[list[At], Field(min_length=4, max_length=4)] | None = None
    k: Annotated[int, Field(ge=1, le=MAX_FOUND)] = 10
    encoder: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.box is not None:
            top, left, height, width = self.box
            if min(height, width) < 4 or top + height > self.height or left + width > self.width:
                raise ValueError(f"box {self.box} is small or leaves the image of {self.height} by {self.width}")
        self.pixels()
        return self

    def pixels(self) -> Array:
        """The image, shape (height, width, 3), uint8."""
        try:
            raw = base64.b64decode(self.image, validate=True)
        except binascii.Error as error:
            raise ValueError("image is not base64") from error
        if len(raw) != 3 * self.height * self.width:
            raise ValueError(f"image has {len(raw)} bytes: expected {self.height} x {self.width} x 3")
        return np.frombuffer(raw, dtype=np.uint8).reshape(self.height, self.width, 3)


class SearchAnswer(BaseModel):
    """Catalogue ids, best first (named ``scores``, which the load generator keeps), and how they came about.

    ``ms`` has milliseconds by stage; an answer from the cache has no ``encode``.
    """

    scores: list[int]
    degraded: bool
    reason: Reason | None
    version: str
    ms: dict[str, float]


def body_of(image: Array, **more: Any) -> dict[str, Any]:
    """The body of a request: an image of shape (height, width, 3), uint8, and any other field.

    Raises:
        ValueError: another shape or type.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}: expected uint8, (height, width, 3)")
    encoded = base64.b64encode(image.tobytes()).decode()
    return {"image": encoded, "height": image.shape[0], "width": image.shape[1], **more}


@dataclass(frozen=True)
class _Found:
    ids: list[int]
    seconds: dict[str, float]


def _batch_work(engine: SearchEngine) -> Callable[[Sequence[tuple[Array, int]]], list[_Found]]:
    """Encode and search once for all of a batch; each request is charged the whole time, for it waited all of it."""

    def work(items: Sequence[tuple[Array, int]]) -> list[_Found]:
        stages = Stages()
        with stages("encode"):
            vectors = engine.encode(np.stack([crop for crop, _ in items]))
        with stages("search"):
            rows = engine.search(vectors, max(k for _, k in items))
        with stages("rerank"):
            ranked = [
                engine.rerank(vector, row[row >= 0])[:k]
                for vector, row, (_, k) in zip(vectors, rows, items, strict=True)
            ]
        seconds = {name: ms / 1000 for name, ms in stages.ms.items()}
        return [_Found([int(i) for i in ids], seconds) for ids in ranked]

    return work


def search_app(
    engine: SearchEngine,
    *,
    window_ms: float = 0.0,
    most: int = 16,
    cache_size: int = 0,
    cache_radius: int = 2,
    deadline_ms: float = 150.0,
    max_in_flight: int = 64,
) -> FastAPI:
    """A service that searches: ``POST /score``, ``GET /healthz``, ``GET /metrics``.

    Stages of an answer, in milliseconds: ``parse``, ``crop``, ``cache``, ``wait`` (for the batch), ``encode``,
    ``search``, ``rerank``, ``total``; stages that were not reached are absent.

    Args:
        engine: what is served.
        window_ms: how long the first image of a batch may wait for others.
        most: images in a batch.
        cache_size: near duplicates remembered; 0 for no cache.
        cache_radius: bits of the perceptual hash that may differ.
        deadline_ms: milliseconds from admission after which the fallback answers.
        max_in_flight: searches admitted at once; more are shed.

    Raises:
        VersionMismatch: the encoder is not the one that the index was made with.
        ValueError: a number out of range.
    """
    engine = engine.checked()
    deadline_s = validate.number("deadline_ms", deadline_ms, above=0) / 1000
    limit = validate.positive_int("max_in_flight", max_in_flight)
    batcher = MicroBatcher(_batch_work(engine), window_ms=window_ms, most=most)
    cache: NearDuplicateCache[list[int]] | None = None
    if validate.positive_int("cache_size", cache_size, least=0):
        cache = NearDuplicateCache(cache_size, radius=cache_radius)
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()

    app = FastAPI(title="Search by image", version=engine.encoder, lifespan=lifespan)
    app.add_middleware(Admission, limit=limit, metrics=metrics)

    def answer(ids: Sequence[int], reason: Reason | None, stages: Stages, arrived: float) -> SearchAnswer:
        ms = {**stages.ms, "total": 1000 * (time.perf_counter() - arrived)}
        for stage, value in ms.items():
            metrics.stages.labels(stage).observe(value / 1000)
        metrics.requests.labels("degraded" if reason else "ok").inc()
        return SearchAnswer(
            scores=[int(i) for i in ids], degraded=reason is not None, reason=reason, version=engine.encoder, ms=ms
        )

    @app.post("/score", response_model=SearchAnswer)
    async def score(request: SearchRequest, http: Request) -> SearchAnswer | Response:
        arrived: float = http.scope["casebook.arrived"]
        if request.encoder not in (None, engine.encoder):
            metrics.requests.labels("refused").inc()
            return JSONResponse({"error": f"encoder {request.encoder} asked for, {engine.encoder} served"}, 409)
        stages = Stages()
        stages.add("parse", time.perf_counter() - arrived)
        with stages("crop"):
            crop = engine.crop(request.pixels(), request.box)
        key = None
        if cache is not None:
            with stages("cache"):
                key = perceptual_hash(crop)
                known = cache.get(key)
            if known is not None and len(known) >= request.k:
                return answer(known[: request.k], None, stages, arrived)
        reason: Reason
        try:
            async with asyncio.timeout(arrived + deadline_s - time.perf_counter()):
                found = await batcher.submit((crop, request.k))
        except TimeoutError:
            reason = "deadline exceeded"
        except Exception:
            log.exception("the encoder or the index failed; the fallback answers")
            reason = "encoder failed"
        else:
            stages.add("wait", found.waited_s)
            for stage, seconds in found.result.seconds.items():
                stages.add(stage, seconds)
            if cache is not None and key is not None:
                cache.put(key, found.result.ids)
            return answer(found.result.ids, None, stages, arrived)
        with stages("fallback"):
            ids = engine.fallback(crop, request.k)
        return answer(ids.tolist(), reason, stages, arrived)

    def health() -> dict[str, str]:
        return {"status": "ok", "encoder": engine.encoder, "indexed_by": engine.indexed_by}

    add_operations(app, metrics, health, repeat_input=False)
    return app


@contextlib.contextmanager
def start_search(
    artefact: Path,
    *,
    window_ms: float = 0.0,
    most: int = 16,
    cache_size: int = 0,
    cache_radius: int = 2,
    deadline_ms: float = 150.0,
    max_in_flight: int = 64,
) -> Iterator[Service]:
    """Serves an artefact from a process of its own, for as long as the ``with`` block lasts.

    Args:
        artefact: a directory completed by ``write_artefact`` whose function returns a :class:`SearchEngine`.
        window_ms: as in :func:`search_app`, and so are the others.
        most: see there.
        cache_size: see there.
        cache_radius: see there.
        deadline_ms: see there.
        max_in_flight: see there.

    Raises:
        ValueError: no such directory.
        RuntimeError: the replica did not start; the message has its last lines, such as those of a version mismatch.
    """
    if not Path(artefact).is_dir():
        raise ValueError(f"artefact is {str(artefact)!r}: expected a directory made by write_artefact")
    options = {
        "artefact": artefact, "window-ms": window_ms, "most": most, "cache-size": cache_size,
        "cache-radius": cache_radius, "deadline-ms": deadline_ms, "max-in-flight": max_in_flight,
    }  # fmt: skip
    command = [sys.executable, "-m", "casebook.serve.imagesearch"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with start_process(command) as service:
        yield service


def main() -> None:
    """One replica on an inherited socket, until told to stop or until whoever started it is gone."""
    parser = argparse.ArgumentParser(prog="python -m casebook.serve.imagesearch", description="Serve an image search.")
    parser.add_argument("--artefact", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="an inherited listening socket")
    for name in ("window-ms", "deadline-ms"):
        parser.add_argument(f"--{name}", type=float, required=True)
    for name in ("most", "cache-size", "cache-radius", "max-in-flight"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = vars(parser.parse_args())
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = options.pop("fd")
    try:
        app = search_app(read_artefact(options.pop("artefact"), SearchEngine)[0], **options)
    except VersionMismatch as error:
        sys.exit(f"refused: {error}")
    uvicorn_server(app).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    # By its name, because an artefact makes an engine of the class that it imports by that name.
    from casebook.serve import imagesearch

    imagesearch.main()
