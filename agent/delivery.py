"""Delivery: one task an exporter takes what is pending, in order, until the destination has given its verdict on it.

What an answer means is the exporter's to say (`Retry`, `Rejected`, `TooLarge`, `Reencode`); what follows from it is
decided here, once for all destinations:

* retried for ever, with full jitter of 1 s at first and 60 s at last, or as long as the server asks (at most five
  minutes); the limits of the spool are the only end;
* refused credentials wait longer, and turn readiness red;
* too large: halved and sent again;
* rejected: bisected until the poison stands alone, which goes to the dead letters with the server's words. Series
  that were poison are sent apart for a while, also for the rest of the chunk they were found in, so that they do not
  cost a bisection every round. A destination that never took anything and refuses an empty request, too, is not the
  right one: the data waits, for a mistyped URL must not empty a spool.

One request is under way at a time, so the order within a series is kept; the next chunk is read and encoded meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from agent.backoff import pause
from agent.histogram import Observations
from agent.logs import get_logger
from agent.model import Batch, Delivered, Exporter, Reencode, Rejected, Request, Retry, TooLarge
from agent.source import Source
from agent.spool import Chunk, Settlement
from agent.suspects import Suspects, halves
from agent.verdict import Verdict

REENCODE_MOST = 3  # an exporter that keeps changing its mind is retried like a failing one
TELLING = 60.0  # seconds between log lines about refusals for one reason; the ledger counts each
BLAMED = frozenset({"3xx", "4xx", "config", "misdirected", "protocol"})  # kinds of failures that no waiting mends
MISDIRECTED = 60.0  # seconds between attempts at a destination that cannot be the right one
CLOSING = 2.0  # seconds an exporter gets to let go of its connections

log = get_logger("delivery")


class Loaded(Struct, frozen=True):
    """A chunk that was read, and its request when it could be encoded whole."""

    chunk: Chunk | None
    request: Request | None = None


class Abandoned(Exception):
    """The spool gave up the chunk under way; nothing is left to deliver of it."""


class Delivery:
    """Everything between the spool and one exporter. `run` does not end."""

    def __init__(
        self,
        name: str,
        exporter: Exporter,
        spool: Source,
        *,
        timeout: float = 30.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.exporter, self._spool = name, exporter, spool
        self.timeout = timeout  # what the exporter gives one request, in seconds
        self._wall, self._monotonic, self._draw = wall, monotonic, draw
        self.signals = [signal.value for signal in exporter.signals]
        self.requests: dict[str, int] = {}
        self.retries = 0
        self.failures = 0  # in a row
        self.failing_since = 0.0  # Unix time; 0 when the last attempt did not fail
        self.error = ""
        self.refused = ""  # the destination's words when it refused all of the last chunk
        self.auth_failed = False
        self.misconfigured = False  # by the last failure's kind
        self.last_ok = 0.0
        self.latency = Observations((0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400))
        self.progress = 0
        self.sending_since = 0.0  # monotonic; 0 when no request is under way
        self._right = False  # the destination took something, if only an empty request
        self._suspects = Suspects(monotonic)
        self._told: dict[str, float] = {}  # by reason: when a refusal is worth a log line again
        self._most_items = exporter.max_items  # less, once the destination called a request too large
        self._settling: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()  # no request under way
        self._idle.set()
        self._drained = asyncio.Event()  # nothing pending

    async def run(self) -> None:
        """Deliver for ever. While a request is under way the next one is read and encoded, the last one settled."""
        ahead: dict[str, asyncio.Task[Loaded]] = {}
        try:
            while True:
                if not ahead:
                    await self._settled()
                if not any(self._spool.pending(self.name, signal) for signal in self.signals):
                    self._drained.set()
                signal = await self._spool.wait(self.name, self.signals)
                self._drained.clear()
                early = ahead.pop(signal, None)
                loaded = await (early or self._load(signal, None))
                if loaded.chunk is None:
                    await self._settled()
                    if early is None:
                        await asyncio.sleep(1.0)  # the disk cannot be read now
                elif not self._passed(signal, loaded.chunk):
                    if self._more(signal, loaded.chunk):
                        ahead[signal] = self._load(signal, loaded.chunk)
                    await self._deliver(signal, loaded.chunk, loaded.request)
        finally:
            for task in ahead.values():
                task.cancel()
            await self._settled()

    def _more(self, signal: str, chunk: Chunk) -> bool:
        """Whether something may follow a chunk; while a cursor is on its way that is worth a look."""
        pending = self._spool.pending(self.name, signal)
        return self._settling is not None or pending > chunk.total - chunk.start

    def _load(self, signal: str, after: Chunk | None) -> asyncio.Task[Loaded]:
        return asyncio.create_task(self._read_and_encode(signal, after), name=f"read for {self.name}")

    async def _read_and_encode(self, signal: str, after: Chunk | None) -> Loaded:
        chunk = await self._spool.fetch(self.name, signal, self._most_items, after=after)
        if chunk is None or self._suspects:
            return Loaded(chunk)
        try:
            return Loaded(chunk, self._encode(chunk.batches))
        except (Rejected, TooLarge):  # found again, and judged, when it is offered
            return Loaded(chunk)

    def _passed(self, signal: str, chunk: Chunk) -> bool:
        """Whether the spool gave part of the chunk up; while a cursor is on its way its place says nothing."""
        return (self._settling is None or self._settling.done()) and self._spool.passed(self.name, signal, chunk)

    async def _deliver(self, signal: str, chunk: Chunk, request: Request | None) -> None:
        verdict = Verdict()
        try:
            await self._offer_apart(chunk.batches, verdict, lambda: self._passed(signal, chunk), request)
        except Abandoned:
            return
        self.refused = verdict.refusal
        now = self._wall()
        for batch in chunk.batches:
            self.latency.observe(max(0.0, now - batch.time_ms / 1000), len(batch))
        settle = self._settle(self._settling, signal, chunk, verdict)
        self._settling = asyncio.create_task(settle, name=f"settle for {self.name}")

    async def _settle(self, before: asyncio.Task[None] | None, signal: str, chunk: Chunk, verdict: Verdict) -> None:
        """Book a chunk's verdict, after that of the chunk before."""
        if before is not None:
            await before
        await self._spool.settle(
            Settlement(
                self.name,
                signal,
                chunk.seq,
                chunk.total,
                delivered=verdict.delivered,
                rejected=tuple(verdict.rejected),
                partial=verdict.partial,
            )
        )
        self.progress += 1

    async def _settled(self) -> None:
        """Wait for the settlements under way; what failed there fails here."""
        if self._settling is not None:
            await asyncio.shield(self._settling)  # a verdict that was given is booked, also on the way out
            self._settling = None

    # -- one part of a chunk --------------------------------------------------------------------------------------

    async def _offer_apart(
        self,
        batches: Sequence[Batch],
        verdict: Verdict,
        gone: Callable[[], bool],
        request: Request | None = None,
    ) -> None:
        """Get a verdict on these batches, on the series that were poison lately by themselves.

        `request` is their encoding, if there is one already.
        """
        for part in self._suspects.apart(batches):
            await self._offer(part, verdict, gone, request if part is batches else None)

    async def _offer(
        self,
        batches: Sequence[Batch],
        verdict: Verdict,
        gone: Callable[[], bool],
        request: Request | None = None,
    ) -> None:
        """Get a verdict on these batches, whatever it takes."""
        items = sum(map(len, batches))
        try:
            answer = await self._until_answered(batches, gone, request)
        except TooLarge as error:
            if items == 1:
                self._reject(batches[0], Rejected(str(error), reason="too_large"), verdict)
                return
            self._most_items = min(self._most_items, max(1, items // 2))
            for half in halves(batches):
                await self._offer_apart(half, verdict, gone)
        except Rejected as error:
            if items == 1 or error.whole:
                for batch in batches:
                    self._reject(batch, error, verdict)
                return
            for half in halves(batches):
                await self._offer_apart(half, verdict, gone)
        else:
            verdict.take(items, answer)
            if answer.rejected:
                self._tell(", ".join(answer.rejected), answer.message, "the rest was taken")

    async def _until_answered(
        self, batches: Sequence[Batch], gone: Callable[[], bool], request: Request | None
    ) -> Delivered:
        """Send until there is an answer other than "later"; raises `TooLarge`, `Rejected` or `Abandoned`."""
        attempt = reencoded = 0
        while True:
            if gone():
                raise Abandoned
            try:
                answer = await self._try(request or self._encode(batches))
            except Reencode as change:
                request = None
                reencoded += 1
                log.info("encoding changed", exporter=self.name, reason=str(change))
                if reencoded <= REENCODE_MOST:
                    continue
                await self._wait(attempt, Retry(str(change), kind="encoding"))
            except Retry as later:
                await self._wait(attempt, later)
            else:
                self._worked()
                return answer
            attempt += 1

    async def _try(self, request: Request) -> Delivered:
        """Send. A refusal is believed once the destination took something, if only a request without any item: until
        then it is asked to take one, and `Retry` is raised while it does not.
        """
        try:
            return await self._send(request)
        except Rejected as refused:
            probe = getattr(self.exporter, "probe", None)
            if not self._right and probe is not None:
                await self._ask_for_nothing(probe(), refused)
            self._answered()
            raise

    async def _ask_for_nothing(self, probe: Request, refused: Rejected) -> None:
        try:
            await self._send(probe)
        except (Rejected, TooLarge) as nor_that:
            words = f"{nor_that}; that was an empty request, and it never took anything: see the option `url`"
            raise Retry(words, kind="misdirected", after=MISDIRECTED) from refused
        self._right = True

    def _encode(self, batches: Sequence[Batch]) -> Request:
        """The request; a batch that cannot be encoded is a rejected one, not the end of delivery."""
        try:
            return self.exporter.encode(batches)
        except (Rejected, TooLarge):
            raise
        except Exception as error:  # a plugin's defect must not stop everything behind this batch
            raise Rejected(f"{type(error).__name__}: {error}", reason="encode") from error

    async def _send(self, request: Request) -> Delivered:
        self.sending_since = self._monotonic()
        self._idle.clear()
        # A task of its own: an exporter that does not let itself be cancelled is left behind.
        task = asyncio.create_task(self.exporter.send(request), name=f"send {self.name}")
        try:
            await asyncio.wait({task})
        finally:
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # looked at, whoever waits
            task.cancel()
            self.sending_since = 0.0
            self.progress += 1
            self._idle.set()
        return self._judge(task)

    def _judge(self, task: asyncio.Task[Delivered]) -> Delivered:
        """The answer; raises the exporter's verdict, and `Retry` for a defect of the exporter's."""
        try:
            answer = task.result()
        except Retry as later:
            self._count(later.kind)
            raise
        except (Rejected, TooLarge, Reencode) as verdict:
            self._count(verdict.reason if isinstance(verdict, Rejected) else type(verdict).__name__)
            if not isinstance(verdict, Rejected):  # which is to be believed first
                self._answered()
            raise
        except (Exception, asyncio.CancelledError) as error:  # we did not cancel it: we would not be here
            self._count("defect")
            log.exception("the exporter failed in a way it should not", exporter=self.name)
            raise Retry(f"{type(error).__name__}: {error}", kind="defect") from error
        self._count("ok")
        return answer

    def _count(self, kind: str) -> None:
        self.requests[kind.lower()] = self.requests.get(kind.lower(), 0) + 1

    def _worked(self) -> None:
        self._right = True
        self.last_ok = self._wall()
        self._answered()

    def _answered(self) -> None:
        if self.failures:
            log.info("the destination answers again", exporter=self.name, after_failures=self.failures)
        self.failures, self.failing_since, self.error = 0, 0.0, ""
        self.auth_failed = self.misconfigured = False

    async def _wait(self, attempt: int, later: Retry) -> None:
        """Wait before the next attempt; `hurry` ends the wait."""
        seconds = pause(attempt, later, draw=self._draw)
        if not self.failures or later.auth is not self.auth_failed:
            log.warning(
                "delivery failed; the data waits in the spool",
                exporter=self.name,
                error=str(later),
                retry_in_s=round(seconds, 1),
            )
        self.failing_since = self.failing_since or self._wall()
        self.failures += 1
        self._drained.set()  # not so, but whoever waits for it should not wait for this
        self.retries += 1
        self.error, self.auth_failed, self.misconfigured = str(later), later.auth, later.kind in BLAMED
        self.progress += 1
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def finish_request(self, seconds: float, since: float) -> None:
        """Wait until no request is under way; its verdict is then booked, or taken anew. A request gets so long,
        counted from `since` (monotonic) or, if that was later, from its own start.
        """
        left = max(self.sending_since, since) + seconds - self._monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.0)):
                await self._idle.wait()

    async def drain(self, *, hopefully: bool = False) -> None:
        """Wait until nothing is pending; `hopefully`: or until an attempt fails."""
        while any(self._spool.pending(self.name, signal) for signal in self.signals):
            if hopefully and self.failures:
                return
            self._drained.clear()
            await self._drained.wait()

    async def close(self) -> None:
        """Let the exporter go, once `run` has ended."""
        task = asyncio.create_task(self._farewell(), name=f"close {self.name}")
        await asyncio.wait({task}, timeout=CLOSING)
        task.cancel()

    async def _farewell(self) -> None:
        try:
            await self.exporter.close()
        except Exception as error:  # noqa: BLE001  # a plugin's farewell stops neither a reload nor the end
            log.warning("the exporter failed to close", exporter=self.name, error=f"{type(error).__name__}: {error}")

    def hurry(self) -> None:
        """Try again now instead of after the backoff."""
        self._wake.set()

    # -- poison ---------------------------------------------------------------------------------------------------

    def _tell(self, reason: str, words: str, outcome: str) -> None:
        """Log a refusal, not more often than once in a while for each reason."""
        now = self._monotonic()
        if now >= self._told.get(reason, now):
            self._told[reason] = now + TELLING
            log.warning(
                f"the destination refused data for good; {outcome}",
                exporter=self.name,
                reason=reason,
                answer=words[:300],
            )

    def _reject(self, batch: Batch, error: Rejected, verdict: Verdict) -> None:
        self._tell(error.reason, str(error), "it is kept with the dead letters")
        verdict.refuse(self.name, batch, error)
        if len(batch) == 1:
            self._suspects.add(batch.series.series[0])
