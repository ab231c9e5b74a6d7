"""The options of the PostgreSQL collector, and what its DSN means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Meta, Struct

from collectors.urls import login_hint
from config import Duration, Secret
from config.faults import did_you_mean

SSL_MODES: Final = ("disable", "prefer", "require", "verify-ca", "verify-full")
_SCHEMES: Final = ("postgres", "postgresql")
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Role = Literal["counter", "gauge", "label"]
MetricName = Annotated[
    str, Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,127}$", description="letters, digits and _, not a digit first")
]
Wait = Annotated[Duration, Meta(gt=0)]


class Target(Struct, frozen=True):
    """Where a server is, and what its DSN says to log in with; `socket` is a path instead of host and port."""

    host: str
    port: int
    user: str
    database: str
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


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query of the user's: every column of its rows is a label, or a metric `<prefix>_<column>`."""

    prefix: MetricName
    sql: Annotated[str, Meta(min_length=1)]
    columns: dict[str, Role]


class Login(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to get into a server that speaks PostgreSQL's protocol; where it is stands in the option named `KEY`."""

    KEY: ClassVar[str] = "dsn"
    PORT: ClassVar[int] = 5432
    DATABASE: ClassVar[str] = "database"  # what the example in a fault calls it

    password: Secret | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False
    server_name: str | None = None

    def __post_init__(self) -> None:
        if faults := [*_login_faults(self)]:
            raise ValueError(*faults)

    @property
    def target(self) -> Target:
        """Where the server is."""
        return parse_dsn(getattr(self, self.KEY), self.PORT, self.DATABASE)

    @property
    def sslmode(self) -> str:
        """One of `SSL_MODES`: the DSN's word, or what the other options amount to."""
        if self.insecure_skip_verify:
            return "require"
        verify = self.ca_file is not None or self.server_name is not None
        return self.target.sslmode or ("verify-full" if verify else "prefer")


class Options(Login, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[collectors.postgres]`: one server."""

    dsn: str = "postgres://nightjar@127.0.0.1:5432/postgres"
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    statement_timeout: Wait = Duration("2s")
    lock_timeout: Wait = Duration("100ms")
    queries: tuple[Query, ...] = ()

    def __post_init__(self) -> None:
        from collectors.postgres.parts import PARTS  # its tables are not wanted for an import of the options' type

        names = {part.name for part in PARTS}
        faults = [*_login_faults(self), *_query_faults(self.queries)]
        unknown = [(key, name) for key, name in self._parts_named() if name not in names]
        faults += [f"{key}: no part is called {name!r}{did_you_mean(name, names)}" for key, name in unknown]
        if faults:
            raise ValueError(*faults)

    def _parts_named(self) -> Iterator[tuple[str, str]]:
        yield from (("enable", name) for name in self.enable)
        yield from (("disable", name) for name in self.disable)


def parse_dsn(dsn: str, usual_port: int = Login.PORT, database: str = Login.DATABASE) -> Target:
    """`postgres://user:password@host:port/database?sslmode=…`; raises ValueError, whose text holds no part of it."""
    try:
        return _parse(dsn, usual_port, database)
    except ValueError as fault:
        raise ValueError(f"{fault}{login_hint(dsn)}") from None


def _parse(dsn: str, usual_port: int, database: str) -> Target:
    try:
        parts = urlsplit(dsn)
        port = parts.port or usual_port
        more = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("is no URL") from None
    misread = "@" in parts.path and "@" not in parts.netloc and "host" not in more  # a login, taken for the database
    if parts.scheme not in _SCHEMES or "://" not in dsn or parts.fragment or "," in parts.netloc or misread:
        raise ValueError(f'expected one server as "postgres://user@host:{usual_port}/{database}"')
    if more.keys() - {"sslmode", "host"}:
        raise ValueError("after `?` only sslmode and host are known; everything else has an option")
    folder = more.get("host", "")
    if folder and (not folder.startswith("/") or parts.hostname):
        raise ValueError('`?host=` is the folder of a socket, as in "postgres:///database?host=/run/postgresql"')
    if more.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"sslmode: expected one of {', '.join(SSL_MODES)}")
    user = unquote(parts.username or "nightjar")
    return Target(
        host=parts.hostname or "127.0.0.1",
        port=port,
        user=user,
        database=unquote(parts.path.strip("/")) or user,
        socket=f"{folder.rstrip('/')}/.s.PGSQL.{port}" if folder else "",
        password=unquote(parts.password) if parts.password else None,
        sslmode=more.get("sslmode", ""),
    )


def _login_faults(options: Login) -> Iterator[str]:
    try:
        target = options.target
    except ValueError as fault:
        yield f"{options.KEY}: {fault}"
        return
    if target.password is not None and options.password is not None:
        yield "password: stands in the URL too: write it once"
    if options.key_file is not None and options.cert_file is None:
        yield "key_file: needs `cert_file` too"
    if target.sslmode in ("disable", "prefer") and (options.ca_file or options.cert_file):
        yield f"{options.KEY}: sslmode={target.sslmode} and certificates contradict each other"
    if options.insecure_skip_verify and target.sslmode not in ("", "require"):
        yield f"insecure_skip_verify: contradicts sslmode={target.sslmode}"


def _query_faults(queries: tuple[Query, ...]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for query in queries:
        labels = ",".join(sorted(name for name, role in query.columns.items() if role == "label"))
        values = [name for name, role in query.columns.items() if role != "label"]
        if not values:
            yield f"queries: {query.prefix}: no column is a counter or a gauge"
        yield from (f"queries: {query.prefix}: {name!r} cannot be part of a name" for name in _odd(query.columns))
        for name in (f"{query.prefix}_{value}" for value in values):
            if seen.setdefault(name, labels) != labels or name.startswith(("nightjar_", "pg_up")):
                yield f"queries: {name}: is there already, with other labels"
        if "instance" in query.columns:
            yield f"queries: {query.prefix}: `instance` is the server's own label"


def _odd(columns: dict[str, Role]) -> Iterator[str]:
    yield from (name for name in columns if not _NAME.fullmatch(name))
