"""How to ask for TLS in protocols that begin in plain text (StartTLS): one conversation a protocol.

Sources: PostgreSQL "SSL Session Encryption"; MySQL "Protocol::SSLRequest"; RFC 3207 (SMTP), 9051 (IMAP), 2595 (POP3),
4217 (FTP), 4511 (LDAP, extended operation 1.3.6.1.4.1.1466.20037).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from collectors.probes.link import Failed, Link, words

LINES = 100  # of a greeting
_MYSQL_SSL: Final = 0x0800
_MYSQL_CAPABILITIES: Final = 0x000FA20D | _MYSQL_SSL  # long password, protocol 4.1, TLS and what goes with them
_LDAP_START: Final = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"


async def upgrade(link: Link, protocol: str) -> None:
    """Bring a link to where the handshake begins; raises `Failed`."""
    try:
        await PROTOCOLS[protocol][1](link)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise Failed("reset" if isinstance(error, OSError) else "protocol", words(error)) from None


async def _line(link: Link, *good: bytes) -> bytes:
    line = await link.reader.readuntil(b"\n")
    if good and not line.startswith(good):
        raise Failed("protocol", "the server does not offer TLS")
    return line


async def _say(link: Link, text: bytes) -> None:
    link.writer.write(text)
    await link.writer.drain()


async def _postgres(link: Link) -> None:
    await _say(link, struct.pack(">II", 8, 80877103))
    if await link.reader.readexactly(1) != b"S":
        raise Failed("protocol", "the server does not offer TLS")


async def _mysql(link: Link) -> None:
    head = await link.reader.readexactly(4)
    length = int.from_bytes(head[:3], "little")
    if head[3] or length > 4096:
        raise Failed("protocol", "no greeting of MySQL")
    greeting = await link.reader.readexactly(length)
    if greeting[:1] != b"\x0a":
        raise Failed("protocol", "no greeting of MySQL, or an error")
    after = greeting.index(0, 1) + 1 + 4 + 8 + 1  # version, thread, half a salt, filler
    if not int.from_bytes(greeting[after : after + 2], "little") & _MYSQL_SSL:
        raise Failed("protocol", "the server does not offer TLS")
    request = struct.pack("<IIB23x", _MYSQL_CAPABILITIES, 1 << 24, 45)
    await _say(link, struct.pack("<I", len(request) | 1 << 24) + request)


async def _smtp(link: Link) -> None:
    await _multi(link, b"220")
    await _say(link, b"EHLO nightjar\r\n")
    await _multi(link, b"250")
    await _say(link, b"STARTTLS\r\n")
    await _multi(link, b"220")


async def _ftp(link: Link) -> None:
    await _multi(link, b"220")
    await _say(link, b"AUTH TLS\r\n")
    await _multi(link, b"234")


async def _multi(link: Link, code: bytes) -> None:
    """An answer of one or more lines: all but the last have a dash behind the code, or, from the second on, no code."""
    for number in range(LINES):
        line = await link.reader.readuntil(b"\n")
        if line[:4].rstrip() == code:
            return
        if line[:3] != code and (number == 0 or line[:3].isdigit()):
            break
    raise Failed("protocol", "the server does not offer TLS")


async def _imap(link: Link) -> None:
    await _line(link, b"* ")
    await _say(link, b"a STARTTLS\r\n")
    for _ in range(LINES):
        if not (await _line(link, b"* ", b"a OK")).startswith(b"*"):
            return
    raise Failed("protocol", "the server does not come to an end")


async def _pop3(link: Link) -> None:
    await _line(link, b"+OK")
    await _say(link, b"STLS\r\n")
    await _line(link, b"+OK")


async def _ldap(link: Link) -> None:
    await _say(link, _LDAP_START)
    head = await link.reader.readexactly(2)
    size = int.from_bytes(await link.reader.readexactly(head[1] & 0x7F), "big") if head[1] & 0x80 else head[1]
    answer = await link.reader.readexactly(min(size, 65_536))
    if b"\x0a\x01\x00" not in answer[:16]:  # resultCode success
        raise Failed("protocol", "the server does not offer TLS")


PROTOCOLS: Final[
    dict[str, tuple[int, Callable[[Link], Awaitable[None]]]]
] = {  # with the port that is meant without one
    "postgres": (5432, _postgres),
    "mysql": (3306, _mysql),
    "smtp": (25, _smtp),
    "imap": (143, _imap),
    "pop3": (110, _pop3),
    "ftp": (21, _ftp),
    "ldap": (389, _ldap),
}
