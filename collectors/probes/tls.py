"""TLS: certificates over the wire, directly or after StartTLS, and in files; expiry is told whether they verify or not.

A target is `host:port`, `postgres://host`, `smtp://host:587` … (see `collectors.probes.upgrade`), or the path of PEM
files, where `*` and `?` stand for many. Files are a success as long as all of their certificates are valid by date.
"""

from __future__ import annotations

import glob
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from msgspec import Meta

from agent.asker import Asker
from agent.model import Sample, gauge
from collectors.probes.certificates import Certificate, NoCertificate, parse_certificate
from collectors.probes.link import Failed, Family, Link, Reason, Resolver, open_link
from collectors.probes.outcome import EARLIEST, Settled, link_samples
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.targets import Targets
from collectors.probes.trust import Trust
from collectors.probes.upgrade import PROTOCOLS, upgrade
from config import ClientOptions
from config.files import Unreadable, read_regular

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
METRICS = (*COMMON, NOT_AFTER, NOT_BEFORE, INFO)
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
LARGEST = 4 << 20  # bytes of a PEM file
MOST_FILES = 1_000
PATIENCE = 2.0  # seconds for the disk to answer
SHOWN_NAMES = 20  # subject alternative names in a label; some certificates have hundreds


class Tls:
    """The prober."""

    class Options(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[collectors.tls]`."""

        targets: tuple[str, ...] = ()
        targets_file: str | None = None
        family: Family = "any"
        fail_after: Annotated[int, Meta(ge=1)] = 1
        recover_after: Annotated[int, Meta(ge=1)] = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            faults = [f"targets: {target!r} {fault}" for target in self.targets if (fault := target_fault(target))]
            if not self.targets and self.targets_file is None:
                faults.append("targets: one of `targets` and `targets_file` is needed")
            if faults:
                raise ValueError(*faults)

    job = "blackbox"
    remote = True

    def __init__(self, options: Tls.Options) -> None:
        self._options = options
        self._targets = Targets(options.targets, options.targets_file, target_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._trust = Trust(options)
        self._listing = Asker(_files)  # in threads: a dead network mount must not stop the agent
        self._reading = Asker(_read)

    async def targets(self) -> Sequence[str]:
        """The places of this round; of a pattern the files that are there now."""
        wanted = self._targets.now()
        files = await self._listing.ask([one for one in wanted if is_path(one)], PATIENCE)
        found = [file for one in wanted for file in files.get(one, [one])]
        self._settled.keep(set(found))
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One handshake, or one file."""
        return await (self._file(target) if is_path(target) else self._wire(target))

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A handshake without an end."""
        return self._settled.samples(target, seconds, "timeout")

    async def close(self) -> None:
        """Let the threads go."""
        for one in (self._resolver, self._listing, self._reading):
            one.close()

    async def _wire(self, target: str) -> list[Sample]:
        started, reason = time.perf_counter(), None
        protocol, host, port = parse_target(target)
        link: Link | None = None
        try:
            link = await self._open(protocol, host, port)
            await self._trust.secure(link, host, lambda: self._open(protocol, host, port))
        except Failed as failed:
            reason = failed.reason
        finally:
            if link is not None:
                link.close()
        samples = list(self._settled.samples(target, time.perf_counter() - started, reason))
        if link is not None:
            samples += link_samples(target, link)
            samples += _chain_samples(target, link.peer.presented) if link.peer is not None else ()
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
        chain = (await self._reading.ask([target], PATIENCE)).get(target)
        expiry = min((one.not_after for one in chain or ()), default=0.0)
        reason: Reason | None = "certificate" if chain and expiry < time.time() else None if chain else "config"
        if chain is None:
            reason = "timeout"
        samples = list(self._settled.samples(target, time.perf_counter() - started, reason))
        if chain:
            samples += [EARLIEST(expiry, target), *_chain_samples(target, chain)]
        return samples


def _files(pattern: str) -> list[str]:
    """In a thread: the files that a pattern names; itself where there is none, so that its lack is seen."""
    return sorted(glob.glob(pattern))[:MOST_FILES] or [pattern]


def _read(path: str) -> tuple[Certificate, ...]:
    """In a thread: the certificates of a file; none where it cannot be read, or is no such file."""
    try:
        return parse_pem(read_regular(path, LARGEST).decode("ascii", "replace"))
    except (Unreadable, NoCertificate):
        return ()


def is_path(target: str) -> bool:
    """Whether a target is a file, or a pattern of files."""
    return target.startswith(("/", "./", "../"))


def parse_target(target: str) -> tuple[str, str, int]:
    """Protocol ("" for TLS from the first byte), host and port; raises ValueError."""
    protocol, _, place = target.rpartition("://")
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"{protocol!r} is none of {', '.join(PROTOCOLS)}")
    host, _, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not host or (":" in host and not host.startswith("[")):
        host, port = place, ""
    if not port and protocol:
        port = str(PROTOCOLS[protocol][0])
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError('expected "host:port"')
    return protocol, host.strip("[]"), int(port)


def target_fault(target: str) -> str:
    """What is wrong with a target; empty when it can be probed."""
    if is_path(target):
        return ""
    try:
        parse_target(target)
    except ValueError as error:
        return f'is no target: {error}; others are "postgres://host" or the path of a file'
    return ""


def parse_pem(text: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM file; raises `NoCertificate` for one that is none."""
    found = []
    for piece in text.split(BEGIN)[1:]:
        try:
            der = ssl.PEM_cert_to_DER_cert(f"{BEGIN}{piece.partition(END)[0]}{END}\n")
        except ValueError as error:
            raise NoCertificate(str(error)) from None
        found.append(parse_certificate(der))
    return tuple(found)


def _chain_samples(target: str, chain: Sequence[Certificate]) -> Iterator[Sample]:
    for number, one in enumerate(chain):
        at = (target, str(number))
        yield NOT_AFTER(one.not_after, *at)
        yield NOT_BEFORE(one.not_before, *at)
        names = ",".join(one.alternative_names[:SHOWN_NAMES])
        facts = (one.subject, one.issuer, one.serial, one.fingerprint, names)
        yield INFO(1.0, *at, *facts, one.key, str(one.key_bits), one.signature)
