"""The spool against a simple model of itself, in whatever order things happen."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent import spool as spools
from agent.model import MetricBatch
from agent.spool import Chunk, RejectedBatch
from tests.chaos.damage import damage
from tests.spools import METRICS, Opened, batch, same, series_set, settle

EXPORTERS = ("one", "two")
SETS = [series_set(3, "x"), series_set(20, "y"), series_set(150, "z")]
MAX_AGE = 1000.0


class Model(RuleBasedStateMachine):
    """What was written, and what each exporter got of it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp(prefix="spool-model-"))
        self.lives = 0
        self.number = 0
        self.written: dict[int, MetricBatch] = {}
        self.got: dict[str, list[int]] = {name: [] for name in EXPORTERS}
        self.accepted = dict.fromkeys(EXPORTERS, 0)
        self.rejected = dict.fromkeys(EXPORTERS, 0)
        self.corrupted = self.aged = False
        self.checkpoint = b""
        self.opened = Opened(self.place, max_age=MAX_AGE)

    @property
    def place(self) -> Path:
        return self.root / str(self.lives)

    def start(self) -> None:
        self.opened = Opened(self.place, self.opened.clocks, max_age=MAX_AGE)
        self.runner.run(self.opened.__aenter__())
        self.runner.run(self.opened.spool.attach([(name, METRICS) for name in EXPORTERS]))

    @initialize()
    def begin(self) -> None:
        self.start()

    @rule(sizes=st.lists(st.integers(0, 2), min_size=1, max_size=5))
    def append(self, sizes: list[int]) -> None:
        batches = []
        for size in sizes:
            self.number += 1
            batches.append(batch(SETS[size], self.number))
            self.written[self.number] = batches[-1]
        self.checkpoint = b"%d" % self.number
        self.runner.run(self.opened.spool.append(batches, [("source", "key", self.checkpoint)]))
        for name in EXPORTERS:
            self.accepted[name] += sum(map(len, batches))

    def fetch(self, name: str, max_items: int, after: Chunk | None = None) -> Chunk | None:
        return self.runner.run(self.opened.spool.fetch(name, METRICS, max_items, after=after))

    @rule(name=st.sampled_from(EXPORTERS), max_items=st.sampled_from((1, 30, 1000)))
    def deliver(self, name: str, max_items: int) -> None:
        if chunk := self.fetch(name, max_items):
            self.take(name, chunk)
            self.runner.run(settle(self.opened.spool, name, chunk))

    @rule(name=st.sampled_from(EXPORTERS), max_items=st.sampled_from((1, 30)))
    def deliver_two_read_ahead(self, name: str, max_items: int) -> None:
        if first := self.fetch(name, max_items):
            second = self.fetch(name, max_items, first)
            self.take(name, first)
            self.runner.run(settle(self.opened.spool, name, first))
            if second:
                assert not self.opened.spool.passed(name, METRICS, second)
                self.take(name, second)
                self.runner.run(settle(self.opened.spool, name, second))

    @rule(name=st.sampled_from(EXPORTERS), counted=st.booleans())
    def deliver_with_rejections(self, name: str, counted: bool) -> None:
        if not (chunk := self.fetch(name, 300)):
            return
        self.take(name, chunk)
        poison = chunk.batches[0].slice(0, 1)
        more: dict[str, object] = {"partial": {"bad": 1}}
        if not counted:
            stored = spools.encode(poison)
            letter = RejectedBatch(name, METRICS, poison.time_ms, 1, "bad", "no", stored.series, stored.payload)
            more = {"rejected": (letter,)}
        self.rejected[name] += 1
        delivered = sum(map(len, chunk.batches)) - 1
        self.runner.run(settle(self.opened.spool, name, chunk, delivered=delivered, **more))

    @rule(name=st.sampled_from(EXPORTERS))
    def read_and_forget_to_answer(self, name: str) -> None:
        if chunk := self.fetch(name, 100):
            self.look(chunk)

    def take(self, name: str, chunk: Chunk) -> None:
        self.look(chunk)
        self.got[name] += [one.time_ms for one in chunk.batches]

    def look(self, chunk: Chunk) -> None:
        assert all(same(one, self.written[one.time_ms]) for one in chunk.batches)

    @rule()
    def restart(self) -> None:
        self.runner.run(self.opened.spool.close())
        self.start()

    @rule()
    def crash(self) -> None:
        self.leave()
        self.start()

    @rule(seed=st.integers(0, 1 << 32))
    def crash_and_corrupt(self, seed: int) -> None:
        self.leave()
        damage(random.Random(seed), self.place)
        self.corrupted = True
        self.start()

    def leave(self) -> None:
        """Go on with a copy of the files as they stand, as after a kill."""
        old, self.lives = self.place, self.lives + 1
        shutil.copytree(old, self.place)
        self.runner.run(self.opened.spool.close())
        shutil.rmtree(old)

    @precondition(lambda self: self.written)
    @rule(part=st.floats(0.1, 1.5))
    def grow_old(self, part: float) -> None:
        self.opened.clocks.advance(MAX_AGE * part)
        self.aged = True

    @rule()
    def checkpoints_move_with_the_batches(self) -> None:
        found = self.runner.run(self.opened.spool.checkpoints("source"))
        if not self.corrupted and self.checkpoint:
            assert found == {"key": self.checkpoint}

    @invariant()
    def the_ledger_adds_up(self) -> None:
        for entry in self.opened.spool.entries():
            assert entry.balanced
            assert entry.accepted == self.accepted[entry.exporter], "accepted is what was acknowledged"
            assert entry.rejected == ({"bad": self.rejected[entry.exporter]} if self.rejected[entry.exporter] else {})
            allowed = {"corrupt"} if self.corrupted else set()
            allowed |= {"age"} if self.aged else set()
            assert set(entry.dropped) <= allowed
            got = sum(len(self.written[number]) for number in self.got[entry.exporter])
            assert entry.delivered + sum(entry.rejected.values()) == got, "what was delivered is what is booked"

    @invariant()
    def nothing_comes_twice_or_out_of_order(self) -> None:
        for numbers in self.got.values():
            assert numbers == sorted(set(numbers))

    def teardown(self) -> None:
        try:
            if self.lives or self.written or self.opened.spool.entries():
                for name in EXPORTERS:
                    while self.opened.spool.pending(name, METRICS):
                        self.deliver(name, 1000)
                        self.the_ledger_adds_up()
                self.nothing_comes_twice_or_out_of_order()
            self.runner.run(self.opened.spool.close())
        finally:
            self.runner.close()
            shutil.rmtree(self.root)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=int(os.environ.get("NIGHTJAR_MODEL_EXAMPLES", "25")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
