"""A connection to Redis that is kept, whose replies are bounded whatever the server sends. Needs redis-py.

It speaks RESP2, which every server knows, with redis-py's parser in Python. Not chosen: hiredis, which would count
nothing and believes the sizes that a lying server announces. Nothing is retried here, and nothing has a time limit:
whoever waits cancels what is late, and the connection is thrown away.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, cast

from redis._parsers import _AsyncRESP2Parser  # has no public name; protocol=2 alone would take hiredis if it is there
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import TimeoutError as LinkTimeout

from agent.tls import client_context
from collectors.redis.options import Options, Target
from config import Secret

Why = Literal["resolve", "refused", "connect", "timeout", "tls", "auth", "protocol", "loading", "busy", "reset"]
Reply = bytes | int | list[Any] | ResponseError | None

REPLY_BYTES: Final = 4 << 20
LINE_BYTES: Final = 64 << 10
PIECE_BYTES: Final = 64 << 10
REPLY_ITEMS: Final = 100_000  # the biggest honest reply, LATENCY HISTOGRAM, has some 30,000
BREATH: Final = 500  # items after which the event loop gets its turn
NAME: Final = "nightjar"  # in CLIENT LIST
_NEVER: Final = 86_400.0  # seconds

FAULTS: Final = (RedisError, OSError, ValueError, EOFError, RecursionError)  # all that reading a reply may raise


class TooMuch(ValueError):
    """A reply is larger than any honest one."""


class Bounded:
    """What the parser reads from: lines and bytes of each reply, counted, out of pieces as large as they come."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._piece, self._at = b"", 0
        self._bytes = self._items = 0

    def next_reply(self) -> None:
        """Count anew."""
        self._bytes = self._items = 0

    async def readline(self) -> bytes:
        """A line, of 64 KiB at most; without its end where the stream ends."""
        self._items += 1
        if self._items > REPLY_ITEMS:
            raise TooMuch(f"a reply of more than {REPLY_ITEMS} items")
        if self._items % BREATH == 0:
            await asyncio.sleep(0)
        while not (end := self._piece.find(b"\n", self._at) + 1):
            if len(self._piece) - self._at > LINE_BYTES:
                raise TooMuch(f"a line of more than {LINE_BYTES} bytes")
            if not await self._more():
                end = len(self._piece)
                break
        return self._taken(end - self._at)

    async def readexactly(self, count: int) -> bytes:
        """So many bytes, unless that is too much; raises asyncio.IncompleteReadError."""
        if count < 0 or self._bytes + count > REPLY_BYTES:
            raise TooMuch(f"a reply of more than {REPLY_BYTES} bytes")
        here = self._piece[self._at :]
        if count <= len(here):
            return self._taken(count)
        self._piece, self._at = b"", 0
        self._bytes += count
        return here + await self._stream.readexactly(count - len(here))

    async def _more(self) -> bool:
        piece = await self._stream.read(PIECE_BYTES)
        self._piece, self._at = self._piece[self._at :] + piece, 0
        return bool(piece)

    def _taken(self, count: int) -> bytes:
        self._bytes += count
        if self._bytes > REPLY_BYTES:
            raise TooMuch(f"a reply of more than {REPLY_BYTES} bytes")
        start = self._at
        self._at += count
        return self._piece[start : self._at]


class Connection(AbstractConnection):
    """redis-py's connection over a socket that we open ourselves: TCP, TLS with a name of our choice, or Unix."""

    def __init__(self, target: Target, context: ssl.SSLContext | None, server_name: str | None, **login: Any) -> None:
        super().__init__(
            **login,
            protocol=2,
            parser_class=_AsyncRESP2Parser,
            socket_timeout=None,
            socket_connect_timeout=None,
            driver_info=None,  # CLIENT SETINFO would count as an error on servers before Redis 7.2
        )
        self._target, self._context, self._server_name = target, context, server_name
        self._bounded: Bounded | None = None
        self._transport: asyncio.WriteTransport | None = None

    async def _connect(self) -> None:
        target = self._target
        if target.path:
            reader, writer = await asyncio.open_unix_connection(target.path)
        else:
            name = (self._server_name or target.host) if self._context else None
            reader, writer = await asyncio.open_connection(
                *(target.host, target.port),
                ssl=self._context,
                server_hostname=name,
                ssl_handshake_timeout=_NEVER if self._context else None,  # ours is the caller's
            )
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._bounded, self._transport = Bounded(reader), writer.transport
        self._reader, self._writer = cast(asyncio.StreamReader, self._bounded), writer  # the parser reads from it

    def _host_error(self) -> str:
        return self._target.instance

    def repr_pieces(self) -> list[tuple[str, str]]:
        """What its repr shows: no login."""
        return [("target", self._target.instance)]

    def next_reply(self) -> None:
        """Count the next reply's size from nothing."""
        if self._bounded is not None:
            self._bounded.next_reply()

    def drop(self) -> None:
        """Close at once, without a farewell that could hang."""
        if self._transport is not None:
            self._transport.abort()
        self._reader = self._writer = None

    async def disconnect(self, *_: Any, **__: Any) -> None:
        """What redis-py calls on any error; its own waits for TLS to say goodbye."""
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]  # redis-py's
        self.drop()


class Link:
    """One connection, from `open` to `drop`, and which queries are not worth asking over it for a while."""

    def __init__(self, options: Options, target: Target) -> None:
        self._waiting: dict[str, int] = {}
        self._tls = target.tls
        context = _tls_context(options) if target.tls else None
        username = options.username if options.username is not None else target.username
        password = _revealed(options.password) if options.password is not None else target.password
        self._connection = Connection(target, context, options.server_name, username=username, password=password)

    async def open(self) -> None:
        """Connect, log in, and say who we are, which a server may refuse."""
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            await self.ask("CLIENT", "SETNAME", NAME)
        except FAULTS as error:
            if self._tls and why(error) == "reset":  # with TLS 1.3 a certificate is refused after the handshake
                raise ssl.SSLError("the server hung up before it answered anything") from error
            raise

    async def ask(self, *command: str | bytes | int) -> Reply:
        """The reply to a command; an error that the server answers is a reply, a broken connection raises."""
        return (await self.ask_all([command]))[0]

    async def ask_all(self, commands: Sequence[Iterable[str | bytes | int]]) -> list[Reply]:
        """The replies to commands that are sent together."""
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [await self._reply() for _ in commands]

    async def _reply(self) -> Reply:
        self._connection.next_reply()
        try:
            reply: Reply = await self._connection.read_response()
        except ResponseError as error:
            return error
        return reply

    def wait(self, query: str, rounds: int) -> None:
        """Do not ask this in so many rounds."""
        self._waiting[query] = rounds

    def waits(self, query: str) -> bool:
        """Whether a query is not to be asked in this round."""
        left = self._waiting.pop(query, 0)
        if left:
            self._waiting[query] = left - 1
        return left > 0

    def drop(self) -> None:
        """Close at once."""
        self._connection.drop()


def why(error: BaseException) -> Why:
    """The class of a failure; redis-py wraps what happened, so its whole chain is looked at."""
    chain = list(_chain(error))
    for kinds, reason in _REASONS:
        if any(isinstance(each, kinds) for each in chain):
            return reason
    if any(f"[Errno {errno.ECONNREFUSED}]" in str(each) for each in chain):  # of several addresses, all refused
        return "refused"
    if isinstance(error, ResponseError) or getattr(error, "status_code", None):
        return _answered(str(error))
    system = [each for each in chain if isinstance(each, OSError)]
    return "connect" if system else "reset" if isinstance(error, LinkError | EOFError) else "protocol"


_REASONS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Why], ...]] = (
    ((AuthenticationError, NoPermissionError), "auth"),
    (BusyLoadingError, "loading"),
    (ssl.SSLError, "tls"),
    (socket.gaierror, "resolve"),
    (ConnectionRefusedError, "refused"),
    ((TimeoutError, LinkTimeout), "timeout"),
    ((ConnectionResetError, BrokenPipeError, ConnectionAbortedError), "reset"),
    ((InvalidResponse, ValueError, RecursionError), "protocol"),
)


def _answered(words: str) -> Why:
    """The class of an error that the server answered."""
    if words.startswith("BUSY"):
        return "busy"
    return "refused" if words.startswith("DENIED") or "max number of clients" in words else "protocol"


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _revealed(password: Secret) -> str:
    password.reread()
    return password.reveal()


def _tls_context(options: Options) -> ssl.SSLContext:
    """The TLS settings; raises ssl.SSLError when a file cannot be used."""
    try:
        return client_context(options, verify=not options.insecure_skip_verify)
    except OSError as error:
        raise ssl.SSLError(f"a certificate cannot be used: {error}") from error
