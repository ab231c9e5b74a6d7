"""The options of the MySQL collector, and what its URL means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Meta, Struct

from collectors.sslmodes import SSL_MODES, sslmode_of, tls_faults
from collectors.urls import login_hint
from config import Duration, Secret
from config.faults import did_you_mean

PORT: Final = 3306
_SCHEMES: Final = ("mysql", "mariadb")

Wait = Annotated[Duration, Meta(gt=0)]


class Target(Struct, frozen=True):
    """Where a server is, and what its URL says to log in with; `socket` is a path instead of host and port."""

    host: str
    port: int
    user: str
    socket: str = ""
    password: str | None = None
    sslmode: str = ""

    @property
    def instance(self) -> str:
        """The label of all its series: never more than address and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.socket or f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Target({self.instance!r})"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[collectors.mysql]`: one server."""

    url: str = "mysql://nightjar@127.0.0.1:3306"
    password: Secret | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False
    server_name: str | None = None
    disable: tuple[str, ...] = ()
    statement_timeout: Wait = Duration("2s")
    lock_timeout: Wait = Duration("1s")

    def __post_init__(self) -> None:
        from collectors.mysql.parts import PARTS  # its tables are not wanted for an import of the options' type

        names = {part.name for part in PARTS}
        faults = [*_login_faults(self)]
        unknown = [name for name in self.disable if name not in names]
        faults += [f"disable: no part is called {name!r}{did_you_mean(name, names)}" for name in unknown]
        if faults:
            raise ValueError(*faults)

    @property
    def target(self) -> Target:
        """Where the server is."""
        return parse_url(self.url)

    @property
    def sslmode(self) -> str:
        """One of `SSL_MODES`: the URL's word, or what the other options amount to."""
        return sslmode_of(self.target.sslmode, self)


def parse_url(url: str) -> Target:
    """`mysql://user:password@host:port?sslmode=…`, or `mysql://user@/?socket=/path`; raises ValueError, whose text
    holds no part of it.
    """
    try:
        return _parse(url)
    except ValueError as fault:
        raise ValueError(f"{fault}{login_hint(url)}") from None


def _parse(url: str) -> Target:
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
        more = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in _SCHEMES or parts.fragment or "," in parts.netloc or parts.path.strip("/"):
        raise ValueError('expected one server, and no database, as "mysql://user@host:3306"')
    if more.keys() - {"sslmode", "socket"}:
        raise ValueError("after `?` only sslmode and socket are known; everything else has an option")
    socket = more.get("socket", "")
    if socket and (not socket.startswith("/") or parts.hostname):
        raise ValueError('`?socket=` is the path of a socket, as in "mysql://user@/?socket=/run/mysqld/mysqld.sock"')
    if more.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"sslmode: expected one of {', '.join(SSL_MODES)}")
    return Target(
        host=parts.hostname or "127.0.0.1",
        port=port,
        user=unquote(parts.username or "nightjar"),
        socket=socket,
        password=unquote(parts.password) if parts.password else None,
        sslmode=more.get("sslmode", ""),
    )


def _login_faults(options: Options) -> Iterator[str]:
    try:
        target = options.target
    except ValueError as fault:
        yield f"url: {fault}"
        return
    if target.password is not None and options.password is not None:
        yield "password: stands in the URL too: write it once"
    yield from tls_faults("url", target.sslmode, options)
    if target.socket and options.sslmode not in ("prefer", "disable"):
        yield "url: a socket of this machine needs no TLS"
