"""TCP: whether a port takes connections, speaks TLS, and answers as expected."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from agent.model import Sample, gauge
from agent.patterns import compile_pattern
from collectors.probes.link import Failed, Family, Link, Reason, Resolver, open_link, words
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.outcome import REGEX, Settled, late_reason, link_samples
from collectors.probes.rules import TCP
from collectors.probes.targets import Targets, idle_faults, target_faults
from collectors.probes.tls import parse_target
from collectors.probes.trust import Trust
from config import ClientOptions, Secret, reveal

CONNECT = gauge("probe_tcp_connect_seconds", "How long the connection took.", "instance")
METRICS = (*COMMON, REGEX, CONNECT)
HEARD = 64 << 10  # bytes of an answer that are looked at
QUIET = 0.02  # seconds without more of it, after which it is


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A turn of the conversation: what is sent, then a regular expression that must be found in what comes back."""

    send: str | Secret = ""  # it may log in
    expect: str = ""


class Tcp:
    """The prober."""

    class Options(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[collectors.tcp]`."""

        targets: tuple[str, ...] = ()
        targets_file: str | None = None
        tls: bool = False
        steps: tuple[Step, ...] = ()
        family: Family = "any"
        fail_after: Annotated[int, Meta(ge=1)] = 1
        recover_after: Annotated[int, Meta(ge=1)] = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            faults = [*target_faults(self.targets, self.targets_file, target_fault)]
            faults += idle_faults(self)
            for step in self.steps:
                try:
                    compile_pattern(step.expect.encode())
                except ValueError as error:
                    faults.append(f"steps: {step.expect!r} is no regular expression: {error}")
            if faults:
                raise ValueError(*faults)

    job = "blackbox"
    remote = True
    module = True
    rules = TCP

    def __init__(self, options: Tcp.Options) -> None:
        self._options = options
        self._targets = Targets(options.targets, options.targets_file, target_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._trust = Trust(options)
        self._links: dict[str, Link] = {}  # of this round
        self._steps = [(reveal(step.send).encode(), compile_pattern(step.expect.encode())) for step in options.steps]

    async def targets(self) -> Sequence[str]:
        """The places of this round."""
        found = await self._targets.now()
        self._settled.keep(set(found))
        self._links.clear()
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One connection and its conversation."""
        started, reason = time.perf_counter(), None
        link: Link | None = None
        try:
            link = self._links[target] = await self._open(target)
            if self._options.tls:
                host = parse_target(target)[1]
                await self._trust.secure(link, host, lambda: self._open(target))
            await self._talk(link)
        except Failed as failed:
            reason = failed.reason
        finally:
            if link is not None:
                link.close()
        return self._samples(target, time.perf_counter() - started, reason)

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A connection without an end: what it had shown until it was cut off."""
        return self._samples(target, seconds, late_reason(self._links.get(target)))

    async def close(self) -> None:
        """Let the resolver's threads go."""
        self._targets.close()
        self._resolver.close()

    def _samples(self, target: str, seconds: float, reason: Reason | None) -> list[Sample]:
        samples = [*self._settled.samples(target, seconds, reason), REGEX(float(reason == "body"), target)]
        if (link := self._links.pop(target, None)) is not None:
            samples += [CONNECT(link.connect, target), *link_samples(target, link)]
        return samples

    async def _open(self, target: str) -> Link:
        _, host, port = parse_target(target)
        return await open_link(self._resolver, host, port, self._options.family)

    async def _talk(self, link: Link) -> None:
        try:
            heard = Heard(link.reader)
            for send, expect in self._steps:
                if send:
                    link.writer.write(send)
                    await link.writer.drain()
                await heard.until(expect)
        except OSError as error:
            raise Failed("reset", words(error)) from None


class Heard:
    """What came and was not passed over yet."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._text = b""
        self._within = False  # whether the text begins within a line that was matched
        self._ended = False

    async def until(self, expect: Any) -> None:
        """Read until a pattern is found, and pass over what it took with the rest of its line; raises `Failed`."""
        while not self._passed(expect):
            if self._ended or len(self._text) >= HEARD:
                raise Failed("body", "what was expected did not come")
            self._text += await self._more()

    def _passed(self, expect: Any) -> bool:
        starts = [0]
        if self._within and (line := self._text.find(b"\n") + 1):
            starts.append(line)
        for start in starts:
            if (found := expect.search(self._text[start:])) is not None:
                self._pass(start + found.end())
                return True
        return False

    def _pass(self, end: int) -> None:
        if end == 0:  # nothing was asked for
            return
        line = end if self._text[end - 1 : end] == b"\n" else self._text.find(b"\n", end) + 1
        self._within, self._text = not line, self._text[line or end :]

    async def _more(self) -> bytes:
        """What comes next. Small pieces are gathered, or a search from the start for each would take very long."""
        pieces = bytearray(await self._reader.read(HEARD))
        self._ended = not pieces
        with contextlib.suppress(TimeoutError):
            while not self._ended and len(pieces) < min(len(self._text) // 8, HEARD - len(self._text)):
                async with asyncio.timeout(QUIET):
                    piece = await self._reader.read(HEARD)
                pieces += piece
                self._ended = not piece
        return bytes(pieces)


def target_fault(target: str) -> str:
    """What is wrong with a target; empty when it can be probed."""
    try:
        protocol, _, _ = parse_target(target)
    except ValueError as error:
        return f"is no target: {error}"
    return 'is no target: expected "host:port"' if protocol else ""
