"""TLS from PEM files: of the agent's endpoint, of its clients, and what is wrong with such files."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Protocol

from config import AgentOptions, ClientOptions
from config.files import Unreadable, read_regular

LARGEST = 4 << 20  # bytes of a PEM file; a bundle of all public authorities has 0.2 MiB


def tls_context(options: AgentOptions) -> ssl.SSLContext | None:
    """What the endpoint is served with; None for plain HTTP. Raises ValueError, as options' own checks do."""
    if options.cert_file is None:
        return None
    _check_files(client_ca_file=options.client_ca_file, cert_file=options.cert_file, key_file=options.key_file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_pair(context, options.cert_file, options.key_file)
    if options.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authority(context, "client_ca_file", options.client_ca_file)
    return context


class ClientFiles(Protocol):
    """The files in a network client's options."""

    @property
    def ca_file(self) -> str | None:
        """Authorities to trust in place of the system's."""

    @property
    def cert_file(self) -> str | None:
        """A certificate to show."""

    @property
    def key_file(self) -> str | None:
        """Its key; None where `cert_file` holds it."""


def client_context(files: ClientFiles, *, verify: bool, name: bool = True) -> ssl.SSLContext:
    """What a client speaks TLS with. `verify`: the chain has to lead to `ca_file`, or to what the system trusts, and
    with `name` be for the host. Raises OSError, of which ssl.SSLError is one, for a file that cannot be used.
    """
    context = ssl.create_default_context(cafile=files.ca_file) if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify and name
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if files.cert_file is not None:
        try:
            _load_pair(context, files.cert_file, files.key_file)
        except ValueError as error:
            raise OSError(str(error)) from error
    return context


def try_client_files(options: ClientOptions) -> None:
    """Load what a network client will load when it connects. Raises ValueError, as options' own checks do."""
    _check_files(ca_file=options.ca_file, cert_file=options.cert_file, key_file=options.key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if options.ca_file is not None:
        _load_authority(context, "ca_file", options.ca_file)
    if options.cert_file is not None:
        _load_pair(context, options.cert_file, options.key_file)


def _load_pair(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    held = f"cert_file: {cert_file}" if key_file is None else f"key_file: {key_file}"

    def encrypted() -> str:  # without this callback OpenSSL would ask the terminal
        raise ValueError(
            f"{held} holds an encrypted key, and a service has nobody to ask for its passphrase: decrypt it, such as "
            "with `openssl pkey -in KEY -out FILE`, and let the agent's user alone read the new file"
        )

    try:
        context.load_cert_chain(cert_file, key_file, password=encrypted)
    except ssl.SSLError as error:
        if key_file is None:
            raise ValueError(f"cert_file: {cert_file} lacks a sound private key in PEM; or set `key_file`") from error
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"key_file: {key_file} does not belong to the certificate in {cert_file}") from error
        raise ValueError(f"cert_file: {cert_file} or {key_file} is damaged: {error}") from error


def _load_authority(context: ssl.SSLContext, option: str, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise ValueError(f"{option}: {file} is damaged: {error}") from error


def _check_files(**files: str | None) -> None:
    if faults := list(_file_faults(files)):
        raise ValueError(*faults)


def _file_faults(files: Mapping[str, str | None]) -> Iterator[str]:
    """What is wrong with each file, by its option; OpenSSL names none of them."""
    for option, path in files.items():
        if path is None:
            continue
        content = "PRIVATE KEY" if option == "key_file" else "CERTIFICATE"
        try:
            if f"{content}-----".encode() not in read_regular(path, LARGEST):
                yield f"{option}: {path} holds no {content.lower()} in PEM"
        except Unreadable as reason:
            yield f"{option}: {path}: {reason}"
