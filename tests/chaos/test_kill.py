"""`kill -9` at any moment loses nothing that was accepted, sends nothing that was not, and the ledger knows it.

What was accepted is taken from the spool's file itself after every kill (from a copy, so that the recovery is left to
the agent), and at the end from the ledger: every different sample that arrived plus every one refused for good must
be exactly what was accepted. `NIGHTJAR_KILLS` sets the rounds.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from agent.ledger import Entry
from agent.model import STALE, STALE_BYTES, Histogram, MetricBatch
from agent.spool.offline import Offline, replay
from tests import plugins, receiver
from tests.decoding import bits
from tests.receiver import Answer, Incoming, Labels, Receiver, is_item
from tests.running import Running, eventually

ROUNDS = int(os.environ.get("NIGHTJAR_KILLS", "12"))
SERIES = 20
STALE_BITS = int.from_bytes(STALE_BYTES, "little")
Key = tuple[Labels, int]

CONFIG = """
[agent]
interval = "{interval}"
[spool]
min_free = "0%"
[collectors.numbers]
run = {run}
series = {series}
poison = true
[exporters.remote_write]
url = "{url}"
timeout = "500ms"
max_samples = {most}
"""


def told(value: object) -> float:
    """A value's one number: of a histogram, its count."""
    if isinstance(value, Histogram):
        return value.counts[-1]
    assert isinstance(value, float)
    return value


def is_poison(labels: Labels) -> bool:
    return ("__name__", "poison") in labels


def refusing(otherwise: Answer = receiver.taken) -> Answer:
    """Poison is refused, whatever else the receiver does."""
    return receiver.poisoned(is_poison, otherwise)


class Whims:
    """Answers well or in any bad way, by chance."""

    def __init__(self, chance: random.Random, well: float) -> None:
        self._chance, self._well = chance, well
        self.bad: dict[str, Answer] = {
            "500": receiver.status(500),
            "503": receiver.status(503),
            "429": receiver.status(429, Retry_After="1"),
            "413": receiver.small(30, refusing()),
            "415": receiver.old(refusing()),
            "reset": receiver.reset(),
            "stored, then reset": refusing(receiver.reset(keep=True)),
            "hang": receiver.hang(2.0),
            "stored, then hang": refusing(receiver.hang(2.0, keep=True)),
            "truncated": receiver.truncated(),
            "stored, then truncated": refusing(receiver.truncated(keep=True)),
        }
        self.had: Counter[str] = Counter()

    async def __call__(self, to: Receiver, incoming: Incoming) -> web.StreamResponse:
        if self._chance.random() < self._well:
            return await refusing()(to, incoming)
        name = self._chance.choice(list(self.bad))
        self.had[name] += 1
        return await self.bad[name](to, incoming)


class Story:
    """One state directory through many lives, and all that is known of what was accepted."""

    def __init__(self, folder: Path, to: Receiver, chance: random.Random) -> None:
        self.folder, self.to, self.chance = folder, to, chance
        self.agent = Running(folder, plugins=plugins.install(folder / "plugins"))
        self.accepted: dict[Key, int] = {}  # seen in the spool, with the bits of the value
        self.last: Entry | None = None
        self.phases: Counter[str] = Counter()
        self.lives = 0
        self.whims = Whims(chance, 0.5)

    # -- ways to die ----------------------------------------------------------------------------------------------

    def at_start(self) -> None:
        self.start(ready=False)
        time.sleep(self.chance.uniform(0.0, 0.9))

    def at_work(self) -> None:
        self.to.up()
        self.start()
        time.sleep(self.chance.uniform(0.0, 1.2))

    def in_an_outage(self) -> None:
        self.to.down()
        self.start()
        time.sleep(self.chance.uniform(0.0, 1.2))

    def catching_up(self) -> None:
        self.to.down()
        self.start()
        time.sleep(self.chance.uniform(0.3, 0.8))
        self.to.up()
        time.sleep(self.chance.uniform(0.0, 1.0))

    def in_a_shutdown(self) -> None:
        self.to.up()
        self.start()
        time.sleep(self.chance.uniform(0.2, 0.6))
        self.agent.signal(signal.SIGTERM)
        time.sleep(self.chance.uniform(0.0, 0.4))

    def in_a_reload(self) -> None:
        self.to.up()
        self.start()
        time.sleep(self.chance.uniform(0.1, 0.4))
        self.configure()
        self.agent.signal(signal.SIGHUP)
        time.sleep(self.chance.uniform(0.0, 0.3))

    # -- lives ----------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        self.lives += 1  # a reload begins the numbers anew, as a start does
        interval, most = self.chance.choice(["100ms", "150ms", "200ms"]), self.chance.choice([50, 500, 10_000])
        self.agent.configure(
            CONFIG.format(interval=interval, run=self.lives, series=SERIES, url=self.to.url, most=most)
        )

    def start(self, *, ready: bool = True) -> None:
        self.configure()
        self.agent.start(ready=ready)

    def round(self) -> None:
        """A life and its sudden end; then a look at what it left."""
        self.to.default = self.chance.choice([refusing(), self.whims, self.whims])
        ways = [self.at_start, self.at_work, self.in_an_outage, self.catching_up, self.in_a_shutdown, self.in_a_reload]
        way: Callable[[], None] = self.chance.choice(ways)
        way()
        self.phases[way.__name__.replace("_", " ")] += 1
        self.agent.kill()
        self.look()

    def look(self) -> None:
        """Read the dead agent's spool."""
        if not (self.agent.state / "spool.db").exists():
            return
        copy = self.folder / "copy"
        shutil.copytree(self.agent.state, copy, ignore=shutil.ignore_patterns("*.sock"))
        with Offline(copy) as spool:
            assert spool.fault == ""
            assert spool.verify() == []
            entries = spool.entries()
        for batch in replay(copy / "spool.db"):
            assert isinstance(batch, MetricBatch)
            self.note(batch)
        for entry in entries:
            self.check(entry)
        shutil.rmtree(copy)

    def note(self, batch: MetricBatch) -> None:
        for series, value in zip(batch.series.series, batch.values, strict=True):
            name = f"{series.name}_count" if series.kind == "histogram" else series.name
            labels = tuple(sorted((("__name__", name), *series.labels)))
            found = STALE_BITS if value is STALE else bits(told(value))
            assert self.accepted.setdefault((labels, batch.time_ms), found) == found

    def check(self, entry: Entry) -> None:
        assert entry.balanced, entry
        assert entry.dropped == {}, entry
        if self.last is not None:
            assert entry.accepted >= self.last.accepted, "what was accepted went back"
            assert entry.delivered >= self.last.delivered, "what was delivered went back"
        self.last = entry

    def finish(self) -> None:
        """A last life with a good receiver, until nothing is pending."""
        self.to.up()
        self.to.default = refusing()
        self.start()
        eventually(lambda: self.agent.ledger()["pending"] < 2_000, "catching up", 120)
        assert self.agent.stop() == 0
        self.look()


def check_numbers(to: Receiver) -> int:
    """Every value is what the collector said at that round, and no round is missing; answers the rounds."""
    rounds: dict[int, list[int]] = defaultdict(list)
    heads = to.series("number", at="0")
    series = {at: to.series("number", at=str(at)) for at in range(SERIES)}
    plain = {bits(float(run * 1_000_000 + n)): (run, n) for run in range(1, 2_000) for n in range(1, 200)}
    for when in sorted(heads):
        if heads[when] == STALE_BITS:
            continue
        run, number = plain[heads[when]]
        rounds[run].append(number)
        for at, samples in series.items():
            assert samples.get(when) == bits(plugins.number(run, number, at))
    for run, numbers in rounds.items():
        assert numbers == list(range(1, len(numbers) + 1)), f"run {run} has a hole: {numbers}"
    return sum(map(len, rounds.values()))


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_nothing_that_was_accepted_is_lost_by_kill_9(tmp_path: Path) -> None:
    seed = int(os.environ.get("NIGHTJAR_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"NIGHTJAR_SEED={seed}")
    with Receiver() as to:
        story = Story(tmp_path, to, random.Random(seed))
        try:
            for _ in range(ROUNDS):
                story.round()
            story.finish()
        finally:
            story.agent.close()
        assert story.last is not None
        arrived = {
            (tuple(sorted(labels)), when): value
            for labels, found in to.record.items()
            if is_item(labels)
            for when, value in found.items()
        }
        wanted = {key: value for key, value in story.accepted.items() if not is_poison(key[0])}
        missing = [key for key in wanted if key not in arrived]
        changed = [key for key, value in wanted.items() if arrived.get(key, value) != value]
        rejected = sum(story.last.rejected.values())
        print(f"{ROUNDS} kills: {dict(story.phases)}")
        print(f"bad answers: {dict(story.whims.had)}")
        print(
            f"accepted {story.last.accepted}, arrived {len(arrived)}, refused as poison {rejected}, again (identical) "
            f"{to.duplicates}, seen in the spool {len(wanted)}, missing {len(missing)}, "
            f"changed {len(changed)}, in conflict {len(to.conflicts)}, out of order {len(to.disorder)}"
        )
        assert (missing, changed, to.conflicts, to.disorder) == ([], [], [], [])
        assert story.last.pending == 0
        assert len(arrived) == story.last.delivered
        assert len(arrived) + rejected == story.last.accepted
        assert not any(is_poison(labels) for labels in to.record)
        print(f"rounds of numbers without a hole: {check_numbers(to)}")
