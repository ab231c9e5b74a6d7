"""TCP: whether a port takes connections, speaks TLS, and answers as expected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from agent.model import Sample, gauge
from agent.patterns import compile_pattern
from collectors.probes.link import Failed, Family, Link, Resolver, open_link, words
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.outcome import REGEX, Settled, link_samples
from collectors.probes.targets import Targets, idle_faults
from collectors.probes.tls import parse_target
from collectors.probes.trust import Trust
from config import ClientOptions

CONNECT = gauge("probe_tcp_connect_seconds", "How long the connection took.", "instance")
METRICS = (*COMMON, REGEX, CONNECT)
HEARD = 64 << 10  # bytes of an answer that are looked at


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A turn of the conversation: what is sent, then a regular expression that must be found in what comes back."""

    send: str = ""
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
            faults = [f"targets: {target!r} {fault}" for target in self.targets if (fault := target_fault(target))]
            faults += idle_faults(self)
            if not self.targets and self.targets_file is None:
                faults.append("targets: one of `targets` and `targets_file` is needed")
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

    def __init__(self, options: Tcp.Options) -> None:
        self._options = options
        self._targets = Targets(options.targets, options.targets_file, target_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._trust = Trust(options)
        self._steps = [(step.send.encode(), compile_pattern(step.expect.encode())) for step in options.steps]

    async def targets(self) -> Sequence[str]:
        """The places of this round."""
        found = self._targets.now()
        self._settled.keep(set(found))
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One connection and its conversation."""
        started, reason = time.perf_counter(), None
        link: Link | None = None
        try:
            link = await self._open(target)
            if self._options.tls:
                host = parse_target(target)[1]
                await self._trust.secure(link, host, lambda: self._open(target))
            await self._talk(link)
        except Failed as failed:
            reason = failed.reason
        finally:
            if link is not None:
                link.close()
        samples = [*self._settled.samples(target, time.perf_counter() - started, reason)]
        samples.append(REGEX(float(reason == "body"), target))
        if link is not None:
            samples += [CONNECT(link.connect, target), *link_samples(target, link)]
        return samples

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A connection without an end."""
        return self._settled.samples(target, seconds, "timeout")

    async def close(self) -> None:
        """Let the resolver's threads go."""
        self._resolver.close()

    async def _open(self, target: str) -> Link:
        _, host, port = parse_target(target)
        return await open_link(self._resolver, host, port, self._options.family)

    async def _talk(self, link: Link) -> None:
        try:
            for send, expect in self._steps:
                if send:
                    link.writer.write(send)
                    await link.writer.drain()
                await _hear(link.reader, expect)
        except OSError as error:
            raise Failed("reset", words(error)) from None


async def _hear(reader: asyncio.StreamReader, expect: Any) -> None:
    heard = b""
    while not expect.search(heard):
        piece = await reader.read(HEARD)
        heard += piece
        if not piece or len(heard) > HEARD:
            raise Failed("body", "what was expected did not come")


def target_fault(target: str) -> str:
    """What is wrong with a target; empty when it can be probed."""
    try:
        protocol, _, _ = parse_target(target)
    except ValueError as error:
        return f"is no target: {error}"
    return 'is no target: expected "host:port"' if protocol else ""
