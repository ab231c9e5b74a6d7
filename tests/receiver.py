"""A remote write receiver that remembers every sample to the bit, and misbehaves as it is told.

It runs in a thread of its own, so that tests may block on the process they watch; its record outlives that process
and its own `down()` and `up()`. What it does with a request is an `Answer`: those in `script` are used once each, in
their order, then `default` for all that follow.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import cramjam
from aiohttp import web

from exporters.remote_write import WRITTEN
from tests.decoding import Wire, decode_1, decode_2

Labels = tuple[tuple[str, str], ...]


def is_item(labels: Labels) -> bool:
    """Whether a series on the wire stands for an item of the ledger: of those of a histogram, the count does."""
    return not dict(labels)["__name__"].endswith(("_seconds_bucket", "_seconds_sum"))


class Incoming(NamedTuple):
    """A request that came in, decoded."""

    version: str
    headers: Mapping[str, str]
    wires: list[Wire]
    samples: int
    request: web.Request


class Seen(NamedTuple):
    """What is remembered of a request: when (monotonic), its version and samples, the status it got (0: none)."""

    at: float
    version: str
    samples: int
    status: int
    headers: Mapping[str, str]
    peer: object  # the other end of the connection


Answer = Callable[["Receiver", Incoming], Awaitable[web.StreamResponse]]


class Receiver:
    """`start` it, point an agent to `url`, look at `record`, `stop` it."""

    def __init__(self) -> None:
        self.record: dict[Labels, dict[int, int]] = {}  # series -> time in ms -> bits of the value
        self.requests: list[Seen] = []
        self.duplicates = 0  # samples that came again, identical
        self.conflicts: list[tuple[Labels, int, int, int]] = []  # came again with another value
        self.disorder: list[tuple[Labels, int, int]] = []  # first came after a later sample of their series
        self.script: deque[Answer] = deque()
        self.default: Answer = taken
        self.started = 0  # requests that came, answered or not
        self.port = 0
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)
        self._runner: web.AppRunner | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> Receiver:
        self._thread.start()
        self.up()
        return self

    def stop(self) -> None:
        self.down()
        self._call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._runner is None:
            self._call(self._up())

    def down(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            self._call(self._down())

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def _call(self, work: Any) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(timeout=20)

    async def _up(self) -> None:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/api/v1/write", self._receive)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def _cancel_all(self) -> None:
        """End the answers that are late on purpose."""
        late = asyncio.all_tasks() - {asyncio.current_task()}
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _down(self) -> None:
        runner, self._runner = self._runner, None
        assert runner is not None
        await runner.cleanup()

    # -- requests -------------------------------------------------------------------------------------------------

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        body = bytes(cramjam.snappy.decompress_raw(await request.read()))
        version = "2.0" if "write.v2" in request.headers["Content-Type"] else "1.0"
        wires = (decode_2 if version == "2.0" else decode_1)(body)
        incoming = Incoming(version, request.headers, wires, sum(len(wire.samples) for wire in wires), request)
        answer = self.script.popleft() if self.script else self.default
        status = 0
        with self._changed:
            self.started += 1
            self._changed.notify_all()
        try:
            response = await answer(self, incoming)
            status = response.status
        finally:
            with self._changed:
                self.requests.append(Seen(time.monotonic(), version, incoming.samples, status, request.headers, peer))
                self._changed.notify_all()
        return response

    def keep(self, incoming: Incoming) -> None:
        """Remember the samples of a request."""
        with self._changed:
            for wire in incoming.wires:
                known = self.record.setdefault(wire.labels, {})
                for value, when, _ in wire.samples:
                    self._keep(wire.labels, known, when, value)

    def _keep(self, labels: Labels, known: dict[int, int], when: int, value: int) -> None:
        if when in known:
            if known[when] == value:
                self.duplicates += 1
            else:
                self.conflicts.append((labels, when, known[when], value))
            return
        if known and when < (last := next(reversed(known))):
            self.disorder.append((labels, when, last))
        known[when] = value

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def items(self) -> int:
        """How many different items arrived, as the agent's ledger counts them."""
        return sum(len(samples) for labels, samples in self.record.items() if is_item(labels))

    def series(self, name: str, **labels: str) -> dict[int, int]:
        """The samples (time in ms -> bits) of the one series with this name and, among others, these labels."""
        wanted = {("__name__", name), *labels.items()}
        (found,) = [samples for series, samples in self.record.items() if wanted <= set(series)]
        return found

    def wait(self, condition: Callable[[], bool], seconds: float = 15.0, what: str = "the request") -> None:
        """Block until a condition about what arrived holds."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"{what} did not come; got {self.requests[-5:]}"


# -- answers ------------------------------------------------------------------------------------------------------


async def taken(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
    """204, with the counts that 2.0 asks for."""
    receiver.keep(incoming)
    histograms = sum(len(wire.histograms) for wire in incoming.wires)
    exemplars = sum(len(wire.exemplars) for wire in incoming.wires)
    counts = map(str, (incoming.samples, histograms, exemplars))
    return web.Response(
        status=204, headers=dict(zip(WRITTEN, counts, strict=True)) if incoming.version == "2.0" else {}
    )


async def speechless(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
    """200 without counts: what a receiver of 1.0 says to a 2.0 body that it takes for an empty 1.0 one."""
    if incoming.version == "1.0":
        receiver.keep(incoming)
    return web.Response(status=200)


def status(code: int, text: str = "no", **headers: str) -> Answer:
    """Always this status; `Retry_After="1"` becomes a header."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        return web.Response(status=code, text=text, headers={key.replace("_", "-"): v for key, v in headers.items()})

    return answer


def poisoned(bad: Callable[[Labels], bool], otherwise: Answer = taken) -> Answer:
    """400 for a request that holds such a series, and nothing of it is kept."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        found = [wire.labels for wire in incoming.wires if bad(wire.labels)]
        if found:
            return web.Response(status=400, text=f"invalid series {dict(found[0])}")
        return await otherwise(receiver, incoming)

    return answer


def small(most: int, otherwise: Answer = taken) -> Answer:
    """413 for more samples than that."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if incoming.samples > most:
            return web.Response(status=413, text="too large")
        return await otherwise(receiver, incoming)

    return answer


def old(otherwise: Answer = taken) -> Answer:
    """415 for everything but 1.0."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if incoming.version != "1.0":
            return web.Response(status=415, text="unsupported content type")
        return await otherwise(receiver, incoming)

    return answer


def guarded(token: str, otherwise: Answer = taken) -> Answer:
    """401 for everybody without the token."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if incoming.headers.get("Authorization") != f"Bearer {token}":
            return web.Response(status=401, text="who are you?")
        return await otherwise(receiver, incoming)

    return answer


def reset(*, keep: bool = False) -> Answer:
    """No answer but a reset connection; with `keep` after the samples were stored."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if keep:
            receiver.keep(incoming)
        transport = incoming.request.transport
        if transport is not None:
            linger = struct.pack("ii", 1, 0)  # close with RST instead of FIN
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        return web.Response(status=599)

    return answer


def hang(seconds: float, *, keep: bool = False) -> Answer:
    """No answer for so long, and then none that counts."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if keep:
            receiver.keep(incoming)
        await asyncio.sleep(seconds)
        return await reset()(receiver, incoming)

    return answer


def late(seconds: float, otherwise: Answer = taken) -> Answer:
    """A good answer, after a while."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await otherwise(receiver, incoming)

    return answer


def truncated(*, keep: bool = False, text: bytes = b"HTTP/1.1 20") -> Answer:
    """An answer that breaks off."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if keep:
            receiver.keep(incoming)
        transport = incoming.request.transport
        if transport is not None:
            transport.write(text)
            transport.close()
        return web.Response(status=599)

    return answer


def endless(code: int) -> Answer:
    """An answer whose body never ends; a success is stored."""

    async def answer(receiver: Receiver, incoming: Incoming) -> web.StreamResponse:
        if code < 300:
            receiver.keep(incoming)
        counts = dict.fromkeys(WRITTEN, str(incoming.samples)) if code < 300 else {}
        response = web.StreamResponse(status=code, headers=counts)
        await response.prepare(incoming.request)
        try:
            while True:
                await response.write(b"still going " * 1000)
        except (ConnectionError, OSError):
            return response

    return answer
