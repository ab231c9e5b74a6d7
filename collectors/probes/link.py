"""A connection as a probe makes it: name, address, TLS, each timed, and every way to fail with a class of its own.

The certificate is read even where it does not verify: the handshake is tried with verification, which alone decides the
verdict; when that fails, a second connection without it, and with every old version and cipher allowed, only looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
import time
from typing import Any, Final, Literal

from msgspec import Struct

from agent.asker import Asker
from collectors.probes.certificates import Certificate, NoCertificate, parse_certificate
from collectors.probes.ciphers import iana_name
from collectors.probes.hostname import is_for

Reason = Literal[
    "resolve", "refused", "unreachable", "connect", "timeout", "tls", "certificate", "reset", "protocol", "proxy",
    "redirect", "too_large", "status", "version", "header", "body", "config", "passphrase",
]  # fmt: skip
REASONS: Final[dict[Reason, str]] = {
    "resolve": "the name has no address",
    "refused": "nobody listens there",
    "unreachable": "no route to the host or network",
    "connect": "the connection failed in another way",
    "timeout": "no end within the collector's time limit",
    "tls": "TLS failed, or is used, or not, against what is expected",
    "certificate": "the certificate does not verify",
    "reset": "the connection broke off",
    "protocol": "the answer is not what the protocol says",
    "proxy": "the proxy refused, or cannot be reached",
    "redirect": "too many redirects, or one to nowhere",
    "too_large": "the body, or a packet, is larger than its limit",
    "status": "the status is not an expected one",
    "version": "the protocol's version is not an expected one",
    "header": "a header is not as expected",
    "body": "the body is not as expected",
    "config": "a file of the configuration cannot be used",
    "passphrase": "the passphrase does not open the file, or it is damaged",
}
_UNREACHABLE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}
PIECE: Final = 64 << 10  # bytes that are read at once
_LIMIT: Final = 64 << 10  # bytes that a connection buffers
_DER: Final = 2  # of `_ssl.Certificate.public_bytes`
MISMATCH: Final = "hostname mismatch"
_MISMATCHES: Final = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH, whose words hold the name

Family = Literal["any", "ip4", "ip6", "prefer_ip4", "prefer_ip6"]
_FAMILIES: Final = {"ip4": socket.AF_INET, "ip6": socket.AF_INET6}  # those that leave no choice
_FIRST: Final = {"prefer_ip4": socket.AF_INET, "prefer_ip6": socket.AF_INET6}
_VERSIONS: Final = {socket.AF_INET: 4.0, socket.AF_INET6: 6.0}
Address = tuple[int, str]  # family, text


class Failed(Exception):
    """A probe did not succeed: a reason of `REASONS`, and words for people that hold no secret. `address` is set where
    there was one that could not be connected to.
    """

    def __init__(self, reason: Reason, words: str = "", address: Address | None = None) -> None:
        super().__init__(words or REASONS[reason])
        self.reason, self.address = reason, address


class Peer(Struct, frozen=True):
    """The other end of a TLS handshake: the chain as it was presented, leaf first, and as it was verified, for the name
    that was asked for. `version` is empty where the handshake was broken off.
    """

    version: str
    cipher: str
    presented: tuple[Certificate, ...]
    verified: tuple[Certificate, ...] = ()
    fault: str = ""  # why it does not verify, in OpenSSL's words
    name: str = ""
    judged: bool = True  # whether it was verified at all

    @property
    def matches(self) -> bool:
        """Whether the leaf is for the name, whatever else is wrong with it."""
        return bool(self.presented) and is_for(self.presented[0], self.name)

    @property
    def earliest_expiry(self) -> float:
        """When the first of the presented certificates expires, Unix seconds; 0 when there is none."""
        return min((one.not_after for one in self.presented), default=0.0)

    @property
    def verified_expiry(self) -> float:
        """When the verified chain stops to be one; 0 when it is none."""
        return min((one.not_after for one in self.verified), default=0.0)


def version_of(address: Address | None) -> float:
    """4 or 6; 0 for no address, and for a Unix socket."""
    return 0.0 if address is None else _VERSIONS.get(socket.AddressFamily(address[0]), 0.0)


class Link:
    """An open connection with what it took to make it, in seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address) -> None:
        self.reader, self.writer, self.address = reader, writer, address
        self.resolve = self.connect = self.tls = 0.0
        self.peer: Peer | None = None
        self.verdict: Reason | None = None  # on its TLS, should it be known before there is more to see

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """The TLS handshake; raises `Failed`, for a certificate that does not verify with reason `certificate`."""
        self._begin_anew()
        started = time.perf_counter()
        try:
            await self.writer.start_tls(context, server_hostname=name or None)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise failure(error) from None
        finally:
            self.tls += time.perf_counter() - started
        self.peer = peer_of(self.writer.get_extra_info("ssl_object"), name)

    def _begin_anew(self) -> None:
        """What came in plain text would be read behind the handshake as if it had come over TLS (CVE-2011-0411)."""
        if self.writer.transport.is_closing():
            raise Failed("reset")
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a whole transport; the handshake resumes it
        if self.reader._buffer:  # type: ignore[attr-defined]  # there is no other way to ask
            raise Failed("protocol", "the server spoke before TLS began")

    def close(self) -> None:
        """Drop it: a probe says no goodbye that could hang."""
        with contextlib.suppress(AttributeError):  # Python before 3.11.5, where TLS is closed already
            self.writer.transport.abort()


class Resolver:
    """Names to addresses, by what the system is set up to ask; a name that hangs holds up no other, and who wants the
    same name at the same time shares the answer.
    """

    def __init__(self) -> None:
        self._asker: Asker[list[Address] | str] = Asker(_look_up)
        self._asked: dict[str, asyncio.Task[list[Address] | str]] = {}

    async def resolve(self, host: str, family: Family, within: float) -> list[Address]:
        """The addresses of a name, as the system orders them; raises `Failed`."""
        if (literal := _literal(host)) is not None:
            return [literal]
        if (task := self._asked.get(host)) is None:
            task = self._asked[host] = asyncio.create_task(self._ask(host, within), name=f"resolve {host}")
            task.add_done_callback(lambda ended: self._asked.pop(host, None))
        found = await asyncio.shield(task)
        if isinstance(found, str):
            raise Failed("resolve", found)
        wanted = [one for one in found if _FAMILIES.get(family, one[0]) == one[0]]
        if not wanted:
            raise Failed("resolve", f"the name has no address of {family}")
        if (first := _FIRST.get(family)) is not None:
            wanted.sort(key=lambda one: one[0] != first)
        return wanted

    async def _ask(self, host: str, within: float) -> list[Address] | str:
        return (await self._asker.ask([host], within)).get(host, "no answer in time")

    def close(self) -> None:
        """Let the threads go."""
        for task in self._asked.values():
            task.cancel()
        self._asker.close()


async def open_link(resolver: Resolver, host: str, port: int, family: Family = "any", within: float = 60.0) -> Link:
    """A TCP connection to the first address that takes one; raises `Failed`."""
    started = time.perf_counter()
    addresses = await resolver.resolve(host, family, within)
    resolved = time.perf_counter()
    failure = Failed("connect")
    for address in addresses[:4]:
        try:
            reader, writer = await asyncio.open_connection(address[1], port, limit=_LIMIT, family=address[0])
        except OSError as error:
            failure = Failed(reason_of(error), words(error), address)
            continue
        link = Link(reader, writer, address)
        link.resolve, link.connect = resolved - started, time.perf_counter() - resolved
        return link
    raise failure


async def open_socket(path: str) -> Link:
    """A connection to a Unix socket; raises `Failed`."""
    started = time.perf_counter()
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_LIMIT)
    except FileNotFoundError as error:
        raise Failed("refused", words(error)) from None
    except OSError as error:
        raise Failed(reason_of(error), words(error)) from None
    link = Link(reader, writer, (socket.AF_UNIX, path))
    link.connect = time.perf_counter() - started
    return link


def failure(error: Exception) -> Failed:
    """What an error of a handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failed("certificate", MISMATCH if error.verify_code in _MISMATCHES else error.verify_message)
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return Failed("config", "what is asked for as the server's name is none")
    return Failed("tls", words(error))


def words(error: Exception) -> str:
    """What an error says, without addresses and numbers that change."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return errno.errorcode.get(error.errno, type(error).__name__)
    return type(error).__name__


def reason_of(error: OSError) -> Reason:
    """The class of an error of the network."""
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    if error.errno in _UNREACHABLE:
        return "unreachable"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset"
    return "timeout" if isinstance(error, TimeoutError) else "connect"


def _literal(host: str) -> Address | None:
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), host


def _look_up(host: str) -> list[Address] | str:
    """In a thread: the addresses, or why there are none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or type(error).__name__)
    return list(dict.fromkeys((int(family), str(address[0])) for family, *_, address in found))


def peer_of(secured: Any, name: str) -> Peer:
    """What a handshake showed, be it at its end or broken off."""
    version, judged = secured.version() or "", secured.context.verify_mode == ssl.CERT_REQUIRED
    cipher = iana_name((secured.cipher() or ("",))[0]) if version else ""
    verified = _chain(secured, "get_verified_chain") if judged else ()
    presented = _chain(secured, "get_unverified_chain")
    return Peer(version, cipher, presented, verified, name=name, judged=judged)


def _chain(secured: Any, which: str) -> tuple[Certificate, ...]:
    """A chain of a handshake; before Python 3.13 only the private half of `ssl` hands it out."""
    if hasattr(secured, which):
        chain = getattr(secured, which)() or ()
    else:
        chain = [one.public_bytes(_DER) for one in getattr(secured._sslobj, which)() or ()]
    found = []
    for der in chain:
        try:
            found.append(parse_certificate(bytes(der)))
        except NoCertificate:
            break  # what stands behind it belongs to nothing
    return tuple(found)
