"""What `[collectors.http]` may hold, and what can be wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from msgspec import Meta
from yarl import URL

from agent.patterns import compile_pattern
from collectors.probes.http_json import parse_expression
from collectors.probes.link import Family
from collectors.urls import login_hint
from config import ClientOptions, Referenced, Secret, Size
from config.secret import MASK
from config.urls import without_secrets

_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)")
_AUTHORITY: Final = re.compile(r"\s*[A-Za-z]+://[^/?#]*")
_LONGEST_SOCKET: Final = 107  # bytes of a path: sockaddr_un
Patterns = str | tuple[str, ...]


class HttpOptions(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[collectors.http]]`."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    urls_file: str | None = None
    socket: str | None = None
    method: Annotated[str, Meta(pattern="^[A-Z]{3,16}$", description="a method such as GET")] = "GET"
    body: str | Secret = ""  # that of a form may log in
    family: Family = "any"
    follow_redirects: bool = True
    expect_status: tuple[int | str, ...] = ("2xx",)
    expect_version: tuple[str, ...] = ()
    expect_tls: bool | None = None
    expect_body: Patterns = ()
    reject_body: Patterns = ()
    expect_headers: dict[str, str] = {}  # noqa: RUF012  # msgspec copies it
    reject_headers: dict[str, str] = {}  # noqa: RUF012  # the same
    expect_json: tuple[str, ...] = ()
    body_limit: Size = Size("1MiB")
    fail_after: Annotated[int, Meta(ge=1)] = 1
    recover_after: Annotated[int, Meta(ge=1)] = 1

    def faults(self) -> list[str]:
        """What is wrong with these options together."""
        return [*super().faults(), *_target_faults(self), *_way_faults(self), *_check_faults(self)]

    @property
    def targets(self) -> list[str]:
        """The fixed ones."""
        return [*([self.url] if self.url else []), *self.urls]


def patterns(given: Patterns) -> tuple[str, ...]:
    """One or several, as several; an empty one asks for nothing."""
    return tuple(one for one in ((given,) if isinstance(given, str) else given) if one)


def url_fault(text: str) -> str:
    """What is wrong with a URL; empty when it can be probed."""
    try:
        url = URL(text)
    except ValueError:
        return f"is no URL{login_hint(text)}"
    if url.scheme in ("http", "https") and url.raw_host:
        return ""
    return f'expected a URL such as "https://example.com/health"{login_hint(text)}'


def shown(target: str) -> str:
    """The URL as it may be shown: without login and fragment, and with `***` for secrets of the query and for every
    part that came by reference but the host, which says where a probe went, and is asked for in the open.
    """
    url = URL(target).with_user(None).with_fragment(None)
    return without_secrets(str(_without_references(url, target) if isinstance(target, Referenced) else url))


def numbered(names: Mapping[str, str]) -> dict[str, str]:
    """The names, by target; those that are alike get `#2`, `#3` … in their order."""
    labels, times = {}, Counter[str]()
    for target, name in names.items():
        times[name] += 1
        labels[target] = name if times[name] == 1 else f"{name}#{times[name]}"
    return labels


def _without_references(url: URL, target: Referenced) -> URL:
    """Origin, and the rest as it was written: what references gave is hidden by its place, whatever it says. Where
    nothing else would be left, or the places are in doubt, it is the origin alone.
    """
    found = _AUTHORITY.match(target)
    rest = target.masked(found.end()).partition("#")[0] if found else ""
    if rest in ("", MASK):
        return url.origin()
    built = URL(str(url.origin()) + (rest if rest[0] in "/?" else f"/{rest}"))
    return built if str(built.origin()) == str(url.origin()) else url.origin()


def _target_faults(options: HttpOptions) -> Iterator[str]:
    if not options.targets and options.urls_file is None:
        yield "url: one of `url`, `urls` and `urls_file` is needed"
    for target in options.targets:
        if fault := url_fault(target):
            yield f"{'url' if target == options.url else 'urls'}: {fault}"


def _way_faults(options: HttpOptions) -> Iterator[str]:
    path = options.socket
    if path is not None and (not path.startswith("/") or "\0" in path or len(path.encode()) > _LONGEST_SOCKET):
        yield f'socket: expected the path of a Unix socket such as "/run/app.sock", at most {_LONGEST_SOCKET} bytes'
    if path is not None and options.proxy is not None:
        yield "socket: is one way to the target and `proxy` another: set only one"
    if options.proxy is not None and any(name.lower() == "proxy-authorization" for name in options.headers):
        yield 'headers: a proxy takes user and password from `proxy`: "http://user:password@proxy.example.com:3128"'


def _check_faults(options: HttpOptions) -> Iterator[str]:
    given: Mapping[str, tuple[str, ...]] = {
        "expect_body": patterns(options.expect_body),
        "reject_body": patterns(options.reject_body),
        "expect_headers": tuple(options.expect_headers.values()),
        "reject_headers": tuple(options.reject_headers.values()),
    }
    for name, one in ((name, one) for name, several in given.items() for one in several):
        try:
            compile_pattern(one)
        except ValueError as error:
            yield f"{name}: is no regular expression: {error}"
    for status in options.expect_status:
        if not _STATUS.fullmatch(str(status)):
            yield 'expect_status: expected statuses such as 200 or "2xx"'
    for text in options.expect_json:
        try:
            parse_expression(text)
        except ValueError as error:
            yield f"expect_json: {error}"
