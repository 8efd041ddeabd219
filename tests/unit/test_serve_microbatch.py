"""Micro-batches: who is worked on together, who waits how long, and what happens when the work fails."""

import asyncio
import threading
import time

import pytest

from casebook.serve.microbatch import MicroBatcher


def gathered(work, items, *, window_ms=0.0, most=16, gap_s=0.0):
    """What each of these items gets, submitted one after the other."""

    async def main():
        batcher = MicroBatcher(work, window_ms=window_ms, most=most)
        tasks = []
        for item in items:
            tasks.append(asyncio.create_task(batcher.submit(item)))
            await asyncio.sleep(gap_s)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.close()
        return found

    return asyncio.run(main())


def test_each_item_gets_its_own_result():
    found = gathered(lambda items: [10 * i for i in items], range(7), window_ms=20, most=3)
    assert [one.result for one in found] == [10 * i for i in range(7)]
    assert [one.size for one in found] == [3, 3, 3, 3, 3, 3, 1]


def test_no_window_waits_for_nobody_and_a_window_for_those_who_come_in_time():
    work = lambda items: list(items)  # noqa: E731
    assert [one.size for one in gathered(work, range(3), window_ms=0, gap_s=0.03)] == [1, 1, 1]
    found = gathered(work, range(3), window_ms=150, gap_s=0.01)
    assert [one.size for one in found] == [3, 3, 3]
    assert found[0].waited_s > 0.1 > found[2].waited_s - found[0].waited_s


def test_a_full_batch_does_not_wait_for_its_window():
    begun = time.perf_counter()
    found = gathered(lambda items: list(items), range(4), window_ms=5_000, most=4)
    assert {one.size for one in found} == {4}
    assert time.perf_counter() - begun < 2


def test_what_arrives_while_a_batch_is_at_work_forms_the_next():
    def slow(items):
        time.sleep(0.1)
        return list(items)

    assert [one.size for one in gathered(slow, range(4), gap_s=0.01)] == [1, 3, 3, 3]


def test_one_batch_at_a_time():
    lock, overlaps = threading.Lock(), []

    def work(items):
        overlaps.append(not lock.acquire(blocking=False))
        time.sleep(0.02)
        lock.release()
        return list(items)

    gathered(work, range(6), most=2, gap_s=0.001)
    assert not any(overlaps)


def test_a_failure_reaches_all_of_its_batch_and_no_other():
    def work(items):
        if 1 in items:
            raise KeyError("one")
        return list(items)

    found = gathered(work, range(4), window_ms=20, most=2)
    assert [isinstance(one, KeyError) for one in found] == [True, True, False, False]


def test_a_wrong_number_of_results_is_an_error():
    found = gathered(lambda items: [1], range(2), window_ms=20, most=2)
    assert all("expected one for each of 2 items" in str(one) for one in found)


def test_an_item_whose_caller_gave_up_is_left_out():
    seen = []

    def work(items):
        seen.append(list(items))
        time.sleep(0.05)
        return list(items)

    async def main():
        batcher = MicroBatcher(work, window_ms=0, most=4)
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.sleep(0.01)
        gone = asyncio.create_task(batcher.submit(1))
        stays = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.gather(first, stays)
        batcher.close()

    asyncio.run(main())
    assert seen == [[0], [2]]


@pytest.mark.parametrize("bad", [{"window_ms": -1.0, "most": 1}, {"window_ms": 0.0, "most": 0}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        MicroBatcher(list, **bad)
