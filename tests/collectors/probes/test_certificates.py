"""What certificates say, compared with what openssl reads in them; hostile bytes."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.probes.certificates import Certificate, NoCertificate, parse_certificate

SUBJECT = "/C=DE/O=Nightjar, Inc./OU=a+b/CN=shop.example.com"
ALTERNATIVE = "subjectAltName=DNS:shop.example.com,DNS:*.example.com,IP:192.0.2.1,IP:2001:db8::1,email:a@example.com"
KINDS = {
    "RSA 2048 SHA256-RSA": ("rsa:2048", "-sha256"),
    "RSA 1024 SHA1-RSA": ("rsa:1024", "-sha1"),
    "RSA 3072 SHA512-RSA": ("rsa:3072", "-sha512"),
    "ECDSA 256 ECDSA-SHA256": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256"),
    "ECDSA 384 ECDSA-SHA384": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"),
    "Ed25519 256 Ed25519": ("ed25519",),
}


def made(folder: Path, *key: str, days: int = 30, serial: str = "0x00AB12") -> bytes:
    """The DER bytes of a certificate that signs itself."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        *key,
        "-keyout",
        f"{folder}/key",
        "-out",
        f"{folder}/pem",
    ]
    more = ["-subj", SUBJECT, "-addext", ALTERNATIVE, "-days", str(days), "-set_serial", serial]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return ssl.PEM_cert_to_DER_cert((folder / "pem").read_text())


def told(folder: Path, *what: str) -> str:
    """What openssl reads."""
    command = ["openssl", "x509", "-in", f"{folder}/pem", "-noout", *what]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_what_openssl_says(kind: str, tmp_path: Path) -> None:
    found = parse_certificate(made(tmp_path, *KINDS[kind]))
    assert f"{found.key} {found.key_bits} {found.signature}" == kind
    assert found.fingerprint == told(tmp_path, "-fingerprint", "-sha256").replace(":", "").lower()
    assert found.subject == told(tmp_path, "-subject", "-nameopt", "RFC2253") == found.issuer
    assert found.self_signed
    for option, value in (("-startdate", found.not_before), ("-enddate", found.not_after)):
        expected = datetime.strptime(told(tmp_path, option), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        assert value == expected.timestamp()
    assert found.serial == "ab12"
    assert found.alternative_names == (
        *("shop.example.com", "*.example.com", "192.0.2.1", "2001:db8::1", "a@example.com"),
    )


@pytest.mark.parametrize(("number", "expected"), [("0x0B12", "0b12"), ("0x00AB12", "ab12"), ("1", "01"), ("0", "00")])
def test_a_serial_is_its_bytes_without_that_of_the_sign(number: str, expected: str, tmp_path: Path) -> None:
    assert parse_certificate(made(tmp_path, "ed25519", serial=number)).serial == expected


def test_names_are_told_apart_by_what_they_are(tmp_path: Path) -> None:
    found = parse_certificate(made(tmp_path, "ed25519"))
    assert found.dns_names == ("shop.example.com", "*.example.com")
    assert found.addresses == ("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("extension", "expected"),
    [("tlsfeature=status_request", True), ("tlsfeature=17", False), ("nsComment=of no interest", False)],
)
def test_who_promises_to_staple_says_so(extension: str, expected: bool, tmp_path: Path) -> None:
    key = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", extension)
    assert parse_certificate(made(tmp_path, *key)).must_staple is expected


def test_extensions_without_any_are_no_fault_of_the_agent() -> None:
    """A3 00: the list of extensions is missing where it was announced."""
    empty = bytes.fromhex("3000")
    key = bytes.fromhex("300a300506032b6570 0301 00".replace(" ", ""))
    body = bytes.fromhex("020101") + empty * 2 + times() + empty + key + bytes.fromhex("a300")
    inner = bytes((0x30, len(body))) + body + bytes.fromhex("300506032b6570") + bytes.fromhex("030100")
    with pytest.raises(NoCertificate):
        parse_certificate(bytes((0x30, len(inner))) + inner)


def times() -> bytes:
    """A validity."""
    one = b"\x17\x0d200101000000Z"
    return bytes((0x30, 2 * len(one))) + one * 2


def test_a_time_after_2049_has_four_digits(tmp_path: Path) -> None:
    found = parse_certificate(made(tmp_path, "ed25519", days=365 * 40))
    assert datetime.fromtimestamp(found.not_after, UTC).year > 2060


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_certificate(data: bytes) -> None:
    with pytest.raises(NoCertificate):
        parse_certificate(data)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("sample"), "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@given(st.integers(0, 5000), st.integers(0, 255), st.booleans())
def test_a_damaged_one_is_read_or_refused(sample: bytes, at: int, byte: int, cut: bool) -> None:
    damaged = bytearray(sample)
    damaged[at % len(damaged)] = byte
    with contextlib.suppress(NoCertificate):
        assert isinstance(parse_certificate(bytes(damaged[: at % len(damaged)] if cut else damaged)), Certificate)
