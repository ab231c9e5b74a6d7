"""Questions that may never be answered, such as `statvfs` on a dead network mount: no signal ends that call.

Each question runs in a daemon thread of a small pool, with a guard per name: what did not answer in time is not asked
again until the stuck call returns. Usually one thread answers all in a millisecond; another is hired only when the
queue does not move, so a dead mount holds one thread and nothing else.
Not chosen: `concurrent.futures`, whose threads the interpreter joins at exit: a dead mount would keep the agent from
ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

PATIENCE = 0.05  # seconds without an end after which another thread helps
MOST_THREADS = 32


class _Round(Generic[Answer]):
    """The questions of one call of `ask`, and who waits for them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.open = set(names)
        self.answers: dict[str, Answer] = {}
        self.done = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None

    def answered(self, name: str, answer: Answer) -> None:
        """From a worker, under its lock; only the last answer of a round wakes the loop."""
        self.answers[name] = answer
        self.open.discard(name)
        if not self.open and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.done.set)


class Asker(Generic[Answer]):
    """Asks `question(name)` for many names in threads, and never twice at once for the same name.

    The question must not raise: its failures are answers.
    """

    def __init__(
        self, question: Callable[[str], Answer], patience: float = PATIENCE, most_threads: int = MOST_THREADS
    ) -> None:
        self._question = question
        self._patience = patience
        self._most_threads = most_threads
        self._changed = threading.Condition()
        self._queue: deque[tuple[str, _Round[Answer]]] = deque()
        self._in_flight: set[str] = set()
        self._threads = 0
        self._idle = 0
        self._closed = False

    async def ask(self, names: Sequence[str], within: float) -> dict[str, Answer]:
        """The answers that came within `within` seconds; who is stuck from before is not asked and has none."""
        with self._changed:
            fresh = [name for name in dict.fromkeys(names) if name not in self._in_flight]
            turn: _Round[Answer] = _Round(fresh)
            self._queue.extend((name, turn) for name in fresh)
        if fresh:
            try:
                async with asyncio.timeout(within):
                    await self._settle(turn)
            except TimeoutError:
                pass  # what is missing in the answers says it
            finally:
                self._withdraw(turn)
        with self._changed:
            return dict(turn.answers)

    async def _settle(self, turn: _Round[Answer]) -> None:
        self._hire()
        timer = turn.loop.call_later(self._patience, self._press, turn)
        try:
            await turn.done.wait()
        finally:
            (turn.timer or timer).cancel()

    def _press(self, turn: _Round[Answer]) -> None:
        """Whoever works is stuck, or slow: another helps, as long as there is something to begin with."""
        if self._queue:
            self._hire()
            turn.timer = turn.loop.call_later(self._patience, self._press, turn)

    def _withdraw(self, turn: _Round[Answer]) -> None:
        with self._changed:
            self._queue = deque(entry for entry in self._queue if entry[1] is not turn)

    def _hire(self) -> None:
        with self._changed:
            if self._idle:
                self._changed.notify()
            elif self._threads < self._most_threads:
                self._threads += 1
                threading.Thread(target=self._work, name="nightjar-ask", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._idle -= 1
                if self._closed:
                    self._threads -= 1
                    return
                name, turn = self._queue.popleft()
                self._in_flight.add(name)
            answer = self._question(name)
            with self._changed:
                self._in_flight.discard(name)
                turn.answered(name, answer)

    def close(self) -> None:
        """Idle threads end; a stuck one ends when its call returns, and does not hold the process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
