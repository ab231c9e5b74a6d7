"""Questions in threads: who is stuck holds one thread and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from agent.asker import Asker


class Questioned:
    """Answers with the name in capitals; a name in `stuck` waits until it is let go."""

    def __init__(self, *stuck: str) -> None:
        self.let_go = threading.Event()
        self.stuck = set(stuck)
        self.asked: list[str] = []
        self.returned = threading.Event()

    def __call__(self, name: str) -> str:
        self.asked.append(name)
        if name in self.stuck:
            self.let_go.wait(30)
            self.returned.set()
        return name.upper()


@pytest.fixture
def questioned() -> Iterator[Questioned]:
    made = Questioned("dead", "gone")
    yield made
    made.let_go.set()


@pytest.fixture
def asker(questioned: Questioned) -> Iterator[Asker[str]]:
    made: Asker[str] = Asker(questioned, patience=0.01)
    yield made
    made.close()


async def test_all_questions_are_answered(asker: Asker[str]) -> None:
    assert await asker.ask(["a", "b", "c"], 5) == {"a": "A", "b": "B", "c": "C"}


async def test_nothing_to_ask_starts_no_thread(asker: Asker[str]) -> None:
    assert await asker.ask([], 5) == {}
    assert asker._threads == 0


async def test_one_thread_is_enough_while_nobody_is_stuck(asker: Asker[str]) -> None:
    for _ in range(20):
        await asker.ask(["a", "b", "c"], 5)
    assert asker._threads == 1


async def test_a_stuck_question_leaves_the_others_their_answers(asker: Asker[str]) -> None:
    assert await asker.ask(["dead", "a", "gone", "b"], 0.2) == {"a": "A", "b": "B"}


async def test_a_stuck_question_is_not_asked_again_until_it_returns(asker: Asker[str], questioned: Questioned) -> None:
    await asker.ask(["dead"], 0.05)
    assert await asker.ask(["dead", "a"], 5) == {"a": "A"}
    assert questioned.asked.count("dead") == 1
    questioned.let_go.set()
    await asyncio.to_thread(questioned.returned.wait, 5)
    while "dead" not in (answers := await asker.ask(["dead", "a"], 5)):
        assert answers == {"a": "A"}
    assert questioned.asked.count("dead") == 2


async def test_stuck_threads_are_bounded_and_what_had_no_thread_is_asked_later() -> None:
    questioned = Questioned("x", "y", "z")
    asker: Asker[str] = Asker(questioned, patience=0.005, most_threads=2)
    assert await asker.ask(["x", "y", "z", "a"], 0.1) == {}
    assert asker._threads == 2
    assert set(questioned.asked) == {"x", "y"}
    questioned.let_go.set()
    while "a" not in await asker.ask(["a"], 1):
        pass
    asker.close()


async def test_a_cancelled_round_leaves_the_asker_usable(asker: Asker[str], questioned: Questioned) -> None:
    waiting = asyncio.create_task(asker.ask(["dead"], 30))
    while not questioned.asked:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asker.ask(["a"], 5) == {"a": "A"}


async def test_the_threads_are_daemons_that_do_not_hold_the_process(asker: Asker[str]) -> None:
    await asker.ask(["dead"], 0.02)
    mine = [thread for thread in threading.enumerate() if thread.name == "nightjar-ask"]
    assert mine
    assert all(thread.daemon for thread in mine)
