"""Whether a certificate is for a name: RFC 9525. The subject's common name does not count.

Told apart from trust, so that it can be said of a certificate that nobody trusts, which OpenSSL does not look at.
"""

from __future__ import annotations

import ipaddress

from collectors.probes.certificates import Certificate


def is_for(certificate: Certificate, name: str) -> bool:
    """Whether the certificate is for a host's name, or for an address."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0])) in certificate.addresses
    except ValueError:
        wanted = _ascii(name)
        return any(_fits(pattern.lower().removesuffix("."), wanted) for pattern in certificate.dns_names)


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
