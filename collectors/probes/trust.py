"""Handshakes with a verdict: what the options trust decides it, and what does not verify is looked at all the same."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import msgspec

from collectors.probes.link import Failed, Link, Peer, looking_context, words
from config import ClientOptions


class Trust:
    """The TLS side of a prober's options; contexts are made when they are first needed."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._contexts: dict[bool, ssl.SSLContext] = {}

    async def secure(self, link: Link, host: str, anew: Callable[[], Awaitable[Link]]) -> None:
        """The handshake over a link; raises `Failed`. `anew` makes another link at the same stage, over which a
        certificate that does not verify is read; `link.peer` then has it, with the fault.
        """
        name = self._options.server_name or host
        try:
            await link.secure(self._context(verify=not self._options.insecure_skip_verify), name)
        except Failed as failed:
            if not self._options.insecure_skip_verify and failed.reason in ("certificate", "tls"):
                link.peer = await self._look(name, str(failed), anew)
            raise

    async def _look(self, name: str, fault: str, anew: Callable[[], Awaitable[Link]]) -> Peer | None:
        try:
            link = await anew()
            try:
                await link.secure(self._context(verify=False), name)
            finally:
                link.close()
        except Failed:
            return None
        return None if link.peer is None else msgspec.structs.replace(link.peer, fault=fault)

    def _context(self, *, verify: bool) -> ssl.SSLContext:
        if verify not in self._contexts:
            try:
                context = ssl.create_default_context(cafile=self._options.ca_file) if verify else looking_context()
                if self._options.cert_file is not None:
                    context.load_cert_chain(self._options.cert_file, self._options.key_file, password=lambda: "")
            except OSError as error:
                raise Failed("config", words(error)) from None
            self._contexts[verify] = context
        return self._contexts[verify]
