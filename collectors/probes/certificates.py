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
from itertools import islice
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
FEATURES = "1.3.6.1.5.5.7.1.24"  # RFC 7633
STATUS_REQUEST = b"\x05"
LONGEST_OID = 64  # bytes; they have ten
MOST_NAMES = 200  # alternative names of a certificate that are kept
CACHED = 4 << 10  # bytes of a certificate that is
MAIL, DNS, URI, ADDRESS = 0x81, 0x82, 0x86, 0x87


class NoCertificate(ValueError):
    """Bytes that are no certificate."""


class WrongPassphrase(NoCertificate):
    """The passphrase does not fit; a file that was damaged behind its head looks the same."""


class Certificate(Struct, frozen=True):
    """A certificate: times in Unix seconds, names as in RFC 2253 (most specific first), the serial in hex;
    `must_staple`: whoever shows it promises to show its state as well (OCSP).
    """

    der: bytes
    fingerprint: str  # SHA-256
    subject: str
    issuer: str
    serial: str
    not_before: float
    not_after: float
    alternative_names: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    key: str
    key_bits: int
    signature: str
    must_staple: bool
    names_left: bool = False  # whether it has more alternative names than are kept; `all_names` reads them

    @property
    def self_signed(self) -> bool:
        """Whether it names itself as its issuer."""
        return self.subject == self.issuer


class Value(NamedTuple):
    """A DER value: its tag, and its content between `start` and `end` of the whole."""

    tag: int
    start: int
    end: int


def parse_certificate(der: bytes) -> Certificate:
    """The certificate of DER bytes; raises `NoCertificate`."""
    return _remembered(der) if len(der) <= CACHED else _read(der)


def all_names(certificate: Certificate) -> Iterator[tuple[int, str]]:
    """Every alternative name, with its tag."""
    der = certificate.der
    extensions = _extensions(der, next(part for part in _parts(der) if part.tag == EXTENSIONS))
    return _alternative_names(der, next(octets for kind, octets in extensions if kind == ALTERNATIVE_NAMES))


@lru_cache(maxsize=512)
def _remembered(der: bytes) -> Certificate:
    return _read(der)


def _read(der: bytes) -> Certificate:
    try:
        return _parse(der)
    except (IndexError, OverflowError, StopIteration, ValueError) as error:
        raise NoCertificate(str(error)) from None


def _parts(der: bytes) -> Iterator[Value]:
    """Those of the signed half of a certificate."""
    return children_of(der, _expect(next(children_of(der, read_value(der, 0, len(der)))), SEQUENCE))


def _parse(der: bytes) -> Certificate:
    whole = _expect(read_value(der, 0, len(der)), SEQUENCE)
    body, algorithm, _ = [*children_of(der, whole)][:3]
    parts = children_of(der, _expect(body, SEQUENCE))
    first = next(parts)
    serial = next(parts) if first.tag == VERSION else first
    _, issuer, validity, subject, key = [next(parts) for _ in range(5)]
    extensions = next((part for part in parts if part.tag == EXTENSIONS), None)
    not_before, not_after = [_time(der, one) for one in children_of(der, validity)]
    kind, bits = _key(der, key)
    signed = _oid(der, next(children_of(der, algorithm)))
    said = dict(_extensions(der, extensions)) if extensions else {}
    all_of_them = _alternative_names(der, said[ALTERNATIVE_NAMES]) if ALTERNATIVE_NAMES in said else iter(())
    names = tuple(islice(all_of_them, MOST_NAMES))
    return Certificate(
        der,
        hashlib.sha256(der).hexdigest(),
        _name(der, subject),
        _name(der, issuer),
        _serial(der[serial.start : serial.end]),
        not_before,
        not_after,
        tuple(text for _, text in names),
        tuple(text for tag, text in names if tag == DNS),
        tuple(text for tag, text in names if tag == ADDRESS),
        kind,
        bits,
        SIGNATURES.get(signed, signed),
        FEATURES in said and _must_staple(der, said[FEATURES]),
        next(all_of_them, None) is not None,
    )


# -- DER ----------------------------------------------------------------------------------------------------------


def read_value(der: bytes, at: int, limit: int) -> Value:
    """The value that begins at a place; raises IndexError and ValueError."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        width = length & 0x7F
        if not 1 <= width <= 4:
            raise ValueError("a length of no use")
        length, start = int.from_bytes(der[start : start + width], "big"), start + width
    if start + length > limit:
        raise ValueError("a value beyond its end")
    return Value(tag, start, start + length)


def children_of(der: bytes, parent: Value) -> Iterator[Value]:
    """The values within another one."""
    at = parent.start
    while at < parent.end:
        child = read_value(der, at, parent.end)
        yield child
        at = child.end


def _expect(value: Value, tag: int) -> Value:
    if value.tag != tag:
        raise ValueError(f"tag {value.tag:#x} in the place of {tag:#x}")
    return value


def _oid(der: bytes, value: Value) -> str:
    arcs, arc = [], 0
    if value.end - value.start > LONGEST_OID:  # numbers without an end take time without an end
        return f"{der[value.start : value.start + LONGEST_OID].hex()}…"
    for byte in der[_expect(value, OID).start : value.end]:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


# -- what stands in it --------------------------------------------------------------------------------------------


def _serial(number: bytes) -> str:
    """Whole bytes in hex, without the sign's."""
    digits = f"{abs(int.from_bytes(number, 'big', signed=True)):x}"
    return digits.zfill(len(digits) + len(digits) % 2)


def _time(der: bytes, value: Value) -> float:
    text = der[value.start : value.end].decode("ascii")
    if value.tag == UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _name(der: bytes, value: Value) -> str:
    found = []
    for part in children_of(der, _expect(value, SEQUENCE)):
        pairs = []
        for pair in children_of(der, _expect(part, SET)):
            kind, text = children_of(der, pair)
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
    algorithm, bits = children_of(der, value)
    kind, *parameters = children_of(der, algorithm)
    name = KEYS.get(oid := _oid(der, kind), oid)
    if name in FIXED:
        return name, FIXED[name]
    if name == "ECDSA":
        return name, CURVES.get(_oid(der, parameters[0]), 0) if parameters and parameters[0].tag == OID else 0
    if name.startswith("RSA"):
        modulus = next(children_of(der, read_value(der, _expect(bits, BIT_STRING).start + 1, bits.end)))
        return name, int.from_bytes(der[_expect(modulus, INTEGER).start : modulus.end], "big").bit_length()
    return name, 0


def _extensions(der: bytes, extensions: Value) -> Iterator[tuple[str, Value]]:
    """The extensions: what each is, and its octets."""
    for extension in children_of(der, read_value(der, extensions.start, extensions.end)):
        kind, *_, content = children_of(der, extension)
        yield _oid(der, kind), _expect(content, OCTET_STRING)


def _alternative_names(der: bytes, octets: Value) -> Iterator[tuple[int, str]]:
    for name in children_of(der, read_value(der, octets.start, octets.end)):
        raw = der[name.start : name.end]
        if name.tag in (MAIL, DNS, URI):
            yield name.tag, raw.decode("ascii", "replace")
        elif name.tag == ADDRESS and len(raw) in (4, 16):
            yield name.tag, str(ipaddress.ip_address(raw))


def _must_staple(der: bytes, octets: Value) -> bool:
    features = children_of(der, read_value(der, octets.start, octets.end))
    return any(der[one.start : one.end] == STATUS_REQUEST for one in features)
