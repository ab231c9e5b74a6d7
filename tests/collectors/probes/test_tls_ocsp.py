"""Stapled states of certificates: what a response says, who may sign it, and servers that staple, and what."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from agent.fanout import FanOut
from collectors.probes.ocsp import FAULTS, GOOD, MOST_SIGNERS, REVOKED, UNKNOWN, Staple, parse_staple
from collectors.probes.tls import Tls
from tests.collectors.probes.test_http import book, certificates, reason
from tests.collectors.probes.test_tls import silent
from tests.collectors.probes.zoo import Certificates, serving
from tests.conftest import free_port
from tests.daemon import Process, within

__all__ = ["certificates"]

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SHA1 = hashes.SHA1()  # noqa: S303  # what responders name certificates by
STATES = {
    GOOD: ocsp.OCSPCertStatus.GOOD,
    REVOKED: ocsp.OCSPCertStatus.REVOKED,
    UNKNOWN: ocsp.OCSPCertStatus.UNKNOWN,
}


class Responder:
    """Answers for the authority of the zoo."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        for kind in ("good", "must staple", "responder", "self-signed"):
            certificates.leaf(kind)

    def read(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.certificates.folder / f"{name}.pem").read_bytes())

    def der(self, name: str) -> bytes:
        return self.read(name).public_bytes(Encoding.DER)

    def response(
        self,
        about: str = "good",
        state: float = GOOD,
        since: timedelta = -DAY,
        until: timedelta | None = DAY,
        by: str = "authority",
        shown: tuple[str, ...] = (),
        digest: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        """A response of any kind."""
        builder = ocsp.OCSPResponseBuilder().add_response(
            *(self.read(about), self.read("authority"), digest or SHA1, STATES[state]),
            *(NOW + since, None if until is None else NOW + until),
            *((NOW - 2 * DAY, x509.ReasonFlags.key_compromise) if state == REVOKED else (None, None)),
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, self.read(by))
        if shown:
            builder = builder.certificates(list(map(self.read, shown)))
        key = load_pem_private_key((self.certificates.folder / f"{by}.key").read_bytes(), None)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)  # type: ignore[arg-type]  # one that signs

    def parsed(self, response: bytes, leaf: str = "good") -> Staple:
        return parse_staple(response, [self.der(leaf)], [self.der("authority")], NOW.timestamp())


@pytest.fixture(scope="module")
def responder(certificates: Certificates) -> Responder:
    return Responder(certificates)


@pytest.mark.parametrize("state", STATES)
def test_a_response_tells_state_and_times(responder: Responder, state: float) -> None:
    staple = responder.parsed(responder.response(state=state))
    assert (staple.fault, staple.status) == ("", state)
    assert staple.this_update == (NOW - DAY).timestamp()
    assert staple.next_update == (NOW + DAY).timestamp()
    assert staple.revoked_at == ((NOW - 2 * DAY).timestamp() if state == REVOKED else None)
    assert staple.produced_at is not None


def test_a_response_may_leave_open_when_the_next_one_comes(responder: Responder) -> None:
    staple = responder.parsed(responder.response(until=None))
    assert (staple.fault, staple.next_update) == ("", None)


@pytest.mark.parametrize("digest", [SHA1, hashes.SHA256(), hashes.SHA512()])
def test_certificates_are_named_by_any_digest(responder: Responder, digest: hashes.HashAlgorithm) -> None:
    assert responder.parsed(responder.response(digest=digest)) == responder.parsed(responder.response())


@pytest.mark.parametrize(
    ("options", "fault", "status"),
    [
        ({"since": -3 * DAY, "until": -DAY}, "expired", GOOD),
        ({"since": DAY, "until": 2 * DAY}, "not yet valid", GOOD),
        ({"about": "must staple"}, "certificate", UNKNOWN),
        ({"by": "self-signed"}, "signature", GOOD),
        ({"by": "self-signed", "shown": ("self-signed",), "state": REVOKED}, "signature", REVOKED),
        ({"by": "must staple", "shown": ("must staple",)}, "signature", GOOD),  # ours, but it may not
        ({"by": "responder", "shown": ("responder",)}, "", GOOD),
        ({"by": "responder"}, "signature", GOOD),  # nobody knows it
    ],
)
def test_what_is_wrong_with_a_response_is_told(
    responder: Responder, options: dict[str, Any], fault: str, status: float
) -> None:
    staple = responder.parsed(responder.response(**options))
    assert (staple.fault, staple.status) == (fault, status)
    assert fault == "" or fault in FAULTS


def test_issuers_that_are_none_are_tried_a_few_times_alone(responder: Responder) -> None:
    """Each costs a signature's check; what the handshake verified comes first, and is found."""
    false = []
    for number in range(MOST_SIGNERS + 1):
        responder.certificates._sign(f"false {number}", None, subject="authority")
        false.append(responder.der(f"false {number}"))
    response, leaf = responder.response(), responder.der("good")
    for others, fault in (([], "issuer"), ([responder.der("authority")], "")):
        chain = [leaf, *false, responder.der("authority")]
        assert parse_staple(response, chain, others, NOW.timestamp()).fault == fault


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_certificate_is_judged_or_refused(responder: Responder, sample: bytes, at: int, byte: int) -> None:
    leaf, authority = bytearray(responder.der("good")), bytearray(responder.der("authority"))
    leaf[at % len(leaf)] = byte
    authority[at % len(authority)] = byte
    for chain in ([bytes(leaf)], [responder.der("good"), bytes(authority)]):
        assert parse_staple(sample, chain, [], NOW.timestamp()).fault in ("", *FAULTS)


async def test_a_certificate_of_no_known_version_takes_no_round_down(certificates: Certificates) -> None:
    certificates.leaf("good")
    der = ssl.PEM_cert_to_DER_cert((certificates.folder / "good.pem").read_text())
    odd = certificates.folder / "version 5.pem"
    odd.write_text(ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x04", 1)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(odd, certificates.folder / "good.key")
    async with serving(silent, context) as port:
        prober = Tls(Tls.Options(targets=(f"localhost:{port}",), ocsp=True, family="ip4"))
        found = book(list(await FanOut(prober, 5.0).collect()))
        await prober.close()
    assert reason(found) == "certificate"


def test_a_responder_that_refuses_and_garbage_are_told(responder: Responder) -> None:
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
    assert responder.parsed(later) == Staple("refused")
    assert responder.parsed(b"\x30\x03\x0a\x01\x00") == Staple("garbage")
    assert responder.parsed(b"") == Staple("garbage")


def test_without_the_issuer_nothing_is_certain(responder: Responder) -> None:
    staple = parse_staple(responder.response(), [responder.der("good")], [], NOW.timestamp())
    assert (staple.fault, staple.status) == ("issuer", GOOD)


@pytest.mark.parametrize(
    ("options", "good"),
    [({}, True), ({"by": "responder", "shown": ("responder",)}, True), ({"by": "self-signed"}, False)],
)
def test_openssl_is_of_the_same_opinion(
    responder: Responder, tmp_path: Path, options: dict[str, Any], good: bool
) -> None:
    (tmp_path / "response").write_bytes(responder.response(**options))
    folder = responder.certificates.folder
    command = ["openssl", "ocsp", "-respin", f"{tmp_path}/response", "-issuer", f"{folder}/authority.pem"]
    command += ["-CAfile", f"{folder}/authority.pem", "-cert", f"{folder}/good.pem", "-no_nonce"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ("Response verify OK" in done.stdout + done.stderr) is good
    assert (responder.parsed(responder.response(**options)).fault == "") is good


@given(st.integers(0, 5000), st.integers(0, 255), st.booleans())
def test_a_damaged_response_is_read_or_refused(
    responder: Responder, sample: bytes, at: int, byte: int, cut: bool
) -> None:
    damaged = bytearray(sample)
    damaged[at % len(damaged)] = byte
    staple = responder.parsed(bytes(damaged[: at % len(damaged)] if cut else damaged))
    assert staple.fault in ("", *FAULTS)


@pytest.fixture(scope="module")
def sample(responder: Responder) -> bytes:
    return responder.response(by="responder", shown=("responder",))


# -- over the wire ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stapling(responder: Responder, tmp_path: Path, response: bytes | None, kind: str, *more: str) -> Iterator[int]:
    """A real server with a certificate of the zoo that staples a response."""
    folder, port = responder.certificates.folder, free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", *more]
    command += ["-cert", f"{folder}/{kind}.pem", "-key", f"{folder}/{kind}.key"]
    if response is not None:
        (tmp_path / "staple").write_bytes(response)
        command += ["-status_file", f"{tmp_path}/staple"]
    with Process(command, tmp_path / "server.log") as server:
        within(10, lambda: listening(port), f"s_server listens; it printed {server.output}")
        yield port


def listening(port: int) -> bool:
    """Whether a handshake comes to its end."""
    with contextlib.suppress(OSError):
        ssl.get_server_certificate(("127.0.0.1", port), timeout=2)
        return True
    return False


async def probed(certificates: Certificates, port: int, **options: Any) -> dict[str, Any]:
    settings = {"ca_file": str(certificates.authority), "family": "ip4", "ocsp": True} | options
    prober = Tls(Tls.Options(targets=(f"localhost:{port}",), **settings))
    try:
        return book(list(await FanOut(prober, 10.0).collect()))
    finally:
        await prober.close()


def verdict(found: dict[str, Any]) -> str | None:
    """What is wrong with the response; None where there is none."""
    return next((key[1] for key in found if key[0] == "tls_ocsp_response_verified" and isinstance(key, tuple)), None)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_what_a_server_staples_is_told(responder: Responder, tmp_path: Path, version: str) -> None:
    """The authority, which has signed it, is not in what the server shows: it comes from what was verified."""
    with stapling(responder, tmp_path, responder.response(), "good", version) as port:
        found = await probed(responder.certificates, port)
    assert (found["probe_success"], found["ssl_ocsp_response_stapled"]) == (1.0, 1.0)
    assert (verdict(found), found["tls_ocsp_response_verified"]) == ("", 1.0)
    assert found["ssl_ocsp_response_status"] == GOOD
    assert found["ssl_ocsp_response_next_update"] == (NOW + DAY).timestamp()
    assert found["ssl_ocsp_response_this_update"] == (NOW - DAY).timestamp()
    assert abs(found["ssl_ocsp_response_produced_at"] - time.time()) < 600
    assert "ssl_ocsp_response_revoked_at" not in found
    assert found["tls_certificate_must_staple"] == 0.0


@pytest.mark.parametrize(
    ("options", "fault", "status"),
    [
        ({"since": -3 * DAY, "until": -DAY}, "expired", GOOD),
        ({"about": "must staple"}, "certificate", UNKNOWN),
        ({"state": REVOKED}, "", REVOKED),
        ({"by": "self-signed"}, "signature", GOOD),
    ],
)
async def test_a_bad_staple_does_not_change_the_verdict(
    responder: Responder, tmp_path: Path, options: dict[str, Any], fault: str, status: float
) -> None:
    with stapling(responder, tmp_path, responder.response(**options), "good") as port:
        found = await probed(responder.certificates, port)
    assert (reason(found), found["probe_success"], found["ssl_ocsp_response_stapled"]) == ("", 1.0, 1.0)
    assert (verdict(found), found["ssl_ocsp_response_status"]) == (fault, status)


async def test_a_server_that_staples_nothing_says_so(responder: Responder, tmp_path: Path) -> None:
    with stapling(responder, tmp_path, None, "must staple") as port:
        found = await probed(responder.certificates, port)
        quiet = await probed(responder.certificates, port, ocsp=False)
    assert (found["ssl_ocsp_response_stapled"], found["tls_certificate_must_staple"]) == (0.0, 1.0)
    assert (verdict(found), "ssl_ocsp_response_status" in found) == (None, False)
    assert not [name for name in quiet if "ocsp" in name or "staple" in name]


async def test_the_state_is_told_of_what_does_not_verify(responder: Responder, tmp_path: Path) -> None:
    """Nothing is known of the issuer then."""
    stranger = responder.certificates.folder / "self-signed.pem"
    with stapling(responder, tmp_path, responder.response(), "good") as port:
        found = await probed(responder.certificates, port, ca_file=str(stranger))
    assert (reason(found), found["ssl_ocsp_response_stapled"], verdict(found)) == ("certificate", 1.0, "issuer")


async def test_a_server_that_answers_only_once_loses_the_staple_alone(responder: Responder) -> None:
    context, met = responder.certificates.leaf("good"), []

    async def once(reader: Any, writer: Any) -> None:
        met.append(writer)
        if len(met) == 1:
            await writer.start_tls(context)
        await reader.read()

    async with serving(once) as port:
        found = await probed(responder.certificates, port)
    assert (found["probe_success"], found["probe_ssl_verified"], verdict(found)) == (1.0, 1.0, "handshake")


async def test_a_demanded_client_certificate_is_shown_here_too(responder: Responder) -> None:
    context = responder.certificates.leaf("client certificate demanded, TLS 1.2")
    folder = responder.certificates.folder
    pair = {"cert_file": str(folder / "good.pem"), "key_file": str(folder / "good.key")}

    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()

    async with serving(silent, context) as port:
        shown = await probed(responder.certificates, port, **pair)
        missed = await probed(responder.certificates, port)
    assert (shown["ssl_ocsp_response_stapled"], verdict(shown)) == (0.0, None)
    assert (verdict(missed), "ssl_ocsp_response_stapled" in missed) == ("handshake", False)
