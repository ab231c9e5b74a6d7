"""The options of the Redis collector, and what its URL means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from collectors.urls import login_hint
from config import Secret

PORT: Final = 6379
_SCHEMES: Final = ("redis", "rediss", "unix")
_GLOB: Final = re.compile(r"[*?\[]")
_KEY: Final = re.compile(r"(?:db(\d{1,5})=)?(.+)", re.DOTALL)


class Target(Struct, frozen=True):
    """Where a server is: host and port, or the path of a socket; what its URL says to log in with."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = None

    @property
    def instance(self) -> str:
        """The label of all its series: never more than address and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Target({self.instance!r})"


class Key(Struct, frozen=True):
    """A key, or a glob pattern of keys, of one database."""

    database: int
    name: str

    @property
    def pattern(self) -> bool:
        """Whether it has to be searched for."""
        return bool(_GLOB.search(self.name))


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[collectors.redis]`: one server, replica, Sentinel or cluster node."""

    url: str = "redis://127.0.0.1:6379"
    username: str | None = None
    password: Secret | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False
    server_name: str | None = None
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if faults := [*_url_faults(self), *_key_faults(self)]:
            raise ValueError(*faults)


def parse_url(url: str) -> Target:
    """The target of a URL; raises ValueError, whose text holds no part of it."""
    try:
        return _parse(url)
    except ValueError as fault:
        raise ValueError(f"{fault}{login_hint(url)}") from None


def _parse(url: str) -> Target:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in _SCHEMES or "://" not in url or parts.query or parts.fragment:
        raise ValueError('expected "redis://host:port", "rediss://host:port" (TLS) or "unix:///path/to/socket"')
    username, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.strip("/"):
            raise ValueError('expected a socket as "unix:///path/to/socket"')
        return Target(path=unquote(parts.path), username=username, password=password)
    database = parts.path.strip("/") or "0"
    if not parts.hostname or not re.fullmatch("[0-9]{1,5}", database):
        raise ValueError('expected "redis://host:port", and after it nothing but the number of a database')
    tls = parts.scheme == "rediss"
    return Target(parts.hostname, port or PORT, "", tls, int(database), username, password)


def parse_key(text: str, database: int = 0) -> Key:
    """`name`, or `db3=name` for another database than the URL's; raises ValueError."""
    found = _KEY.fullmatch(text)
    if found is None:
        raise ValueError('expected a key, a pattern such as "queue:*", or either of database 3 as "db3=queue:*"')
    return Key(int(found[1]) if found[1] else database, found[2])


def _url_faults(options: Options) -> Iterator[str]:
    try:
        target = parse_url(options.url)
    except ValueError as fault:
        yield f"url: {fault}"
        return
    if not target.tls and any((options.ca_file, options.cert_file, options.server_name)):
        yield "url: certificates need TLS: write rediss://"
    if options.cert_file is None and options.key_file is not None:
        yield "key_file: needs `cert_file` too"


def _key_faults(options: Options) -> Iterator[str]:
    for text in options.keys:
        try:
            parse_key(text)
        except ValueError as fault:
            yield f"keys: {fault}"
