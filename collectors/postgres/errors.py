"""Every way in which a server can fail us, as a class of a fixed set: never the server's own words."""

from __future__ import annotations

import socket
import ssl
from typing import Final, Literal

Trouble = Literal[
    "resolve", "refused", "connect", "timeout", "tls", "auth", "plugin", "protocol", "starting",
    "too_many_connections", "reset", "locked", "permission", "query",
]  # fmt: skip
TROUBLES: Final[dict[Trouble, str]] = {
    "resolve": "the name has no address",
    "refused": "nobody listens on the port, or at the socket's path",
    "connect": "the connection failed in another way",
    "timeout": "no answer within the collector's or the statement's time limit",
    "tls": "no TLS, or a certificate that does not verify or cannot be read",
    "auth": "the server does not let this user into this database",
    "plugin": "the way to log in is not known here, or would show the password to whoever listens to the link",
    "protocol": "the answer is not what the protocol says, or has no end",
    "starting": "the server starts, stops or recovers",
    "too_many_connections": "no connection is left",
    "reset": "the connection broke off",
    "locked": "somebody holds a lock on what a query needs",
    "permission": "the role may not run a query",
    "query": "the server refuses a query",
}
_BY_STATE: Final[dict[str, Trouble]] = {
    "57P03": "starting",
    "53300": "too_many_connections",
    "3D000": "auth",
    "42501": "permission",
    "55P03": "locked",
    "40P01": "locked",
    "57014": "timeout",
    "25P03": "reset",
    "57P01": "reset",
    "57P02": "reset",
    "57P05": "reset",
    "58P01": "query",
}
_BY_CLASS: Final[dict[str, Trouble]] = {"28": "auth", "08": "protocol"}


# Beside asyncpg's own: what the network raises, and what a server that lies brings its decoders to.
_ODD: Final = (
    OSError,
    EOFError,
    BufferError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    AttributeError,
)


class Failed(Exception):
    """The server cannot be used: one of `TROUBLES`."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(TROUBLES[trouble])
        self.trouble = trouble


def failures() -> tuple[type[Exception], ...]:
    """What a server can make asyncpg raise."""
    import asyncpg  # type: ignore[import-untyped]  # ships no marker
    from asyncpg.pgproto.pgproto import BufferError as Overread  # type: ignore[import-untyped]  # ships no marker

    own = asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
    return (Failed, *own, Overread, *_ODD)


def login_trouble_of(error: Exception) -> Trouble:
    """The same for a login, where pgbouncer refuses with one state (08P01) whatever its reason is."""
    if getattr(error, "sqlstate", None) == "08P01":
        return "too_many_connections" if "no more connections" in str(error) else "auth"
    return trouble_of(error)


def trouble_of(error: Exception) -> Trouble:
    """The class of what asyncpg, the network or TLS raised."""
    if isinstance(error, Failed):
        return error.trouble
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str) and state:
        return _BY_STATE.get(state) or _BY_CLASS.get(state[:2]) or "query"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, OSError):
        return _of_network(error)
    return "protocol"


def _of_network(error: OSError) -> Trouble:
    if isinstance(error, socket.gaierror):
        return "resolve"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "refused"
    return "reset" if isinstance(error, ConnectionResetError | BrokenPipeError) else "connect"
