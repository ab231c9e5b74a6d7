"""The requests of an HTTP probe; credentials and headers go to the host of the configuration and to no other."""

from __future__ import annotations

from typing import Final

from yarl import URL

from collectors.probes.exchange import Answer, request_bytes
from collectors.probes.http_options import HttpOptions
from collectors.probes.http_route import AGENT, Route, authority, basic
from config import Secret, reveal

ALWAYS: Final = {**AGENT, "Accept": "*/*"}
MOST_COOKIES: Final = 50


class Cookies:
    """What hosts asked to be told again, while one probe lasts: some redirect for ever without it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[str, bool]] = {}  # host, name: value, for TLS alone

    def keep(self, url: URL, answer: Answer) -> None:
        """Note those of an answer; the first ones, should there be very many."""
        for text in answer.all("set-cookie"):
            pair, _, attributes = text.partition(";")
            name, equals, value = pair.strip().partition("=")
            if equals and (len(self._kept) < MOST_COOKIES or (url.raw_host or "", name) in self._kept):
                self._kept[url.raw_host or "", name] = value, "secure" in attributes.lower()

    def said(self, url: URL) -> str:
        """What a URL's host is told; empty for nothing."""
        return "; ".join(
            f"{name}={value}"
            for (host, name), (value, secure) in self._kept.items()
            if host == url.raw_host and (url.scheme == "https" or not secure)
        )


class Requests:
    """The requests of a section."""

    def __init__(self, options: HttpOptions, route: Route) -> None:
        self._options, self._route = options, route

    def made(self, method: str, url: URL, body: bytes, cookies: Cookies, *, own: bool) -> bytes:
        """A request as it goes over the wire; `own` says that it goes to the configuration's own host."""
        headers = {"Host": authority(url), **ALWAYS, "Connection": "close", **self._route.headers(url)}
        if own:
            headers = self._with_ours(headers, url)
        if told := cookies.said(url):
            name = next((one for one in headers if one.lower() == "cookie"), "Cookie")
            headers[name] = f"{headers[name]}; {told}" if name in headers else told
        return request_bytes(method, self._route.target(url), headers, body)

    def server(self, url: URL, *, own: bool) -> str:
        """The name that a server goes by in TLS: that of the header `Host` where there is one."""
        if own:
            for name, value in self._options.headers.items():
                if name.lower() == "host":
                    return _host(reveal(value))
        return url.raw_host or ""  # not decoded, and so not encoded again, which may give another name

    def _with_ours(self, headers: dict[str, str], url: URL) -> dict[str, str]:
        options = self._options
        for name, value in options.headers.items():
            headers = {key: one for key, one in headers.items() if key.lower() != name.lower()}
            headers[name] = reveal(value) if isinstance(value, Secret) else value
        password = url.password if options.password is None else reveal(options.password)
        user = url.user or options.username
        if options.bearer_token is not None:
            headers["Authorization"] = f"Bearer {reveal(options.bearer_token)}"
        elif user is not None:
            headers["Authorization"] = basic(user, password or "")
        return headers


def _host(text: str) -> str:
    """The host of a header `Host`."""
    name, colon, port = text.rpartition(":")
    return (name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else text).strip("[]")
