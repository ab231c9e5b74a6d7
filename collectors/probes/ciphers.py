"""Names of cipher suites: OpenSSL has its own, everybody else those of IANA (the TLS Cipher Suites registry)."""

from __future__ import annotations

import re
from typing import Final

_EXCHANGES: Final = {
    "ECDHE-ECDSA": "ECDHE_ECDSA",
    "ECDHE-RSA": "ECDHE_RSA",
    "DHE-RSA": "DHE_RSA",
    "DHE-DSS": "DHE_DSS",
    "AECDH": "ECDH_anon",
    "ADH": "DH_anon",
    "ECDHE": "ECDHE_RSA",
    "": "RSA",
}
_BLOCK: Final = re.compile(r"(AES|ARIA|CAMELLIA)(128|256)-(?:(GCM-SHA\d+)|(CCM)(8?)|(SHA\d*))")
_OTHERS: Final = {
    "CHACHA20-POLY1305": "CHACHA20_POLY1305_SHA256",
    "DES-CBC3-SHA": "3DES_EDE_CBC_SHA",
    "RC4-SHA": "RC4_128_SHA",
    "RC4-MD5": "RC4_128_MD5",
    "NULL-SHA": "NULL_SHA",
    "NULL-SHA256": "NULL_SHA256",
    "NULL-MD5": "NULL_MD5",
}


def iana_name(name: str) -> str:
    """The registry's name of a suite that OpenSSL names; of one that is not known (pre-shared keys …), OpenSSL's."""
    for prefix, exchange in _EXCHANGES.items():
        if name.startswith(f"{prefix}-" if prefix else "") and (kind := _kind(name[len(prefix) :].lstrip("-"))):
            return f"TLS_{exchange}_WITH_{kind}"
    return name


def _kind(name: str) -> str:
    if name in _OTHERS:
        return _OTHERS[name]
    if (found := _BLOCK.fullmatch(name)) is None:
        return ""
    cipher, bits, gcm, ccm, short, digest = found.groups()
    mode = gcm.replace("-", "_") if gcm else f"CBC_{digest}" if digest else ccm + ("_8" if short else "")
    return f"{cipher}_{bits}_{mode}"
