"""Logging in: the server's greeting, TLS, our answer, and whatever the server then asks for.

The protocol's "Connection Phase". What a server gets is a proof that we know the password. One that wants the password
gets it over a socket of this machine and over TLS: within caching_sha2_password and sha256_password over any, as all
clients do, else over TLS that was verified. Everyone else gets nothing (`plugin`); above all no password encrypted with
a key that whoever is at the other end has made.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from pymysql import _auth  # type: ignore[import-untyped]  # ships no marker; its ways to log in have no public name
from pymysql.constants import CLIENT  # type: ignore[import-untyped]
from pymysql.protocol import MysqlPacket  # type: ignore[import-untyped]

from collectors.mysql.errors import Failed, Refused
from collectors.mysql.options import Options, Target
from collectors.mysql.wire import Wire, tls_context
from config import reveal

APPLICATION: Final = b"nightjar"
_CHARSET: Final = 45  # utf8mb4_general_ci: known to every MySQL since 5.5.3 and every MariaDB
_LARGEST: Final = (1 << 24) - 1  # of a packet
_WANTED: Final = (
    CLIENT.LONG_PASSWORD  # by which MariaDB knows that none of its extensions is spoken
    | CLIENT.LONG_FLAG
    | CLIENT.PROTOCOL_41
    | CLIENT.TRANSACTIONS
    | CLIENT.SECURE_CONNECTION
    | CLIENT.PLUGIN_AUTH
    | CLIENT.CONNECT_ATTRS
)
_NEEDED: Final = CLIENT.PROTOCOL_41 | CLIENT.SECURE_CONNECTION
_OK, _MORE, _SWITCH, _ERROR = 0x00, 0x01, 0xFE, 0xFF  # the first byte of what a server says while we log in
_KNOWN, _WHOLE = 3, 4  # what caching_sha2_password says: the proof was enough, or the password is wanted
_MOST_STEPS: Final = 8


class Greeting(Struct, frozen=True):
    """What a server says first."""

    capabilities: int
    nonce: bytes
    plugin: str


class Account:
    """Who logs in, and how much the link may be told: `private` links hide it from listeners, and a `trusted` one leads
    to nobody else than the server.
    """

    def __init__(self, user: str, password: bytes, *, private: bool, trusted: bool) -> None:
        self.user, self.password, self.private, self.trusted = user, password, private, trusted

    def answer(self, plugin: str, nonce: bytes) -> bytes:
        """What a plugin expects at first; raises `Failed` for one that is not known, or that must not be answered."""
        if plugin in _PROOFS:
            return _PROOFS[plugin](self.password, nonce) if self.password else b""
        if plugin == "sha256_password":
            return self._told(self.private) if self.password else b"\0"
        if plugin in ("mysql_clear_password", "dialog"):
            return self._told(self.trusted)
        raise Failed("plugin")

    def _told(self, allowed: bool) -> bytes:
        if not allowed:
            raise Failed("plugin")
        return self.password + b"\0"

    def prove(self, plugin: str, told: bytes) -> bytes | None:
        """What to say when the first answer was not enough, if anything; raises `Failed`."""
        if plugin != "caching_sha2_password" or told not in (bytes((_KNOWN,)), bytes((_WHOLE,))):
            raise Failed("plugin")
        return self._told(self.private) if told[0] == _WHOLE else None


def _signed(password: bytes, nonce: bytes) -> bytes:
    try:
        return bytes(_auth.ed25519_password(password, nonce))
    except RuntimeError:  # PyNaCl is not there
        raise Failed("plugin") from None


_PROOFS: Final[dict[str, Callable[[bytes, bytes], bytes]]] = {
    "mysql_native_password": _auth.scramble_native_password,
    "caching_sha2_password": _auth.scramble_caching_sha2,
    "client_ed25519": _signed,
}


async def log_in(wire: Wire, options: Options) -> None:
    """From the greeting to the first query; raises `Failed`, ValueError and the like."""
    greeting = parse_greeting(await _receive(wire))
    capabilities = _WANTED & greeting.capabilities
    secured = await _secure(wire, options, greeting)
    target = options.target
    here, verified = bool(target.socket), options.sslmode.startswith("verify")
    account = Account(
        target.user, _password(options, target), private=secured or here, trusted=(secured and verified) or here
    )
    plugin = greeting.plugin if greeting.plugin in _PROOFS else "mysql_native_password"
    first = account.answer(plugin, greeting.nonce)
    if secured:
        capabilities |= CLIENT.SSL
    wire.send(encode_login(account.user, first, plugin, capabilities))
    await _settle(wire, account, plugin, greeting.nonce)


async def _secure(wire: Wire, options: Options, greeting: Greeting) -> bool:
    mode = options.sslmode
    if mode == "disable" or options.target.socket:
        return False
    if not greeting.capabilities & CLIENT.SSL:
        if mode != "prefer":
            raise Failed("tls")
        return False
    capabilities = _WANTED & greeting.capabilities | CLIENT.SSL
    wire.send(struct.pack("<IIB23x", capabilities, _LARGEST, _CHARSET))
    await wire.secure(tls_context(options), options.server_name or options.target.host)
    return True


async def _settle(wire: Wire, account: Account, plugin: str, nonce: bytes) -> None:
    for _ in range(_MOST_STEPS):
        said = await _receive(wire)
        if said[0] == _OK:
            return
        if said[0] == _SWITCH:
            plugin, nonce = parse_switch(said)
            wire.send(account.answer(plugin, nonce))
        elif said[0] == _MORE:
            if (proof := account.prove(plugin, said[1:])) is not None:
                wire.send(proof)
        else:
            break
    raise Failed("protocol")


async def _receive(wire: Wire) -> bytes:
    """What a server says while we log in; raises `Refused` for an error, `Failed` for nothing."""
    said = await wire.receive()
    if not said:
        raise Failed("protocol")
    if said[0] == _ERROR:
        raise refusal(said)
    return said


def refusal(packet: bytes) -> Refused:
    """The error of an error packet, of which only the number is kept."""
    return Refused(int.from_bytes(packet[1:3], "little"))


def parse_greeting(data: bytes) -> Greeting:
    """Protocol::HandshakeV10; raises `Failed`, ValueError and the like for anything else."""
    packet = MysqlPacket(data, "utf8")
    if packet.read_uint8() != 10:
        raise Failed("protocol")
    packet.read_string()  # the version, which proxies make up: asked for later
    packet.read_uint32()
    nonce = bytes(packet.read(8))
    packet.read_uint8()
    low, _charset, _status, high, length = packet.read_struct("<HBHHB")
    capabilities = low | high << 16
    if capabilities & _NEEDED != _NEEDED:
        raise Failed("protocol")
    packet.read(10)
    nonce += bytes(packet.read(max(13, length - 8)))[:12]
    name = bytes(packet.read_all()) if capabilities & CLIENT.PLUGIN_AUTH else b"mysql_native_password"
    return Greeting(capabilities, nonce, name.partition(b"\0")[0].decode("ascii", "replace"))


def parse_switch(packet: bytes) -> tuple[str, bytes]:
    """Plugin and nonce of an AuthSwitchRequest; the one of MySQL before 4.1 has neither, and is not known here."""
    plugin, _, nonce = packet[1:].partition(b"\0")
    return plugin.decode("ascii", "replace"), nonce.removesuffix(b"\0")


def encode_login(user: str, answer: bytes, plugin: str, capabilities: int) -> bytes:
    """Protocol::HandshakeResponse41."""
    parts = [struct.pack("<IIB23x", capabilities, _LARGEST, _CHARSET), user.encode(), b"\0", _counted(answer)]
    if capabilities & CLIENT.PLUGIN_AUTH:
        parts += [plugin.encode(), b"\0"]
    if capabilities & CLIENT.CONNECT_ATTRS:
        parts.append(_counted(_counted(b"program_name") + _counted(APPLICATION)))
    return b"".join(parts)


def _counted(text: bytes) -> bytes:
    return bytes((len(text),)) + text  # all of them shorter than 251 bytes


def _password(options: Options, target: Target) -> bytes:
    if options.password is not None:
        options.password.reread()
        return reveal(options.password).encode()
    return (target.password or "").encode()
