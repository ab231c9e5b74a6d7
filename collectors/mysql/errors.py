"""Every way in which a server can fail us, as a class of a fixed set: never the server's own words."""

from __future__ import annotations

import socket
import ssl
import struct
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
    "tls": "TLS is wanted and there is none, or a certificate does not verify or cannot be read",
    "auth": "the server does not let this user in from here",
    "plugin": "the way to log in is not known here, or would show the password to whoever listens to the link",
    "protocol": "the answer is not what the protocol says, or has no end",
    "starting": "the server starts or stops",
    "too_many_connections": "no connection is left, for anybody or for this user",
    "reset": "the connection broke off",
    "locked": "somebody holds a lock on what a query needs",
    "permission": "the user may not run a query",
    "query": "the server refuses a query",
}
SYNTAX: Final = 1064  # ER_PARSE_ERROR
UNKNOWN_VARIABLE: Final = 1193
UNKNOWN_TABLE: Final = frozenset({1109, 1146})
# Server error reference of MySQL, and MariaDB's error codes from 1900.
_BY_CODE: Final[dict[int, Trouble]] = {
    **dict.fromkeys((1040, 1203, 1226), "too_many_connections"),
    **dict.fromkeys((1044, 1045, 1049, 1129, 1130, 1698, 1820, 1862, 3118, 3955, 4151), "auth"),
    **dict.fromkeys((1251, 1275, 1524, 2049, 2059), "plugin"),
    **dict.fromkeys((1142, 1143, 1227, 1370), "permission"),
    **dict.fromkeys((1205, 1213, 1223), "locked"),
    **dict.fromkeys((1317, 1969, 3024), "timeout"),
    **dict.fromkeys((1043, 1047, *range(1156, 1162), 1835), "protocol"),
    **dict.fromkeys((1927, 3169, 4031), "reset"),
    1053: "starting",
    3159: "tls",
}
# What the network raises, and what a server that lies brings the parsers of packets to.
FAILURES: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    RuntimeError,
    struct.error,
)


class Failed(Exception):
    """The server cannot be used: one of `TROUBLES`."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(TROUBLES[trouble])
        self.trouble = trouble


class Refused(Failed):
    """The server answered with an error; its number alone is kept."""

    def __init__(self, code: int) -> None:
        super().__init__(_BY_CODE.get(code, "query"))
        self.code = code


def trouble_of(error: Exception) -> Trouble:
    """The class of what the link, the network, TLS or a parser raised."""
    if isinstance(error, Failed):
        return error.trouble
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
