from __future__ import annotations

import asyncio

from cadwright.apps.http.jobs.fair_queue import FairQueue


def take_all(queue: FairQueue[str]) -> list[str]:
    async def take() -> list[str]:
        return [await queue.get() for _ in range(len(queue))]

    return asyncio.run(take())


def filled(*rows: tuple[str, str]) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for client, job in rows:
        queue.put(client, job)
    return queue


def test_clients_take_turns_and_keep_their_own_order() -> None:
    rows = [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("c", "c2")]
    expected = ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert filled(*rows).in_order() == expected
    assert take_all(filled(*rows)) == expected


def test_a_job_put_first_comes_first_and_one_removed_never() -> None:
    queue = filled(("a", "a1"), ("b", "b1"), ("b", "b2"))
    queue.put("b", "again", first=True)
    assert queue.remove("b1") and not queue.remove("b1")
    assert take_all(queue) == ["again", "a1", "b2"]


def test_who_waits_gets_what_comes_later() -> None:
    async def scenario() -> str:
        queue: FairQueue[str] = FairQueue()
        getting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put("a", "late")
        return await asyncio.wait_for(getting, 5)

    assert asyncio.run(scenario()) == "late"


def test_clear_gives_all_back_in_order() -> None:
    queue = filled(("a", "a1"), ("a", "a2"), ("b", "b1"))
    assert queue.clear() == ["a1", "b1", "a2"]
    assert len(queue) == 0
