"""Certificates in PKCS#12 files (.p12, .pfx: RFC 7292), by way of the cryptography package: the extra `tls`.

A file is decrypted once for what it holds and not once a round: that takes a key derivation of thousands of rounds,
during which the library lets nobody else run. For the same reason a file that asks for millions of them is refused.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509 import InvalidVersion

from collectors.probes.certificates import (
    INTEGER,
    OCTET_STRING,
    Certificate,
    NoCertificate,
    Value,
    WrongPassphrase,
    children_of,
    parse_certificate,
    read_value,
)

MOST_ROUNDS = 2_000_000  # together; about a second. OpenSSL writes 2,048, who is careful 600,000
MOST_KEPT = 1_000  # files
DEEPEST = 32
CONSTRUCTED = 0x20


class Stores:
    """The files that were opened, by what they held."""

    def __init__(self) -> None:
        self._one_by_one = threading.Lock()
        self._opened: dict[bytes, tuple[Certificate, ...] | NoCertificate] = {}

    def certificates(self, data: bytes, passphrase: str) -> tuple[Certificate, ...]:
        """The certificates of a file; raises `NoCertificate`."""
        mark = hashlib.sha256(hashlib.sha256(data).digest() + passphrase.encode()).digest()
        with self._one_by_one:
            found = self._opened.pop(mark, None) or _outcome(data, passphrase)
            self._opened[mark] = found  # as the last one that was used
            while len(self._opened) > MOST_KEPT:
                del self._opened[next(iter(self._opened))]
        if isinstance(found, NoCertificate):
            raise found
        return found


def _outcome(data: bytes, passphrase: str) -> tuple[Certificate, ...] | NoCertificate:
    try:
        return parse_pkcs12(data, passphrase)
    except NoCertificate as error:
        return error.with_traceback(None)


def parse_pkcs12(data: bytes, passphrase: str) -> tuple[Certificate, ...]:
    """The certificates of a file, that of the key first; raises `NoCertificate`."""
    if sum(_rounds(data)) > MOST_ROUNDS:
        raise NoCertificate("a key derivation of too many rounds")
    try:
        store = pkcs12.load_pkcs12(data, passphrase.encode())
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InvalidVersion) as error:
        kind = WrongPassphrase if "password" in str(error) else NoCertificate
        raise kind(type(error).__name__) from None
    found = [one.certificate for one in (store.cert, *store.additional_certs) if one is not None]
    return tuple(parse_certificate(one.public_bytes(Encoding.DER)) for one in found)


def _rounds(data: bytes) -> list[int]:
    """How often the key derivations go round: wherever a salt is, their number stands behind it."""
    try:
        return [*_behind_salts(data, read_value(data, 0, len(data)), 0)]
    except (IndexError, ValueError):
        return []  # the library will say what is wrong with it


def _behind_salts(data: bytes, parent: Value, depth: int) -> Iterator[int]:
    before = 0
    for child in children_of(data, parent):
        if child.tag == INTEGER and before == OCTET_STRING:
            yield abs(int.from_bytes(data[child.start : child.end], "big", signed=True))
        if depth < DEEPEST and child.tag & CONSTRUCTED:
            yield from _behind_salts(data, child, depth + 1)
        elif child.tag == OCTET_STRING and depth < DEEPEST:
            yield from _within(data, child, depth + 1)
        before = child.tag


def _within(data: bytes, octets: Value, depth: int) -> list[int]:
    """Those of a value that stands in octets; what is encrypted looks like none."""
    try:
        return [*_behind_salts(data, octets, depth)]
    except (IndexError, ValueError):
        return []
