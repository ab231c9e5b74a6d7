"""The state of a certificate as its server staples it to the handshake (OCSP: RFC 6960, RFC 6066 section 8).

`ssl` cannot ask for it, so this takes a handshake of its own with pyOpenSSL: the extra `tls`. Nobody is asked but the
server, and nothing here decides the verdict of a probe.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct
from OpenSSL import SSL, crypto

from collectors.probes.link import Failed, Link
from collectors.probes.look import shake
from collectors.probes.trust import EVERY_CIPHER
from config import ClientOptions

Fault = Literal["", "garbage", "refused", "issuer", "certificate", "signature", "not yet valid", "expired"]
FAULTS: Final[dict[Fault, str]] = {
    "garbage": "it is no OCSP response",
    "refused": "the responder did not answer the question: it says try later, or the like",
    "issuer": "the certificate's issuer is not known, so nothing can be compared",
    "certificate": "it is about another certificate",
    "signature": "neither the issuer nor who acts for it has signed it",
    "not yet valid": "it begins in the future",
    "expired": "there should be a newer one",
}
GOOD, REVOKED, UNKNOWN = 0.0, 1.0, 2.0
SKEW = 300.0  # seconds that clocks may differ
MOST_SIGNERS = 8  # certificates that are tried as a signer's, and as an issuer's: each costs a signature's check
MOST_STATES = 100  # in a response
PIECE = 64 << 10
_HOSTILE: Final = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
_STATES: Final = {
    ocsp.OCSPCertStatus.GOOD: GOOD,
    ocsp.OCSPCertStatus.REVOKED: REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: UNKNOWN,
}


class Staple(Struct, frozen=True):
    """A stapled response: what it says of the certificate, Unix seconds (None: it does not say), and what is wrong."""

    fault: Fault
    status: float = UNKNOWN
    produced_at: float | None = None
    this_update: float | None = None
    next_update: float | None = None
    revoked_at: float | None = None


class Shown(Struct, frozen=True):
    """What a handshake showed, DER: the response, empty without one, and the chain, leaf first."""

    response: bytes
    chain: tuple[bytes, ...]


class Asking:
    """Handshakes that ask for a certificate's state and verify nothing."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._context: SSL.Context | None = None

    async def ask(self, link: Link, name: str) -> Shown:
        """What a server shows over a link; raises `Failed`."""
        said: list[bytes] = []
        connection = SSL.Connection(self._ready())
        connection.set_app_data(said)
        connection.set_connect_state()
        connection.request_ocsp()
        if server_name := _server_name(name):
            connection.set_tlsext_host_name(server_name)
        try:
            await shake(link, lambda: _step(connection), lambda: _pending(connection), connection.bio_write)
        except (OSError, SSL.Error):
            raise Failed("tls") from None
        chain = connection.get_peer_cert_chain() or ()
        return Shown(
            said[0] if said else b"", tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain)
        )

    def _ready(self) -> SSL.Context:
        if self._context is None:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_cipher_list(EVERY_CIPHER.encode())
            context.set_ocsp_client_callback(_keep)
            try:
                if self._options.cert_file is not None:
                    context.use_certificate_chain_file(self._options.cert_file)
                    context.use_privatekey_file(self._options.key_file or self._options.cert_file)
            except SSL.Error:
                raise Failed("config", "the client's certificate cannot be used") from None
            self._context = context
        return self._context


def _keep(connection: SSL.Connection, response: bytes, _: object) -> bool:
    connection.get_app_data().append(response)
    return True


def _step(connection: SSL.Connection) -> bool:
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _pending(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(PIECE)
    except SSL.WantReadError:
        return b""


def _server_name(name: str) -> bytes:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            return name.encode("idna")
        except UnicodeError:
            return b""
    return b""


# -- what a response says -----------------------------------------------------------------------------------------


def parse_staple(response: bytes, chain: Sequence[bytes], others: Iterable[bytes], now: float) -> Staple:
    """What a response says of the first certificate of a chain (DER); the issuer is in the chain, or among others."""
    try:
        return _parsed(
            ocsp.load_der_ocsp_response(response), [*map(x509.load_der_x509_certificate, chain)], others, now
        )
    except _HOSTILE:
        return Staple("garbage")


def _parsed(
    response: ocsp.OCSPResponse, chain: Sequence[x509.Certificate], others: Iterable[bytes], now: float
) -> Staple:
    if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
        return Staple("refused")
    leaf = chain[0]
    issuer = _issuer(leaf, [*map(x509.load_der_x509_certificate, others), *chain[1:], leaf])
    about = next((one for one in islice(response.responses, MOST_STATES) if _is_about(one, leaf, issuer)), None)
    if about is None:
        return Staple("certificate", produced_at=_unix(response.produced_at_utc))
    return Staple(
        _fault(response, about, issuer, now),
        _STATES[about.certificate_status],
        _unix(response.produced_at_utc),
        _unix(about.this_update_utc),
        _unix(about.next_update_utc),
        _unix(about.revocation_time_utc),
    )


def _fault(
    response: ocsp.OCSPResponse, about: ocsp.OCSPSingleResponse, issuer: x509.Certificate | None, now: float
) -> Fault:
    if issuer is None:
        return "issuer"
    if not any(_has_signed(response, one) for one in _signers(response, issuer, now)):
        return "signature"
    if (_unix(about.this_update_utc) or 0.0) > now + SKEW:
        return "not yet valid"
    return "expired" if (_unix(about.next_update_utc) or now) < now else ""


def _issuer(leaf: x509.Certificate, candidates: Iterable[x509.Certificate]) -> x509.Certificate | None:
    named = dict.fromkeys(one for one in candidates if _is_named(leaf, one))
    return next((one for one in islice(named, MOST_SIGNERS) if _issued(leaf, one)), None)


def _is_named(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        return leaf.issuer == issuer.subject
    except _HOSTILE:
        return False


def _issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (*_HOSTILE, InvalidSignature):
        return False
    return True


def _is_about(one: ocsp.OCSPSingleResponse, leaf: x509.Certificate, issuer: x509.Certificate | None) -> bool:
    if one.serial_number != leaf.serial_number or issuer is None:
        return one.serial_number == leaf.serial_number
    question = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, one.hash_algorithm).build()
    theirs = (one.issuer_name_hash, one.issuer_key_hash)
    return theirs == (question.issuer_name_hash, question.issuer_key_hash)


def _signers(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> Iterator[x509.Certificate]:
    """Who may sign: the issuer, or whom it has made its responder."""
    yield issuer
    for one in response.certificates[:MOST_SIGNERS]:
        valid = one.not_valid_before_utc.timestamp() - SKEW <= now <= one.not_valid_after_utc.timestamp()
        if valid and _may_respond(one) and _issued(one, issuer):
            yield one


def _may_respond(one: x509.Certificate) -> bool:
    try:
        usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage.value


def _has_signed(response: ocsp.OCSPResponse, by: x509.Certificate) -> bool:
    key, digest = by.public_key(), response.signature_hash_algorithm
    signature, text = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(signature, text, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, text, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, text)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _unix(time: datetime | None) -> float | None:
    return None if time is None else time.astimezone(UTC).timestamp()
