"""What `sslmode` means together with the other TLS options, for the databases that have it; the words are libpq's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from agent.tls import ClientFiles

SSL_MODES: Final = ("disable", "prefer", "require", "verify-ca", "verify-full")


class TlsOptions(ClientFiles, Protocol):
    """The options about TLS."""

    @property
    def insecure_skip_verify(self) -> bool:
        """Whether any certificate will do."""

    @property
    def server_name(self) -> str | None:
        """The name that the server's certificate has to be for."""


def sslmode_of(said: str, options: TlsOptions) -> str:
    """One of `SSL_MODES`: what the URL says, which is empty where it says nothing, and what the options ask beyond."""
    if options.insecure_skip_verify:
        return "require"
    if said in ("", "require") and options.server_name is not None:
        return "verify-full"
    if options.ca_file is not None:
        return {"": "verify-full", "require": "verify-ca"}.get(said, said)
    return said or ("require" if options.cert_file is not None else "prefer")


def tls_faults(key: str, said: str, options: TlsOptions) -> Iterator[str]:
    """What contradicts what."""
    files = options.ca_file or options.cert_file
    if options.key_file is not None and options.cert_file is None:
        yield "key_file: needs `cert_file` too"
    if said in ("disable", "prefer") and (files or options.server_name):
        what = "certificates" if files else "server_name"
        yield f"{key}: sslmode={said} and {what} contradict each other"
    if options.insecure_skip_verify and said not in ("", "require"):
        yield f"insecure_skip_verify: contradicts sslmode={said}"
