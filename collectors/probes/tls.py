"""TLS: certificates over the wire, directly or after StartTLS, and in files; expiry is told whether they verify or not.

A target is `host:port`, `postgres://host`, `smtp://host:587` … (see `collectors.probes.upgrade`), or the path of PEM or
PKCS#12 files, where `*` and `?` stand for many; of these a file with a key and no certificate is passed over. Files are
a success as long as all of their certificates are valid by date.

What is stapled to a handshake (OCSP) is told under the names of ssl_exporter, the only ones that others use; what it
does not have, that a response is in order, is ours. None of it decides the verdict, as with most clients.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from agent.asker import Asker
from agent.model import Sample, gauge
from collectors.extras import need
from collectors.probes.certificate_files import Files, is_path
from collectors.probes.certificates import Certificate
from collectors.probes.link import Failed, Family, Link, Peer, Reason, Resolver, open_link
from collectors.probes.outcome import EARLIEST, SHOWN_NAMES, Settled, late_reason, link_samples
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.rules import TLS
from collectors.probes.targets import Targets, idle_faults, is_host, target_faults
from collectors.probes.trust import Trust
from collectors.probes.upgrade import PROTOCOLS, upgrade
from config import ClientOptions, Secret

if TYPE_CHECKING:
    from collectors.probes.ocsp import Staple

PLACE = ("instance", "at")
NOT_AFTER = gauge(
    "tls_certificate_not_after_timestamp_seconds", "When a certificate of the chain expires; 0 is the leaf.", *PLACE
)
NOT_BEFORE = gauge(
    "tls_certificate_not_before_timestamp_seconds", "When a certificate of the chain begins to be valid.", *PLACE
)
INFO = gauge(
    "tls_certificate_info",
    "What a certificate of the chain says.",
    *(*PLACE, "subject", "issuer", "serial", "fingerprint_sha256", "subjectalternative"),
    *("key", "key_bits", "signature"),
)
STAPLED = gauge("ssl_ocsp_response_stapled", "If the connection state contains a stapled OCSP response", "instance")
STATUS = gauge("ssl_ocsp_response_status", "The status in the OCSP response 0=Good 1=Revoked 2=Unknown", "instance")
TIMES = {
    name: gauge(f"ssl_ocsp_response_{name}", f"The {text} of the OCSP response, as a Unix time.", "instance")
    for name, text in {
        "produced_at": "producedAt",
        "this_update": "thisUpdate",
        "next_update": "nextUpdate",
        "revoked_at": "revocationTime",
    }.items()
}
STAPLE_VERIFIED = gauge(
    "tls_ocsp_response_verified",
    "Whether the stapled OCSP response is about this certificate, signed by who may, and of now; the reason if not.",
    *("instance", "reason"),
)
MUST_STAPLE = gauge(
    "tls_certificate_must_staple", "Whether the certificate says that its state has to be stapled.", "instance"
)
METRICS = (*COMMON, NOT_AFTER, NOT_BEFORE, INFO, STAPLED, STATUS, *TIMES.values(), STAPLE_VERIFIED, MUST_STAPLE)
ASKING = 2.0  # seconds for the handshake that asks for the certificate's state
PATIENCE = 2.0  # seconds for the disk to answer


class Tls:
    """The prober."""

    class Options(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[collectors.tls]`."""

        targets: tuple[str, ...] = ()
        targets_file: str | None = None
        family: Family = "any"
        fail_after: Annotated[int, Meta(ge=1)] = 1
        recover_after: Annotated[int, Meta(ge=1)] = 1
        ocsp: bool = False
        passphrase: Secret | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            faults = [*target_faults(self.targets, self.targets_file, target_fault)]
            faults += idle_faults(self)
            if faults:
                raise ValueError(*faults)

    job = "blackbox"
    remote = True
    module = True
    rules = TLS

    def __init__(self, options: Tls.Options) -> None:
        self._options = options
        self._targets = Targets(options.targets, options.targets_file, target_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._trust = Trust(options, until_settled=True)
        self._files = Files(options.passphrase)
        self._listing = Asker(self._files.named)  # in threads: a dead network mount must not stop the agent
        self._reading = Asker(self._files.read)
        self._by_pattern: set[str] = set()  # files that no target names outright
        self._links: dict[str, Link] = {}  # of this round
        self._told: dict[str, list[Sample]] = {}  # what is settled of a target whose probe goes on
        self._files.prepare(options.targets)
        if options.ocsp:
            need("tls")
            from collectors.probes import ocsp

            self._asking = ocsp.Asking(options)

    async def targets(self) -> Sequence[str]:
        """The places of this round; of a pattern the files that are there now."""
        wanted = await self._targets.now()
        files = await self._listing.ask([one for one in wanted if is_path(one)], PATIENCE)
        found = list(dict.fromkeys(file for one in wanted for file in files.get(one, [one])))  # patterns may overlap
        self._by_pattern = set(found) - set(wanted)
        self._settled.keep(set(found))
        self._links.clear()
        self._told.clear()
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One handshake, or one file."""
        return await (self._file(target) if is_path(target) else self._wire(target))

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A handshake without an end: what it had shown until it was cut off. What is stapled decides nothing."""
        if (told := self._told.pop(target, None)) is not None:
            return [*told, STAPLE_VERIFIED(0.0, target, "handshake")]
        return self._samples(target, seconds, late_reason(self._links.get(target)))

    async def close(self) -> None:
        """Let the threads go."""
        self._targets.close()
        for one in (self._resolver, self._listing, self._reading):
            one.close()

    async def _wire(self, target: str) -> list[Sample]:
        started, reason = time.perf_counter(), None
        protocol, host, port = parse_target(target)
        link: Link | None = None
        try:
            link = self._links[target] = await self._open(protocol, host, port)
            await self._trust.secure(link, host, lambda: self._open(protocol, host, port))
        except Failed as failed:
            reason = failed.reason
        finally:
            if link is not None:
                link.close()
        samples = self._samples(target, time.perf_counter() - started, reason)
        if link is not None and link.peer is not None and self._options.ocsp:
            self._told[target] = samples
            samples = [*samples, *await self._stapled(target, link.peer)]
            del self._told[target]
        return samples

    def _samples(self, target: str, seconds: float, reason: Reason | None) -> list[Sample]:
        samples = list(self._settled.samples(target, seconds, reason))
        if (link := self._links.pop(target, None)) is None:
            return samples
        samples += link_samples(target, link)
        if link.peer is not None:
            samples += _chain_samples(target, link.peer.presented)
            if self._options.ocsp and link.peer.presented:
                samples.append(MUST_STAPLE(float(link.peer.presented[0].must_staple), target))
        return samples

    async def _stapled(self, target: str, peer: Peer) -> list[Sample]:
        from collectors.probes import ocsp

        protocol, host, port = parse_target(target)
        try:
            async with asyncio.timeout(ASKING):  # what is known by now must not be lost to it
                link = await self._open(protocol, host, port)
                try:
                    shown = await self._asking.ask(link, self._trust.name(host))
                finally:
                    link.close()
        except (Failed, TimeoutError):
            return [STAPLE_VERIFIED(0.0, target, "handshake")]
        samples = [STAPLED(float(bool(shown.response)), target)]
        if shown.response:
            others = [one.der for one in (*peer.verified, *peer.presented[1:])]
            samples += _staple_samples(target, ocsp.parse_staple(shown.response, shown.chain, others, time.time()))
        return samples

    async def _open(self, protocol: str, host: str, port: int) -> Link:
        link = await open_link(self._resolver, host, port, self._options.family)
        try:
            if protocol:
                await upgrade(link, protocol)
        except BaseException:  # a cancelled one leaves no connection behind either
            link.close()
            raise
        return link

    async def _file(self, target: str) -> list[Sample]:
        started = time.perf_counter()
        found = (await self._reading.ask([target], PATIENCE)).get(target, "timeout")
        if found == "key" and target in self._by_pattern:
            return []
        if isinstance(found, str):
            found = "config" if found == "key" else found
            return list(self._settled.samples(target, time.perf_counter() - started, found))
        expiry = min(one.not_after for one in found)
        reason = self._files.judge(found, time.time())
        samples = self._settled.samples(target, time.perf_counter() - started, reason)
        return [*samples, EARLIEST(expiry, target), *_chain_samples(target, found)]


def parse_target(target: str) -> tuple[str, str, int]:
    """Protocol ("" for TLS from the first byte), host and port; raises ValueError."""
    protocol, _, place = target.rpartition("://")
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"the protocol is none of {', '.join(PROTOCOLS)}")
    host, _, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not host or (":" in host and not host.startswith("[")):
        host, port = place, ""
    if not port and protocol:
        port = str(PROTOCOLS[protocol][0])
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not is_host(bare) or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError('expected "host:port"')
    return protocol, bare, int(port)


def target_fault(target: str) -> str:
    """What is wrong with a target; empty when it can be probed."""
    if is_path(target):
        return ""
    try:
        parse_target(target)
    except ValueError as error:
        return f'is no target: {error}; others are "postgres://host" or the path of a file'
    return ""


def _staple_samples(target: str, staple: Staple) -> Iterator[Sample]:
    yield STATUS(staple.status, target)
    for name, family in TIMES.items():
        if (time_of := getattr(staple, name)) is not None:
            yield family(time_of, target)
    yield STAPLE_VERIFIED(float(not staple.fault), target, staple.fault)


def _chain_samples(target: str, chain: Sequence[Certificate]) -> Iterator[Sample]:
    for number, one in enumerate(chain):
        at = (target, str(number))
        yield NOT_AFTER(one.not_after, *at)
        yield NOT_BEFORE(one.not_before, *at)
        names = ",".join(one.alternative_names[:SHOWN_NAMES])
        facts = (one.subject, one.issuer, one.serial, one.fingerprint, names)
        yield INFO(1.0, *at, *facts, one.key, str(one.key_bits), one.signature)
