"""What an X.509 certificate says, read from its DER bytes: RFC 5280, X.690.

A reader of our own: `ssl` reads only certificates that verify, and the cryptography package takes 10 MB of memory for
what are a few dozen lines. It believes nothing: whatever the bytes are, the worst is `NoCertificate`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

INTEGER, BIT_STRING, OCTET_STRING, OID, UTC_TIME, SEQUENCE, SET = 0x02, 0x03, 0x04, 0x06, 0x17, 0x30, 0x31
VERSION, EXTENSIONS = 0xA0, 0xA3
NAMES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.17": "POSTALCODE",
}
KEYS: Final = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.10045.2.1": "ECDSA",
    "1.2.840.10040.4.1": "DSA",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
}
CURVES: Final = {"1.2.840.10045.3.1.7": 256, "1.3.132.0.33": 224, "1.3.132.0.34": 384, "1.3.132.0.35": 521}
FIXED: Final = {"Ed25519": 256, "Ed448": 456}
SIGNATURES: Final = {
    "1.2.840.113549.1.1.4": "MD5-RSA",
    "1.2.840.113549.1.1.5": "SHA1-RSA",
    "1.2.840.113549.1.1.11": "SHA256-RSA",
    "1.2.840.113549.1.1.12": "SHA384-RSA",
    "1.2.840.113549.1.1.13": "SHA512-RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.10045.4.1": "ECDSA-SHA1",
    "1.2.840.10045.4.3.2": "ECDSA-SHA256",
    "1.2.840.10045.4.3.3": "ECDSA-SHA384",
    "1.2.840.10045.4.3.4": "ECDSA-SHA512",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
}
ALTERNATIVE_NAMES = "2.5.29.17"


class NoCertificate(ValueError):
    """Bytes that are no certificate."""


class Certificate(Struct, frozen=True):
    """A certificate: times in Unix seconds, names as in RFC 2253 (most specific first), the serial in hex."""

    fingerprint: str  # SHA-256
    subject: str
    issuer: str
    serial: str
    not_before: float
    not_after: float
    alternative_names: tuple[str, ...]
    key: str
    key_bits: int
    signature: str

    @property
    def self_signed(self) -> bool:
        """Whether it names itself as its issuer."""
        return self.subject == self.issuer


class Value(NamedTuple):
    """A DER value: its tag, and its content between `start` and `end` of the whole."""

    tag: int
    start: int
    end: int


@lru_cache(maxsize=512)
def parse_certificate(der: bytes) -> Certificate:
    """The certificate of DER bytes; raises `NoCertificate`."""
    try:
        return _parse(der)
    except (IndexError, OverflowError, StopIteration, ValueError) as error:
        raise NoCertificate(str(error)) from None


def _parse(der: bytes) -> Certificate:
    whole = _expect(_read(der, 0, len(der)), SEQUENCE)
    body, algorithm, _ = [*_children(der, whole)][:3]
    parts = _children(der, _expect(body, SEQUENCE))
    first = next(parts)
    serial = next(parts) if first.tag == VERSION else first
    _, issuer, validity, subject, key = [next(parts) for _ in range(5)]
    extensions = next((part for part in parts if part.tag == EXTENSIONS), None)
    not_before, not_after = [_time(der, one) for one in _children(der, validity)]
    kind, bits = _key(der, key)
    signed = _oid(der, next(_children(der, algorithm)))
    return Certificate(
        hashlib.sha256(der).hexdigest(),
        _name(der, subject),
        _name(der, issuer),
        der[serial.start : serial.end].hex(),
        not_before,
        not_after,
        tuple(_alternative_names(der, extensions)) if extensions else (),
        kind,
        bits,
        SIGNATURES.get(signed, signed),
    )


# -- DER ----------------------------------------------------------------------------------------------------------


def _read(der: bytes, at: int, limit: int) -> Value:
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        width = length & 0x7F
        if not 1 <= width <= 4:
            raise ValueError("a length of no use")
        length, start = int.from_bytes(der[start : start + width], "big"), start + width
    if start + length > limit:
        raise ValueError("a value beyond its end")
    return Value(tag, start, start + length)


def _children(der: bytes, parent: Value) -> Iterator[Value]:
    at = parent.start
    while at < parent.end:
        child = _read(der, at, parent.end)
        yield child
        at = child.end


def _expect(value: Value, tag: int) -> Value:
    if value.tag != tag:
        raise ValueError(f"tag {value.tag:#x} in the place of {tag:#x}")
    return value


def _oid(der: bytes, value: Value) -> str:
    arcs, arc = [], 0
    for byte in der[_expect(value, OID).start : value.end]:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


# -- what stands in it --------------------------------------------------------------------------------------------


def _time(der: bytes, value: Value) -> float:
    text = der[value.start : value.end].decode("ascii")
    if value.tag == UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _name(der: bytes, value: Value) -> str:
    found = []
    for part in _children(der, _expect(value, SEQUENCE)):
        pairs = []
        for pair in _children(der, _expect(part, SET)):
            kind, text = _children(der, pair)
            name = _oid(der, kind)
            pairs.append(f"{NAMES.get(name, name)}={_escaped(_text(der, text))}")
        found.append("+".join(pairs))
    return ",".join(reversed(found))


def _text(der: bytes, value: Value) -> str:
    encoding = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}.get(value.tag, "utf-8")
    return der[value.start : value.end].decode(encoding, "replace")


def _escaped(text: str) -> str:
    escaped = "".join("\\" + char if char in ',+"\\<>;=' else char for char in text)
    return "\\" + escaped if escaped[:1] in (" ", "#") else escaped


def _key(der: bytes, value: Value) -> tuple[str, int]:
    """The kind of a public key, and its size in bits (0: not known)."""
    algorithm, bits = _children(der, value)
    kind, *parameters = _children(der, algorithm)
    name = KEYS.get(oid := _oid(der, kind), oid)
    if name in FIXED:
        return name, FIXED[name]
    if name == "ECDSA":
        return name, CURVES.get(_oid(der, parameters[0]), 0) if parameters and parameters[0].tag == OID else 0
    if name.startswith("RSA"):
        modulus = next(_children(der, _read(der, _expect(bits, BIT_STRING).start + 1, bits.end)))
        return name, int.from_bytes(der[_expect(modulus, INTEGER).start : modulus.end], "big").bit_length()
    return name, 0


def _alternative_names(der: bytes, extensions: Value) -> Iterator[str]:
    for extension in _children(der, next(_children(der, extensions))):
        kind, *_, content = _children(der, extension)
        if _oid(der, kind) != ALTERNATIVE_NAMES:
            continue
        inner = _read(der, _expect(content, OCTET_STRING).start, content.end)
        for name in _children(der, inner):
            raw = der[name.start : name.end]
            if name.tag in (0x81, 0x82, 0x86):  # mail, DNS, URI
                yield raw.decode("ascii", "replace")
            elif name.tag == 0x87 and len(raw) in (4, 16):
                yield str(ipaddress.ip_address(raw))
