"""DNS: whether servers answer a question, with which code and which records, as blackbox_exporter names it.

An answer by UDP that is marked as truncated is asked for again by TCP, as resolvers do: the records that are counted
and compared are all of them, and a server that is deaf on TCP fails. blackbox_exporter takes what fitted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta, Struct

from agent.model import Sample, gauge
from agent.patterns import compile_pattern
from collectors.extras import lack
from collectors.probes.dns_exchange import ask_datagram, ask_stream
from collectors.probes.link import Address, Failed, Family, Link, Resolver, open_link, version_of
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.outcome import LOOKUP, PROTOCOL, Settled, certificate_samples
from collectors.probes.rules import DNS
from collectors.probes.targets import Targets, idle_faults, is_host, target_faults
from collectors.probes.trust import Trust
from config import ClientOptions

if TYPE_CHECKING:
    from collectors.probes.dns_message import Answer

PHASES: Final = ("resolve", "connect", "request")
PHASE = gauge("probe_dns_duration_seconds", "Duration of DNS request by phase", "instance", "phase")
COUNTS: Final = {
    section: gauge(
        f"probe_dns_{section}_rrs",
        f"Returns number of entries in the {section} resource record list",
        "instance",
    )
    for section in ("answer", "authority", "additional")
}
SERIAL = gauge("probe_dns_serial", "Returns the serial number of the zone", "instance")
SUCCEEDED = gauge(
    "probe_dns_query_succeeded", "Displays whether or not the query was executed successfully", "instance"
)
METRICS = (*COMMON, PHASE, *COUNTS.values(), SERIAL, SUCCEEDED)
PORTS: Final = {"udp": 53, "tcp": 53, "tls": 853}
ADDRESSES = 4  # of a name that are tried


class Records(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Regular expressions about the records of a section, each the text `name TTL class type data` with tabs between:
    every record matches each of `all`, one record one of `any`, no record one of `none`.
    """

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


class Dns:
    """The prober."""

    class Options(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[[collectors.dns]]`: one question, to any number of servers."""

        targets: tuple[str, ...] = ()
        targets_file: str | None = None
        query_name: str
        query_type: str = "A"
        query_class: str = "IN"
        recursion_desired: bool = True
        transport: Literal["udp", "tcp", "tls"] = "udp"
        expect_rcode: tuple[str, ...] = ("NOERROR",)
        expect_answer: Records = Records()
        expect_authority: Records = Records()
        expect_additional: Records = Records()
        family: Family = "any"
        fail_after: Annotated[int, Meta(ge=1)] = 1
        recover_after: Annotated[int, Meta(ge=1)] = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            if faults := [*_option_faults(self)]:
                raise ValueError(*faults)

        @property
        def expectations(self) -> Mapping[str, Records]:
            """What is expected of each section."""
            return {
                "answer": self.expect_answer,
                "authority": self.expect_authority,
                "additional": self.expect_additional,
            }

    job = "blackbox"
    remote = True
    module = True
    rules = DNS

    def __init__(self, options: Dns.Options) -> None:
        from collectors.probes import dns_message  # an extra

        self._messages = dns_message
        self._options = options
        self._question = dns_message.parse_question(options.query_name, options.query_type, options.query_class)
        self._codes = {dns_message.parse_code(text) for text in options.expect_rcode}
        self._expect = {name: _Expected(records) for name, records in options.expectations.items()}
        self._targets = Targets(options.targets, options.targets_file, target_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._trust = Trust(options)
        self._under_way: dict[str, _Seen] = {}

    async def targets(self) -> Sequence[str]:
        """The servers of this round."""
        found = await self._targets.now()
        self._settled.keep(set(found))
        self._under_way.clear()
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One question."""
        started, reason = time.perf_counter(), None
        seen = self._under_way[target] = _Seen()
        try:
            seen.answer = self._parse(await self._ask(target, seen))
            await self._judge(seen.answer)
        except Failed as failed:
            reason, seen.address = failed.reason, failed.address or seen.address
        finally:
            if seen.link is not None:
                seen.link.close()
        samples = [*self._settled.samples(target, time.perf_counter() - started, reason)]
        return [*samples, *self._seen_samples(target, seen)]

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A question without an answer."""
        seen = self._under_way.get(target, _Seen())
        return [*self._settled.samples(target, seconds, "timeout"), *self._seen_samples(target, seen)]

    async def close(self) -> None:
        """Let the resolver's threads go."""
        self._targets.close()
        self._resolver.close()

    # -- asking ---------------------------------------------------------------------------------------------------

    async def _ask(self, target: str, seen: _Seen) -> bytes:
        transport = self._options.transport
        host, port = parse_target(target, PORTS[transport])
        if transport != "udp":
            return await self._by_stream(host, port, seen, secured=transport == "tls")
        message = await self._by_datagram(host, port, seen)
        if self._messages.is_truncated(message) and seen.address is not None:
            return await self._by_stream(seen.address[1], port, seen, secured=False)
        return message

    async def _by_datagram(self, host: str, port: int, seen: _Seen) -> bytes:
        started = time.perf_counter()
        addresses = await self._resolver.resolve(host, self._options.family, 60.0)
        seen.spent("resolve", started)
        failure = Failed("connect")
        for address in addresses[:ADDRESSES]:
            seen.address, started = address, time.perf_counter()
            number = secrets.randbits(16)
            query = self._question.query(number, recursion=self._options.recursion_desired)
            try:
                return await ask_datagram(address, port, query, partial(self._question.answered_by, number))
            except Failed as failed:
                failure = failed
            finally:
                seen.spent("request", started)
        raise failure

    async def _by_stream(self, host: str, port: int, seen: _Seen, *, secured: bool) -> bytes:
        seen.link = link = await open_link(self._resolver, host, port, self._options.family)
        seen.phases["resolve"] += link.resolve
        try:
            if secured:
                await self._trust.secure(link, host, partial(self._anew, host, port))
        finally:
            seen.phases["connect"] += link.connect + link.tls
        number, started = secrets.randbits(16), time.perf_counter()
        query = self._question.query(number, recursion=self._options.recursion_desired)
        try:
            return await ask_stream(link, query, partial(self._question.answered_by, number))
        finally:
            seen.spent("request", started)

    async def _anew(self, host: str, port: int) -> Link:
        return await open_link(self._resolver, host, port, self._options.family)

    # -- judging --------------------------------------------------------------------------------------------------

    def _parse(self, message: bytes) -> Answer:
        try:
            return self._messages.parse_answer(message)
        except self._messages.NoAnswer as error:
            raise Failed("protocol", str(error)) from None

    async def _judge(self, answer: Answer) -> None:
        if answer.code not in self._codes:
            raise Failed("status", f"response code {answer.code}")
        for name, expected in self._expect.items():
            if expected and not await self._met(answer, name, expected):
                raise Failed("body", f"the records of the {name} section are not as expected")

    async def _met(self, answer: Answer, section: str, expected: _Expected) -> bool:
        """Whether a section is as expected. Other tasks have their turn between records: there may be thousands."""
        found = False
        for record in answer.sections[section]:
            try:
                far = record.end - record.start > self._messages.LOOKED_INTO
                text = await asyncio.to_thread(answer.text, record) if far else answer.text(record)
            except self._messages.NoAnswer as error:
                raise Failed("protocol", str(error)) from None
            if not expected.bears(text):
                return False
            found = found or expected.wants(text)
            await asyncio.sleep(0)
        return found or not expected.needs_one(len(answer.sections[section]))

    def _seen_samples(self, target: str, seen: _Seen) -> Iterator[Sample]:
        for phase, seconds in seen.phases.items():
            yield PHASE(seconds, target, phase)
        for section, family in COUNTS.items():
            yield family(float(len(seen.answer.sections[section])) if seen.answer else 0.0, target)
        yield SUCCEEDED(float(seen.answer is not None), target)
        if seen.answer is not None and self._question.kind == self._messages.SOA:
            yield SERIAL(float(seen.answer.serial), target)
        yield LOOKUP(seen.phases["resolve"], target)
        yield PROTOCOL(version_of(seen.address if seen.link is None else seen.link.address), target)
        if seen.link is not None and seen.link.peer is not None:
            yield from certificate_samples(target, seen.link.peer)


class _Seen:
    """What a probe has seen so far; whatever ends it, this is told."""

    def __init__(self) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)
        self.answer: Answer | None = None
        self.link: Link | None = None
        self.address: Address | None = None

    def spent(self, phase: str, since: float) -> None:
        """Time went by in a phase."""
        self.phases[phase] += time.perf_counter() - since


class _Expected:
    """The compiled expressions of a section."""

    def __init__(self, records: Records) -> None:
        self._all, self._any, self._none = (
            [compile_pattern(one) for one in some] for some in (records.all, records.any, records.none)
        )

    def __bool__(self) -> bool:
        return bool(self._all or self._any or self._none)

    def bears(self, text: str) -> bool:
        """Whether a record may be there."""
        return all(one.search(text) for one in self._all) and not any(one.search(text) for one in self._none)

    def wants(self, text: str) -> bool:
        """Whether a record is one of those of which one must be there."""
        return any(one.search(text) for one in self._any)

    def needs_one(self, count: int) -> bool:
        """Whether a section of so many records, all of them borne and none wanted, lacks one."""
        return bool(self._any) or (count == 0 and bool(self._all))


def parse_target(target: str, port: int) -> tuple[str, int]:
    """Host and port of "host", "host:port", "::1" or "[::1]:port"; raises ValueError."""
    host, colon, text = target.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, text = target, str(port)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not is_host(bare) or not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
        raise ValueError('expected "host" or "host:port"')
    return bare, int(text)


def target_fault(target: str) -> str:
    """What is wrong with a target; empty when it can be asked."""
    try:
        parse_target(target, PORTS["udp"])
    except ValueError as error:
        return f"is no target: {error}"
    return ""


def _option_faults(options: Dns.Options) -> Iterator[str]:
    yield from target_faults(options.targets, options.targets_file, target_fault)
    if not options.expect_rcode:
        yield "expect_rcode: without one no answer is right"
    yield from idle_faults(options)
    yield from _question_faults(options)
    for name, records in options.expectations.items():
        for text in (*records.all, *records.any, *records.none):
            try:
                compile_pattern(text)
            except ValueError as error:
                yield f"expect_{name}: {text!r} is no regular expression: {error}"


def _question_faults(options: Dns.Options) -> Iterator[str]:
    if not options.query_name:
        yield 'query_name: is empty; the root is "."'
        return
    if fault := lack("dns"):
        yield f"query_name: {fault}"
        return
    from collectors.probes import dns_message

    checks: tuple[Callable[[], object], ...] = (
        partial(dns_message.parse_question, options.query_name, "A", "IN"),
        partial(dns_message.parse_kind, options.query_type),
        partial(dns_message.parse_group, options.query_class),
        *(partial(dns_message.parse_code, code) for code in options.expect_rcode),
    )
    for check in checks:
        try:
            check()
        except ValueError as error:
            yield str(error)
