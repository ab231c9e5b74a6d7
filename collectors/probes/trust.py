"""Handshakes with a verdict: what the options trust decides it, and what does not verify is looked at all the same.

The verdict is that of OpenSSL's clients (any certificate of `ca_file` is an anchor, the common name is no host name),
on every version of Python: from 3.13 on its default contexts also refuse what is common and harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from weakref import WeakKeyDictionary

import msgspec

from agent.tls import client_context
from collectors.probes.link import MISMATCH, Failed, Link, Peer, words
from collectors.probes.look import look
from config import ClientOptions

Way = Literal["strict", "any name", "looking"]  # what a handshake verifies: all, all but the name, nothing
BROKEN = "handshake failed"  # the fault of a certificate that a handshake did not come to
EVERY_CIPHER = "ALL:!kDHE:!PSK:@SECLEVEL=0"  # but finite fields of any size: OpenSSL takes seconds for 10,000 bits
SETTLED = 1.0  # seconds for a server to say what it makes of a client's certificate, or of none


class Trust:
    """The TLS side of a prober's options; contexts are made when they are first needed."""

    def __init__(self, options: ClientOptions, *, until_settled: bool = False) -> None:
        """`until_settled`: wait whether a server that demands a client's certificate goes on with what it got. In
        TLS 1.3 the handshake is over by then; who talks on, hears it anyway.
        """
        self._options = options
        self._contexts: dict[Way, ssl.SSLContext] = {}
        self._demands: WeakKeyDictionary[ssl.SSLObject, asyncio.Event] | None = None
        if until_settled:
            self._demands = WeakKeyDictionary()

    @property
    def skipped(self) -> bool:
        """Whether nothing is to be verified."""
        return self._options.insecure_skip_verify

    def name(self, host: str) -> str:
        """The name that a host's certificate has to be for."""
        return (self._options.server_name or host).removesuffix(".") or "."  # an empty one would not be compared

    async def secure(self, link: Link, host: str, anew: Callable[[], Awaitable[Link]]) -> None:
        """The handshake over a link; raises `Failed`. `anew` makes another link at the same stage, over which a
        certificate that does not verify is read; `link.peer` then has it, with the fault.
        """
        name = self.name(host)
        try:
            await link.secure(self._context("looking" if self.skipped else "strict"), name)
            await self._settle(link)
        except Failed as failed:
            link.verdict = failed.reason  # the look may come to no end
            if link.peer is None and failed.reason in ("certificate", "tls"):
                if failed.reason == "certificate":
                    link.peer = Peer("", "", (), fault=str(failed), name=name)
                link.peer = await self._look(name, failed, anew) or link.peer
            raise

    async def _look(self, name: str, failed: Failed, anew: Callable[[], Awaitable[Link]]) -> Peer | None:
        """What there is to see. Of a wrong name it is told only where the chain is trusted, and a chain that is has no
        fault where the server broke off.
        """
        fault = str(failed) if failed.reason == "certificate" else BROKEN
        if not self.skipped and (failed.reason == "tls" or fault == MISMATCH):
            try:
                if (peer := await self._seen("any name", name, anew)) is not None:
                    fault = "" if peer.matches and fault != MISMATCH else MISMATCH
                    return msgspec.structs.replace(peer, fault=fault, verified=() if fault else peer.verified)
            except Failed as other:
                fault = str(other) if other.reason == "certificate" else fault
        with contextlib.suppress(Failed):
            if (peer := await self._seen("looking", name, anew)) is not None:
                return msgspec.structs.replace(peer, fault=fault, judged=not self.skipped)
        return None

    async def _seen(self, way: Way, name: str, anew: Callable[[], Awaitable[Link]]) -> Peer | None:
        link = await anew()
        try:
            return await look(link, self._context(way), name)
        finally:
            link.close()

    # -- what a server makes of a client's certificate ------------------------------------------------------------

    async def _settle(self, link: Link) -> None:
        secured = link.writer.get_extra_info("ssl_object")
        demand = None if self._demands is None else self._demands.get(secured)
        if demand is None or link.peer is None or link.peer.version != "TLSv1.3":
            return
        ends = asyncio.create_task(link.reader.read(1)), asyncio.create_task(demand.wait())
        try:
            await asyncio.wait(ends, timeout=SETTLED, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            heard, going_on = await asyncio.gather(*ends, return_exceptions=True)
        if going_on is not True and isinstance(heard, Exception):
            raise Failed("tls", words(heard))
        if going_on is not True and heard == b"":
            raise Failed("tls", "the server closed after it had demanded a client's certificate")

    def _heard(self, secured: Any, direction: str, version: Any, content: Any, kind: Any, data: bytes) -> None:
        assert self._demands is not None  # noqa: S101  # or nobody would listen
        match direction, getattr(kind, "name", ""):
            case "read", "CERTIFICATE_REQUEST":
                self._demands[secured] = asyncio.Event()
            case "read", "NEWSESSION_TICKET" if (demand := self._demands.get(secured)) is not None:
                demand.set()  # comes when the server has seen all of the handshake

    # -- contexts -------------------------------------------------------------------------------------------------

    def _context(self, way: Way) -> ssl.SSLContext:
        if way not in self._contexts:
            try:
                context = self._made(way)
            except OSError as error:
                raise Failed("config", words(error)) from None
            if self._demands is not None and hasattr(context, "_msg_callback"):
                context._msg_callback = self._heard  # the one way to learn of a demand
            self._contexts[way] = context
        return self._contexts[way]

    def _made(self, way: Way) -> ssl.SSLContext:
        context = client_context(self._options, verify=way != "looking", name=way == "strict")
        if way == "looking":  # at everything, and trusts none of it
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.set_ciphers(EVERY_CIPHER)
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves that to OpenSSL's configuration
            context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
            context.hostname_checks_common_name = False
        return context
