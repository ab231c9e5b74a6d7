"""Names: of hosts in certificates, and of cipher suites, compared with what openssl makes of them."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.probes.certificates import Certificate, parse_certificate
from collectors.probes.ciphers import iana_name
from collectors.probes.hostname import is_for

NAMES = (
    *("shop.example.com", "SHOP.example.com", "a.shop.example.com", "example.com", "other.org"),
    *("a.example.com", "a.b.example.com", "com", "xn--bcher-kva.example.com", "127.0.0.1", "127.0.0.2"),
    *("::1", "0:0:0:0:0:0:0:1", "*.example.com", "a@example.com"),
)
ALTERNATIVES = (
    *("DNS:shop.example.com", "DNS:*.example.com", "DNS:*.com", "DNS:*", "DNS:a.*.example.com", "IP:127.0.0.1"),
    *("IP:::1", "DNS:127.0.0.1", "email:a@example.com", "URI:https://shop.example.com", "DNS:SHOP.EXAMPLE.COM"),
)


def made(folder: Path, alternative: str) -> Certificate:
    """A certificate that signs itself; its common name is one that must not count."""
    file = folder / "pem"
    made_of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", f"{folder}/key", "-out", str(file)]
    more = ["-subj", "/CN=other.org", "-addext", f"subjectAltName={alternative}"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *made_of, *more], check=True, capture_output=True)
    return parse_certificate(ssl.PEM_cert_to_DER_cert(file.read_text()))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_a_certificate_is_for_the_names_that_openssl_says_it_is_for(alternative: str, tmp_path: Path) -> None:
    certificate = made(tmp_path, alternative)
    for name in NAMES:
        option = "-checkip" if name[0].isdigit() or "::" in name else "-checkhost"
        command = ["openssl", "x509", "-in", f"{tmp_path}/pem", "-noout", option, name]
        said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        expected = " does match" in said and name != "other.org"  # which is the common name
        assert is_for(certificate, name) is expected, (name, said)


def test_a_dot_at_the_end_and_other_scripts_are_the_same_name(tmp_path: Path) -> None:
    certificate = made(tmp_path, "DNS:xn--bcher-kva.example.com,DNS:shop.example.com")
    assert is_for(certificate, "bücher.example.com")
    assert is_for(certificate, "shop.example.com.")
    assert not is_for(certificate, "")


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_none(name: str) -> None:
    pieces = "", "", "", "", 0.0, 1.0, ("*.example.com",), ("*.example.com",), ("127.0.0.1",), "RSA", 1, "", False
    assert is_for(Certificate(b"", *pieces), name) in (True, False)  # type: ignore[arg-type]  # in their order


def test_suites_have_the_names_of_the_registry() -> None:
    """Of all that a probe can agree on: those with keys that were shared before, it cannot."""
    listing = ["openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    lines = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    pairs = [(line.split()[2], line.split()[0]) for line in lines if "PSK" not in line and "SRP" not in line]
    assert len(pairs) > 60
    assert {own: iana_name(own) for own, _ in pairs} == dict(pairs)


def test_a_suite_that_is_not_known_keeps_its_name() -> None:
    assert iana_name("PSK-AES128-CBC-SHA") == "PSK-AES128-CBC-SHA"
    assert iana_name("") == ""
