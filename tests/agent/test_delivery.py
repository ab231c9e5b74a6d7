"""What becomes of a batch, verdict by verdict, on the real spool; and that the ledger balances whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backoff import AUTH_RETRY, BACKOFF_MOST, RETRY_AFTER_MOST, backoff, pause
from agent.delivery import Delivery
from agent.ledger import Entry
from agent.model import (
    Batch,
    Delivered,
    MetricBatch,
    Reencode,
    Rejected,
    Request,
    Retry,
    Series,
    SeriesSet,
    Signal,
    TooLarge,
)
from agent.spool import Limits, Spool
from tests.logged import capture_logs

METRICS = frozenset({Signal.METRICS})
Item = tuple[str, int]  # series name, time in ms


def batch(time_ms: int, names: Iterable[str]) -> MetricBatch:
    series = SeriesSet([Series(name, "gauge", "", "", (("host", "h"),)) for name in names])
    return MetricBatch("test", time_ms, series, [float(at) for at in range(len(series))])


def items(batches: Iterable[Batch]) -> list[Item]:
    return [(one.name, found.time_ms) for found in batches for one in found.series.series]


class FakeExporter:
    """Answers what `verdict` says of the items of a request."""

    signals = METRICS

    def __init__(
        self, verdict: Callable[[list[Item]], Delivered | None] | None = None, max_items: int = 10_000
    ) -> None:
        self.max_items = max_items
        self.verdict = verdict or (lambda request: None)
        self.unencodable: set[str] = set()
        self.requests: list[list[Item]] = []
        self.taken: list[Item] = []
        self.wait: Callable[[], Awaitable[None]] | None = None
        self.closed = False

    def encode(self, batches: Sequence[Batch]) -> Request:
        found = items(batches)
        if bad := self.unencodable & {name for name, _ in found}:
            raise KeyError(*bad)
        return Request(orjson.dumps(found))

    async def send(self, request: Request) -> Delivered:
        mine = [(name, time_ms) for name, time_ms in orjson.loads(request.body)]
        self.requests.append(mine)
        if self.wait is not None:
            await self.wait()
        answer = self.verdict(mine) or Delivered()
        self.taken += mine
        return answer

    async def close(self) -> None:
        self.closed = True


def in_turn(*answers: Exception | None) -> Callable[[list[Item]], None]:
    """Each answer once, then yes."""
    left = list(answers)

    def verdict(request: list[Item]) -> None:
        if left and (answer := left.pop(0)) is not None:
            raise answer

    return verdict


def refusing(*bad: str, reason: str = "bad_request") -> Callable[[list[Item]], None]:
    def verdict(request: list[Item]) -> None:
        if found := [name for name, _ in request if name in bad]:
            raise Rejected(f"{found[0]} is poison", reason=reason)

    return verdict


class Bench:
    """A spool and one exporter's delivery over it."""

    def __init__(self, spool: Spool, exporter: FakeExporter, now: float = 1_000.0) -> None:
        self.spool, self.exporter, self.now = spool, exporter, now
        self.delivery = Delivery(
            "mine", exporter, spool, wall=lambda: self.now, monotonic=lambda: self.now, draw=lambda: 0.0
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.delivery.run())

    async def deliver(self, *batches: MetricBatch) -> Entry:
        """Append the batches and wait until nothing is pending."""
        await self.spool.append(batches)
        if self.task is None:
            self.start()
        async with asyncio.timeout(60):
            await self.delivery.drain()
        return self.entry

    @property
    def entry(self) -> Entry:
        (entry,) = self.spool.entries()
        assert entry.balanced, entry
        return entry

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            self.task = None


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    one = Spool(tmp_path)
    await one.open()
    await one.attach([("mine", "metrics")])
    yield one
    await one.close()


@pytest.fixture
async def bench(spool: Spool) -> AsyncIterator[Bench]:
    one = Bench(spool, FakeExporter())
    yield one
    await one.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


# -- waiting ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_under_its_exponential_ceiling(attempt: int, drawn: float) -> None:
    assert 0.1 <= backoff(attempt, draw=lambda: drawn) <= min(BACKOFF_MOST, max(0.1, 2.0 ** min(attempt, 10)))


def test_backoff_is_spread_over_the_whole_range() -> None:
    assert [backoff(attempt, draw=lambda: 0.5) for attempt in (0, 1, 2, 5, 6, 50)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]
    assert backoff(50, draw=lambda: 0.0) == 0.1


@pytest.mark.parametrize(
    ("after", "drawn", "seconds"),
    [(None, 1.0, 1.0), (7.0, 1.0, 7.0), (0.0, 1.0, 1.0), (3600.0, 0.0, RETRY_AFTER_MOST), (5.0, 0.0, 5.0)],
)
def test_what_the_server_asks_for_is_waited_and_no_more_than_five_minutes(
    after: float | None, drawn: float, seconds: float
) -> None:
    assert pause(0, Retry("later", kind="429", after=after), draw=lambda: drawn) == seconds


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, AUTH_RETRY / 2), (1.0, AUTH_RETRY)])
def test_refused_credentials_wait_longer(drawn: float, seconds: float) -> None:
    assert pause(0, Retry("who are you?", kind="auth", auth=True), draw=lambda: drawn) == seconds


# -- taken and retried --------------------------------------------------------------------------------------------


async def test_what_is_taken_moves_the_cursor(bench: Bench) -> None:
    entry = await bench.deliver(batch(1, "abc"), batch(2, "abc"))
    assert (entry.accepted, entry.delivered, entry.pending) == (6, 6, 0)
    assert bench.exporter.taken == items([batch(1, "abc"), batch(2, "abc")])
    assert bench.delivery.last_ok == 1_000.0


async def test_order_is_kept_through_failures(bench: Bench) -> None:
    bench.exporter.max_items = 3
    bench.exporter.verdict = in_turn(None, Retry("busy", kind="5xx"), None, Retry("busy", kind="5xx"))
    batches = [batch(number, "ab") for number in range(10)]
    entry = await bench.deliver(*batches)
    assert entry.delivered == 20
    assert bench.exporter.taken == items(batches)


async def test_later_means_the_same_request_again(bench: Bench) -> None:
    bench.exporter.verdict = in_turn(Retry("busy", kind="5xx"), Retry("slow down", kind="429", after=0.05))
    entry = await bench.deliver(batch(1, "abc"))
    assert (entry.delivered, bench.delivery.retries, bench.delivery.failures) == (3, 2, 0)
    assert bench.exporter.requests == [items([batch(1, "abc")])] * 3
    assert bench.delivery.requests == {"5xx": 1, "429": 1, "ok": 1}


async def test_an_outage_is_logged_when_it_begins_and_ends(bench: Bench) -> None:
    bench.exporter.verdict = in_turn(*[Retry("busy", kind="5xx")] * 3)
    with capture_logs() as logs:
        await bench.deliver(batch(1, "a"))
        await bench.deliver(batch(2, "a"))
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "delivery failed; the data waits in the spool"),
        ("info", "the destination answers again"),
    ]


async def test_hurry_ends_the_wait(bench: Bench) -> None:
    bench.exporter.verdict = in_turn(Retry("come back tomorrow", kind="429", after=86_400))
    await bench.spool.append([batch(1, "a")])
    bench.start()
    await until(lambda: bench.delivery.failures == 1)
    assert bench.delivery.error == "come back tomorrow"
    bench.delivery.hurry()
    await bench.delivery.drain()
    assert bench.entry.delivered == 1


async def test_refused_credentials_show_until_they_are_taken(bench: Bench) -> None:
    bench.exporter.verdict = in_turn(Retry("who are you?", kind="auth", auth=True))
    await bench.spool.append([batch(1, "a")])
    bench.start()
    await until(lambda: bench.delivery.auth_failed)
    bench.delivery.hurry()
    await bench.delivery.drain()
    assert not bench.delivery.auth_failed


@pytest.mark.parametrize("defect", [RuntimeError("oops"), asyncio.CancelledError(), TimeoutError()])
async def test_a_defect_of_the_exporter_is_retried_and_told(bench: Bench, defect: BaseException) -> None:
    def verdict(request: list[Item]) -> None:
        if len(bench.exporter.requests) == 1:
            raise defect

    bench.exporter.verdict = verdict
    with capture_logs() as logs:
        entry = await bench.deliver(batch(1, "a"))
    assert entry.delivered == 1
    assert bench.delivery.requests == {"defect": 1, "ok": 1}
    assert "the exporter failed in a way it should not" in [entry["event"] for entry in logs]


# -- too large and other encodings --------------------------------------------------------------------------------


async def test_what_is_too_large_is_halved_until_it_fits(bench: Bench) -> None:
    def verdict(request: list[Item]) -> None:
        if len(request) > 30:
            raise TooLarge("too large")

    bench.exporter.verdict = verdict
    names = [f"m{number}" for number in range(100)]
    entry = await bench.deliver(batch(1, names))
    assert entry.delivered == 100
    assert [len(request) for request in bench.exporter.requests] == [100, 50, 25, 25, 50, 25, 25]
    assert bench.exporter.taken == [(name, 1) for name in names]


async def test_a_single_item_that_is_too_large_is_rejected(bench: Bench) -> None:
    def verdict(request: list[Item]) -> None:
        if "huge" in [name for name, _ in request]:
            raise TooLarge("too large for us")

    bench.exporter.verdict = verdict
    entry = await bench.deliver(batch(1, ["a", "huge", "b"]))
    assert (entry.delivered, entry.rejected) == (2, {"too_large": 1})


async def test_another_encoding_is_tried_at_once_and_for_a_while_only(bench: Bench) -> None:
    bench.exporter.verdict = in_turn(*[Reencode("try the older one")] * 6)
    entry = await bench.deliver(batch(1, "a"))
    assert entry.delivered == 1
    assert len(bench.exporter.requests) == 7
    assert bench.delivery.retries == 3  # after three changes of mind it counts as failing


# -- poison -------------------------------------------------------------------------------------------------------


async def test_bisecting_finds_exactly_the_poison_among_ten_thousand(bench: Bench) -> None:
    poison = {"m0", "m4999", "m5000", "m7777", "m9999"}
    bench.exporter.verdict = refusing(*poison)
    names = [f"m{number}" for number in range(10_000)]
    entry = await bench.deliver(batch(1, names))
    assert (entry.delivered, entry.rejected) == (9_995, {"bad_request": 5})
    assert sorted(bench.exporter.taken) == sorted((name, 1) for name in names if name not in poison)
    assert len(bench.exporter.requests) <= 2 * len(poison) * 14 + 1
    dead = await bench.spool.rejected()
    assert len(dead) == 5


async def test_poison_is_found_across_batches_and_the_rest_keeps_its_order(bench: Bench) -> None:
    bench.exporter.verdict = refusing("bad")
    batches = [batch(number, ["a", "bad", "b"]) for number in range(8)]
    entry = await bench.deliver(*batches)
    assert (entry.delivered, entry.rejected) == (16, {"bad_request": 8})
    for name in "ab":
        assert [when for found, when in bench.exporter.taken if found == name] == list(range(8))


async def test_a_backlog_with_one_poisoned_series_costs_one_search(bench: Bench) -> None:
    """Known poison is sent apart for the rest of the chunk: about two requests an item, not fourteen."""
    bench.exporter.verdict = refusing("bad")
    names = ["bad", *(f"m{number}" for number in range(99))]
    entry = await bench.deliver(*(batch(number, names) for number in range(100)))
    assert entry.rejected == {"bad_request": 100}
    assert len(bench.exporter.requests) < 2 * 14 + 2 * 100 + 2 * 14


async def test_suspects_are_sent_apart_the_next_time(bench: Bench) -> None:
    bench.exporter.verdict = refusing("bad")
    await bench.deliver(batch(1, ["a", "bad", "b"]))
    bench.exporter.requests.clear()
    await bench.deliver(batch(2, ["a", "bad", "b"]))
    assert bench.exporter.requests == [[("a", 2), ("b", 2)], [("bad", 2)]]


async def test_a_suspect_is_trusted_again_after_an_hour(bench: Bench) -> None:
    bench.exporter.verdict = refusing("bad")
    await bench.deliver(batch(1, ["a", "bad"]))
    bench.exporter.verdict = in_turn()
    bench.exporter.requests.clear()
    await bench.deliver(batch(2, ["a", "bad"]))
    bench.now += 3601
    await bench.deliver(batch(3, ["a", "bad"]))
    assert bench.exporter.requests == [[("a", 2)], [("bad", 2)], [("a", 3), ("bad", 3)]]


async def test_what_is_refused_as_a_whole_is_not_searched(bench: Bench) -> None:
    def verdict(request: list[Item]) -> None:
        raise Rejected("nothing of it", reason="bad_request", whole=True)

    bench.exporter.verdict = verdict
    entry = await bench.deliver(batch(1, "abc"), batch(2, "abc"))
    assert (entry.rejected, len(bench.exporter.requests)) == ({"bad_request": 6}, 1)
    assert bench.delivery.refused == "nothing of it"
    bench.exporter.verdict = in_turn()
    await bench.deliver(batch(3, "abc"))
    assert bench.delivery.refused == ""


async def test_what_cannot_be_encoded_is_rejected_alone_and_never_sent(bench: Bench) -> None:
    bench.exporter.unencodable = {"odd"}
    entry = await bench.deliver(batch(1, ["a", "odd", "b", "c"]))
    assert (entry.delivered, entry.rejected) == (3, {"encode": 1})
    assert "odd" not in [name for request in bench.exporter.requests for name, _ in request]


async def test_what_the_server_counts_as_left_out_is_rejected_and_not_sent_again(bench: Bench) -> None:
    bench.exporter.verdict = lambda request: Delivered({"partial_write": 2})
    entry = await bench.deliver(batch(1, "abcde"))
    assert (entry.delivered, entry.rejected, len(bench.exporter.requests)) == (3, {"partial_write": 2}, 1)


async def test_a_server_that_counts_more_than_it_was_sent_breaks_no_account(bench: Bench) -> None:
    bench.exporter.verdict = lambda request: Delivered({"partial_write": 99})
    entry = await bench.deliver(batch(1, "abc"))
    assert entry.delivered == 0
    assert sum(entry.rejected.values()) == 3
    assert bench.delivery.refused


async def test_an_answer_ends_an_outage_even_if_it_is_a_refusal(bench: Bench) -> None:
    bench.exporter.verdict = in_turn(Retry("busy", kind="5xx"), Rejected("no", reason="bad_request", whole=True))
    await bench.deliver(batch(1, "a"))
    assert (bench.delivery.failures, bench.delivery.last_ok) == (0, 0.0)


# -- reading ahead, eviction, signals -----------------------------------------------------------------------------


async def test_reading_ahead_skips_and_repeats_nothing(bench: Bench) -> None:
    bench.exporter.max_items = 7
    batches = [batch(number, "abcdefgh"[: number % 8 + 1]) for number in range(60)]
    for start in range(0, 60, 6):
        await bench.spool.append(batches[start : start + 6])
        bench.start() if bench.task is None else None
        await asyncio.sleep(0)
    await bench.delivery.drain()
    assert bench.exporter.taken == items(batches)
    assert bench.entry.delivered == len(items(batches))


async def test_a_chunk_that_the_spool_gives_up_under_way_is_let_go(spool: Spool) -> None:
    bench = Bench(spool, FakeExporter(max_items=2))
    bench.exporter.verdict = in_turn(Retry("down for long", kind="5xx", after=300.0))
    await spool.append([batch(1, "ab"), batch(2, "ab")])
    bench.start()
    await until(lambda: bench.delivery.failures == 1)
    assert await spool.purge("mine") == 4
    bench.delivery.hurry()
    entry = await bench.deliver(batch(3, "ab"))
    assert bench.exporter.taken == [("a", 3), ("b", 3)]
    assert (entry.delivered, entry.dropped) == (2, {"purged": 4})
    await bench.stop()


async def test_what_is_given_up_while_the_answer_is_on_its_way_is_counted_once(spool: Spool) -> None:
    bench = Bench(spool, FakeExporter())
    answer = asyncio.Event()
    bench.exporter.wait = lambda: answer.wait()  # type: ignore[assignment, return-value]
    await spool.append([batch(1, "ab")])
    bench.start()
    await until(lambda: bool(bench.exporter.requests))
    await spool.purge("mine")
    answer.set()
    entry = await bench.deliver(batch(2, "ab"))
    assert entry.accepted == 4
    assert bench.exporter.taken == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    await bench.stop()


async def test_an_outage_longer_than_the_spool_drops_the_oldest_and_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Limits(max_size=4 << 20, min_free=lambda total: 0))
    await spool.open()
    await spool.attach([("mine", "metrics")])
    bench = Bench(spool, FakeExporter(max_items=5_000))
    down = True

    def verdict(request: list[Item]) -> None:
        if down:
            raise Retry("down", kind="refused")

    bench.exporter.verdict = verdict
    bench.start()
    for number in range(300):
        noisy = batch(number, [f"m{one}" for one in range(2_000)])
        noisy.values = [float(hash((number, one)) % 2**48) / 7 for one in range(2_000)]
        await spool.append([noisy])
    down = False
    bench.delivery.hurry()
    async with asyncio.timeout(60):
        await bench.delivery.drain()
    entry = bench.entry
    assert entry.dropped.keys() == {"size"}
    times = list(dict.fromkeys(when for _, when in bench.exporter.taken))
    assert times == sorted(times)
    assert times[-1] == 299
    assert len(bench.exporter.taken) >= entry.delivered
    await bench.stop()
    await spool.close()


async def test_a_second_exporter_is_not_held_up_by_one_that_is_stuck(spool: Spool) -> None:
    stuck, fine = FakeExporter(), FakeExporter()
    stuck.wait = lambda: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await spool.attach([("other", "metrics")])
    tasks = [asyncio.create_task(Delivery(name, one, spool).run()) for name, one in (("mine", stuck), ("other", fine))]
    await spool.append([batch(1, "ab")])
    await until(lambda: not spool.pending("other", "metrics"))
    assert spool.pending("mine", "metrics") == 2
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_two_signals_are_both_delivered(spool: Spool) -> None:
    class Log(MetricBatch):
        """A batch of another signal; the spool asks for nothing else."""

        signal = Signal.LOGS  # type: ignore[misc, assignment]

    exporter = FakeExporter()
    exporter.signals = frozenset({Signal.METRICS, Signal.LOGS})
    await spool.attach([("mine", "logs")])
    bench = Bench(spool, exporter)
    line = batch(2, "l")
    await spool.append([batch(1, "a"), Log("logs", 2, line.series, line.values)])
    bench.start()
    await bench.delivery.drain()
    assert [(entry.signal, entry.delivered) for entry in spool.entries()] == [("metrics", 1), ("logs", 1)]


async def test_what_was_not_settled_is_sent_again_after_a_restart(spool: Spool) -> None:
    bench = Bench(spool, FakeExporter())
    bench.exporter.wait = lambda: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    await spool.append([batch(1, "ab")])
    bench.start()
    await until(lambda: bool(bench.exporter.requests))
    await bench.stop()
    again = Bench(spool, FakeExporter())
    assert (await again.deliver()).delivered == 2
    await again.stop()


# -- the end ------------------------------------------------------------------------------------------------------


async def test_the_end_waits_for_the_request_under_way_and_no_longer(bench: Bench) -> None:
    answer = asyncio.Event()
    bench.exporter.wait = lambda: answer.wait()  # type: ignore[assignment, return-value]
    await bench.spool.append([batch(1, "a")])
    bench.start()
    await until(lambda: bench.delivery.sending_since > 0)
    await bench.delivery.finish_request(0.01, since=bench.now)
    assert bench.delivery.sending_since > 0
    waiting = asyncio.create_task(bench.delivery.finish_request(60, since=bench.now))
    answer.set()
    await waiting
    assert bench.delivery.sending_since == 0


async def test_an_exporter_that_ignores_its_cancellation_does_not_hold_up_the_end(bench: Bench) -> None:
    free = asyncio.Event()

    async def stubborn() -> None:
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await free.wait()

    bench.exporter.wait = stubborn
    await bench.spool.append([batch(1, "a")])
    bench.start()
    await until(lambda: bool(bench.exporter.requests))
    async with asyncio.timeout(5):
        await bench.stop()
        await bench.delivery.close()
    assert bench.exporter.closed
    free.set()


async def test_an_exporter_that_fails_to_close_is_told_and_no_more(bench: Bench) -> None:
    async def close() -> None:
        raise RuntimeError("stuck door")

    bench.exporter.close = close  # type: ignore[method-assign]
    with capture_logs() as logs:
        await bench.delivery.close()
    assert [entry["error"] for entry in logs] == ["RuntimeError: stuck door"]


# -- everything at once -------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["ok", "retry", "large", "reject", "partial", "reencode", "defect"]), max_size=25))
def test_the_ledger_balances_and_nothing_is_lost_whatever_the_answers(
    tmp_path_factory: pytest.TempPathFactory, answers: list[str]
) -> None:
    verdicts: dict[str, Exception] = {
        "retry": Retry("later", kind="5xx"),
        "large": TooLarge("too large"),
        "reject": Rejected("no", reason="bad_request"),
        "reencode": Reencode("other"),
        "defect": RuntimeError("oops"),
    }
    left = list(answers)

    def verdict(request: list[Item]) -> Delivered | None:
        answer = left.pop(0) if left else "ok"
        if answer in verdicts:
            raise verdicts[answer]
        return Delivered({"partial_write": 1}) if answer == "partial" else None

    async def story() -> None:
        spool = Spool(tmp_path_factory.mktemp("spool"))
        await spool.open()
        await spool.attach([("mine", "metrics")])
        bench = Bench(spool, FakeExporter(verdict, max_items=4))
        bench.task = asyncio.create_task(bench.delivery.run())
        hurried = asyncio.create_task(hurry(bench.delivery))
        entry = await bench.deliver(*(batch(number, "abc") for number in range(4)))
        assert entry.accepted == 12 == entry.delivered + sum(entry.rejected.values())
        assert len(set(bench.exporter.taken)) >= entry.delivered
        hurried.cancel()
        await bench.stop()
        await spool.close()

    with capture_logs():
        asyncio.run(story())


async def hurry(delivery: Delivery) -> None:
    while True:
        await asyncio.sleep(0.001)
        delivery.hurry()


async def test_a_settlement_that_fails_ends_the_delivery_loudly(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(settlement: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(spool, "settle", broken)
    await spool.append([batch(1, "ab")])
    with pytest.raises(RuntimeError, match="a defect"):
        async with asyncio.timeout(10):
            await Delivery("mine", FakeExporter(), spool).run()


# -- a destination that cannot be the right one ---------------------------------------------------------------------


def refuse_all(found: list[Item]) -> None:
    raise Rejected("unsupported path", reason="bad_request")


async def test_a_destination_that_refuses_even_nothing_keeps_the_data_waiting(spool: Spool) -> None:
    exporter = FakeExporter(refuse_all)
    exporter.probe = lambda: exporter.encode(())  # type: ignore[attr-defined]
    bench = Bench(spool, exporter)
    await spool.append([batch(1, ["a", "b", "c"]), batch(2, ["a"])])
    bench.start()
    await until(lambda: bench.delivery.failures == 1)
    assert "see the option `url`" in bench.delivery.error
    assert (bench.entry.pending, bench.entry.rejected) == (4, {})
    assert exporter.requests == [[("a", 1), ("b", 1), ("c", 1), ("a", 2)], []]
    exporter.verdict = lambda found: None
    bench.delivery.hurry()
    async with asyncio.timeout(10):
        await bench.delivery.drain()
    assert bench.entry.delivered == 4
    await bench.stop()


async def test_a_destination_that_takes_nothing_at_least_is_believed(spool: Spool) -> None:
    """It is the data then: asked once, and the poison goes its way."""
    exporter = FakeExporter(lambda found: refuse_all(found) if found else None)
    exporter.probe = lambda: exporter.encode(())  # type: ignore[attr-defined]
    bench = Bench(spool, exporter)
    assert (await bench.deliver(batch(1, ["a", "b"]), batch(2, ["a"]))).rejected == {"bad_request": 3}
    assert exporter.requests.count([]) == 1
    await bench.stop()


async def test_a_destination_that_took_something_is_not_asked(spool: Spool) -> None:
    exporter = FakeExporter()
    exporter.probe = lambda: exporter.encode(())  # type: ignore[attr-defined]
    bench = Bench(spool, exporter)
    await bench.deliver(batch(1, ["a"]))
    exporter.verdict = refuse_all
    assert (await bench.deliver(batch(2, ["a"]))).rejected == {"bad_request": 1}
    assert [] not in exporter.requests
    await bench.stop()


@pytest.mark.parametrize("hiccup", [Retry("503", kind="5xx"), TooLarge("413"), Reencode("415")])
async def test_one_hiccup_is_no_proof_that_the_destination_is_right(spool: Spool, hiccup: Exception) -> None:
    asked = 0

    def answer(found: list[Item]) -> None:
        nonlocal asked
        asked += not found
        if not found and asked == 1:
            raise hiccup
        refuse_all(found)

    exporter = FakeExporter(answer)
    exporter.probe = lambda: exporter.encode(())  # type: ignore[attr-defined]
    bench = Bench(spool, exporter)
    await spool.append([batch(1, ["a", "b", "c"])])
    bench.start()
    await until(lambda: bench.delivery.failures == 1)
    if not isinstance(hiccup, Reencode):
        bench.delivery.hurry()
        await until(lambda: bench.delivery.failures == 2 or bench.entry.pending == 0)
    assert (bench.entry.pending, bench.entry.rejected) == (3, {})
    await bench.stop()
