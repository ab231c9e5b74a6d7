"""How a probe reaches a URL: straight, through a proxy, or through a Unix socket.

Through a proxy the proxy looks the name up: the phase `resolve` is that of the proxy's name, `connect` all it takes
until the target can be talked to, `tls` the handshake with the target alone. What fails before that is `proxy`.
"""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Mapping
from typing import Final

from yarl import URL

from agent import __version__
from collectors.probes.exchange import request_bytes
from collectors.probes.http_options import HttpOptions
from collectors.probes.link import Failed, Link, Resolver, open_link, open_socket, words

AGENT: Final = {"User-Agent": f"nightjar/{__version__}"}
HEAD_LIMIT: Final = 16 << 10  # bytes of what a proxy answers
_PIECE: Final = 32 << 10
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r\n]")
_PORTS: Final = {"http": 80, "https": 443}


class Route:
    """The way of a section's connections."""

    def __init__(self, options: HttpOptions, resolver: Resolver) -> None:
        self._resolver, self._family, self._socket = resolver, options.family, options.socket
        self._proxy = None if options.proxy is None else Proxy(options.proxy, options.ca_file)

    async def open(self, url: URL, *, own: bool) -> Link:
        """A connection over which a URL's server can be talked to, TLS still to come; raises `Failed`. `own` says that
        it is the host of the configuration: a redirect elsewhere does not go through the section's socket.
        """
        if self._proxy is not None:
            return await self._through(self._proxy, url)
        if self._socket is not None and own:
            return await open_socket(self._socket)
        return await open_link(self._resolver, url.raw_host or "", url.port or 0, self._family)

    def target(self, url: URL) -> str:
        """What the request line says: a proxy wants the whole URL."""
        if self._proxy is None or url.scheme == "https":
            return url.raw_path_qs
        return f"http://{authority(url)}{url.raw_path_qs}"

    def headers(self, url: URL) -> Mapping[str, str]:
        """What the proxy needs to see in the request itself, which of HTTPS it does not."""
        return {} if self._proxy is None or url.scheme == "https" else self._proxy.credentials

    async def _through(self, proxy: Proxy, url: URL) -> Link:
        try:
            link = await open_link(self._resolver, proxy.host, proxy.port, self._family)
        except Failed as failed:
            raise Failed("proxy", f"the proxy cannot be reached: {failed}", failed.address) from None
        started = time.perf_counter()
        try:
            await proxy.prepare(link, url)
        except BaseException as error:  # a cancelled one leaves no connection behind either
            link.close()
            if isinstance(error, Failed):
                error.address = link.address
            raise
        link.connect += time.perf_counter() - started
        return link


class Proxy:
    """A proxy of HTTP: RFC 9112, 3.2.2 (whole URLs) and RFC 9110, 9.3.6 (CONNECT)."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        parsed = URL(url)
        self.host, self.port = parsed.raw_host or "", parsed.port or _PORTS[parsed.scheme]
        self.credentials = _credentials(parsed)
        self._ca_file, self._secured = ca_file, parsed.scheme == "https"
        self._context: ssl.SSLContext | None = None

    async def prepare(self, link: Link, url: URL) -> None:
        """Bring a connection to the proxy to where the target can be talked to; raises `Failed`."""
        if self._secured:
            await self._secure(link)
        if url.scheme == "https":
            await _tunnel(link, authority(url, always_port=True), self.credentials)

    async def _secure(self, link: Link) -> None:
        """Always verified, whatever may be left out for the target, and without its client certificate: credentials
        of the proxy's come next.
        """
        try:
            self._context = self._context or ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise Failed("config", words(error)) from None
        try:
            await link.secure(self._context, self.host)
        except Failed as failed:
            raise Failed("proxy", f"TLS with the proxy: {failed}") from None
        link.peer, link.tls = None, 0.0  # they tell of the target


async def _tunnel(link: Link, place: str, credentials: Mapping[str, str]) -> None:
    """CONNECT; raises `Failed`."""
    try:
        link.writer.write(request_bytes("CONNECT", place, {"Host": place, **AGENT, **credentials}, b""))
        await link.writer.drain()
        head = b""
        while b"\r\n\r\n" not in head and len(head) <= HEAD_LIMIT:
            piece = await link.reader.read(_PIECE)
            if not piece:
                raise Failed("proxy", "the proxy ended the connection")
            head += piece
    except OSError as error:
        raise Failed("proxy", f"the proxy broke off: {words(error)}") from None
    status = _STATUS.match(head)
    if status is None or not 200 <= int(status[1]) < 300:
        raise Failed("proxy", f"the proxy answered {status[1].decode()}" if status else "the proxy does not speak HTTP")
    if len(head) > HEAD_LIMIT or not head.endswith(b"\r\n\r\n") or head.count(b"\r\n\r\n") > 1:
        raise Failed("proxy", "the proxy spoke for the target")  # what came too early would pass for its answer


def authority(url: URL, *, always_port: bool = False) -> str:
    """Host and port as they stand in a request."""
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.is_default_port() and not always_port else f"{host}:{url.port}"


def basic(user: str, password: str) -> str:
    """The value of a header for a login: RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _credentials(proxy: URL) -> dict[str, str]:
    return {"Proxy-Authorization": basic(proxy.user, proxy.password or "")} if proxy.user else {}
