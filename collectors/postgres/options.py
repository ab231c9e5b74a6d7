"""The options of the PostgreSQL collector, and what its DSN means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Meta, Struct

from collectors.sslmodes import SSL_MODES, sslmode_of, tls_faults
from collectors.urls import login_hint
from config import Duration, Secret
from config.faults import did_you_mean

_SCHEMES: Final = ("postgres", "postgresql")
_OURS: Final = ("nightjar_", "pg_settings_")
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
        return sslmode_of(self.target.sslmode, self)


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
    yield from tls_faults(options.KEY, target.sslmode, options)


def _query_faults(queries: tuple[Query, ...]) -> Iterator[str]:
    from collectors.postgres import METRICS  # as above
    from collectors.postgres.parts import PARTS

    ours, parts = {family.name for family in METRICS}, {part.name for part in PARTS}
    seen: dict[str, tuple[str, str]] = {}
    for query in queries:
        labels = ",".join(sorted(name for name, role in query.columns.items() if role == "label"))
        values = {f"{query.prefix}_{name}": role for name, role in query.columns.items() if role != "label"}
        if not values:
            yield f"queries: {query.prefix}: no column is a counter or a gauge"
        if query.prefix in parts:
            yield f"queries: {query.prefix}: is the name of a part"
        odd = [name for name in (query.prefix, *query.columns) if not _NAME.fullmatch(name)]
        yield from (f"queries: {query.prefix!r}: {name!r} cannot be part of a name" for name in odd)
        for name, role in values.items():
            if name in ours or name.startswith(_OURS):
                yield f"queries: {name}: is a metric of ours"
            elif seen.setdefault(name, (labels, role)) != (labels, role):
                yield f"queries: {name}: is there already, with other labels or of another kind"
        yield from _label_faults(query)


def _label_faults(query: Query) -> Iterator[str]:
    for name, role in query.columns.items():
        if role == "label" and name.startswith("__"):
            yield f"queries: {query.prefix}: {name!r} cannot be a label: names that begin with `__` are Prometheus' own"
    if "instance" in query.columns:
        yield f"queries: {query.prefix}: `instance` is the server's own label"
