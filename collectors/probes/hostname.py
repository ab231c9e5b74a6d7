"""Whether a certificate is for a name: RFC 9525. The subject's common name does not count.

Told apart from trust, so that it can be said of a certificate that nobody trusts, which OpenSSL does not look at.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from itertools import chain

from collectors.probes.certificates import ADDRESS, DNS, Certificate, all_names


def is_for(certificate: Certificate, name: str) -> bool:
    """Whether the certificate is for a host's name, or for an address."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        wanted = _ascii(name)
        sign = (wanted.partition(".")[2] or wanted).encode()
        patterns = chain(certificate.dns_names, _left(certificate, DNS, seen=sign in certificate.der.lower()))
        return any(_fits(pattern.lower().removesuffix("."), wanted) for pattern in patterns)
    found = chain(certificate.addresses, _left(certificate, ADDRESS, seen=address.packed in certificate.der))
    return str(address) in found


def _left(certificate: Certificate, kind: int, *, seen: bool) -> Iterator[str]:
    """The names of a kind where more are there than are kept; it takes long, so only if a part of it was seen."""
    if certificate.names_left and seen:
        with contextlib.suppress(IndexError, ValueError):  # of the damaged, those in front
            yield from (text for tag, text in all_names(certificate) if tag == kind)


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        return name.lower().removesuffix(".")


def _fits(pattern: str, name: str) -> bool:
    """A wildcard stands for one whole label, the first, of a name that has two more."""
    if not pattern.startswith("*."):
        return bool(name) and pattern == name
    first, _, rest = name.partition(".")
    return bool(first) and pattern[2:] == rest and "." in rest
