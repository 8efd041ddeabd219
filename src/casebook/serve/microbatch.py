"""Micro-batching: requests that arrive together are worked on together, without waiting long for one another."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from casebook import validate

__all__ = ["Batched", "MicroBatcher"]

T = TypeVar("T")
R = TypeVar("R")


class Batched(NamedTuple, Generic[R]):
    """A result, the seconds that its item waited before its batch began, and how many items the batch had."""

    result: R
    waited_s: float
    size: int


class MicroBatcher(Generic[T, R]):
    """Gathers items into batches for a function that costs nearly as much for one as for several.

    A batch begins when it is full or when its first item has waited for the window, whichever comes first, and never
    while another is at work: items that arrive then gather by themselves, and have waited already when it is done. One
    thread does the work, so the event loop stays free. An item whose caller has given up before the batch begins is
    left out of it.

    Args:
        work: from a list of items to a list of as many results, in order. Runs in the batcher's thread.
        window_ms: milliseconds for which the first item of a batch may wait for others; 0 waits for nobody.
        most: items in a batch.

    Raises:
        ValueError: a negative window, or batches of fewer than one item.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], *, window_ms: float, most: int) -> None:
        self._work = work
        self._window_s = validate.number("window_ms", window_ms, least=0) / 1000
        self._most = validate.positive_int("most", most)
        self._waiting: deque[tuple[T, asyncio.Future[Batched[R]], float]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._full = asyncio.Event()
        self._collector: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> Batched[R]:
        """The item's result, once its batch is done.

        Raises:
            Exception: what the work raised, for every item of the batch; RuntimeError for a wrong number of results.
        """
        future: asyncio.Future[Batched[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future, time.perf_counter()))
        if len(self._waiting) >= self._most:
            self._full.set()
        if self._collector is None or self._collector.done():
            self._collector = asyncio.create_task(self._collect())
        return await future

    def close(self) -> None:
        """Ends the thread, when what it works on is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _collect(self) -> None:
        while self._waiting:
            await self._wait_for_more()
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            wanted = [entry for entry in batch if not entry[1].done()]  # done: its caller has given up
            if wanted:
                await self._run(wanted)

    async def _wait_for_more(self) -> None:
        self._full.clear()
        left = self._waiting[0][2] + self._window_s - time.perf_counter()
        if left > 0 and len(self._waiting) < self._most:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._full.wait()

    async def _run(self, batch: list[tuple[T, asyncio.Future[Batched[R]], float]]) -> None:
        begun, items = time.perf_counter(), [item for item, _, _ in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)
            if len(results) != len(items):
                raise RuntimeError(f"work returned {len(results)} results: expected one for each of {len(items)} items")
        except Exception as error:
            for _, future, _ in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future, submitted), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(Batched(result, begun - submitted, len(batch)))
