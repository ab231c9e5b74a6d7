"""ICMP: whether hosts answer an echo request, and how fast, as blackbox_exporter names it.

Whether the agent may ping at all says nothing about any host: where it may not, the whole round is an error that names
the cures, and no host is called down.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from agent.model import Sample, gauge
from collectors.probes.icmp_echo import TOKEN, Echo, Reply
from collectors.probes.link import Address, Failed, Family, Resolver, version_of
from collectors.probes.outcome import DURATION, FAILURE, FAILURES, LOOKUP, PROTOCOL, STATE, SUCCESS, Settled
from collectors.probes.rules import ICMP
from collectors.probes.targets import Targets, target_faults

PHASES: Final = ("resolve", "setup", "rtt")
PHASE = gauge("probe_icmp_duration_seconds", "Duration of icmp request by phase", "instance", "phase")
HOPS = gauge("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)", "instance")
METRICS = (SUCCESS, DURATION, FAILURE, FAILURES, STATE, LOOKUP, PROTOCOL, PHASE, HOPS)
ADDRESSES = 4  # of a name that are tried
LARGEST = 65_507  # bytes of a payload that IPv4 carries
_HOST = re.compile(r"[^\s:/\[\]]{1,253}")


class Icmp:
    """The prober."""

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[collectors.icmp]`."""

        targets: tuple[str, ...] = ()
        targets_file: str | None = None
        family: Family = "any"
        payload_size: Annotated[int, Meta(ge=TOKEN, le=LARGEST)] = 56
        ttl: Annotated[int, Meta(ge=1, le=255)] | None = None
        dont_fragment: bool = False
        fail_after: Annotated[int, Meta(ge=1)] = 1
        recover_after: Annotated[int, Meta(ge=1)] = 1

        def __post_init__(self) -> None:
            faults = [*target_faults(self.targets, self.targets_file, target_fault)]
            if faults:
                raise ValueError(*faults)

    job = "blackbox"
    remote = True
    module = True
    rules = ICMP

    def __init__(self, options: Icmp.Options) -> None:
        self._options = options
        self._targets = Targets(options.targets, options.targets_file, target_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._echoes: dict[int, Echo] = {}
        self._under_way: dict[str, _Seen] = {}

    async def targets(self) -> Sequence[str]:
        """The hosts of this round; raises PermissionError where the agent may not ping."""
        for family in (socket.AF_INET, socket.AF_INET6):
            if family not in self._echoes:
                self._open(family)
        found = await self._targets.now()
        self._settled.keep(set(found))
        self._under_way.clear()
        return found

    def _open(self, family: int) -> None:
        size, ttl, whole = self._options.payload_size, self._options.ttl, self._options.dont_fragment
        try:
            self._echoes[family] = Echo(family, size, ttl=ttl, dont_fragment=whole)
        except PermissionError:
            raise
        except OSError:  # a kernel without this family: its hosts are unreachable
            return

    async def probe(self, target: str) -> Iterable[Sample]:
        """One request and its reply."""
        started, reason = time.perf_counter(), None
        seen = self._under_way[target] = _Seen()
        try:
            addresses = await self._resolver.resolve(target, self._options.family, 60.0)
            seen.phases["resolve"] = time.perf_counter() - started
            seen.reply = await self._first(addresses[:ADDRESSES], seen)
        except Failed as failed:
            reason = failed.reason
        seconds = time.perf_counter() - started
        return [*self._settled.samples(target, seconds, reason), *_seen_samples(target, seen)]

    async def _first(self, addresses: Sequence[Address], seen: _Seen) -> Reply:
        """The reply of the first address; of the next ones where an address is said to be out of reach."""
        failure = Failed("unreachable")
        for seen.address in addresses:
            started = time.perf_counter()
            if (echo := self._echoes.get(seen.address[0])) is None:
                continue
            try:
                reply = await echo.ping(seen.address[1])
            except Failed as failed:
                failure = failed
                continue
            seen.phases["setup"], seen.phases["rtt"] = max(reply.sent - started, 0.0), reply.seconds
            return reply
        raise failure

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A request without a reply."""
        seen = self._under_way.get(target, _Seen())
        return [*self._settled.samples(target, seconds, "timeout"), *_seen_samples(target, seen)]

    async def close(self) -> None:
        """Let go of the sockets and of the resolver's threads."""
        self._targets.close()
        for echo in self._echoes.values():
            echo.close()
        self._echoes.clear()
        self._resolver.close()


class _Seen:
    """What a probe has seen so far."""

    def __init__(self) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)
        self.address: Address | None = None
        self.reply: Reply | None = None


def _seen_samples(target: str, seen: _Seen) -> Iterator[Sample]:
    for phase, seconds in seen.phases.items():
        yield PHASE(seconds, target, phase)
    yield LOOKUP(seen.phases["resolve"], target)
    yield PROTOCOL(version_of(seen.address), target)
    if seen.reply is not None and seen.reply.hop_limit >= 0:
        yield HOPS(float(seen.reply.hop_limit), target)


def target_fault(target: str) -> str:
    """What is wrong with a target; empty when it can be asked."""
    if _HOST.fullmatch(target):
        return ""
    try:
        return "" if ipaddress.ip_address(target.partition("%")[0]).version == 6 else "is no target"
    except ValueError:
        return "is no target: expected a host, without a port"
