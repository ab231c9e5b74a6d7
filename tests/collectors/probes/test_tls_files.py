"""PKCS#12 files: what is in them, passphrases that do not fit, and files that were damaged or mean ill."""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.fanout import FanOut
from collectors.probes.certificates import NoCertificate, WrongPassphrase
from collectors.probes.pkcs12 import Stores, parse_pkcs12
from collectors.probes.tls import Tls
from config import Secret
from tests.collectors.probes.test_http import book, certificates, reason
from tests.collectors.probes.zoo import Certificates, openssl

__all__ = ["certificates"]

WORD = "correct horse ünd battery"


def store(certificates: Certificates, at: Path, kind: str = "with intermediate", word: str = WORD, *more: str) -> Path:
    """A file with a key, its certificate and those above it."""
    certificates.leaf(kind)
    chain, key = certificates.folder / f"{kind}.chain", certificates.folder / f"{kind}.key"
    openssl(
        *("pkcs12", "-export", "-inkey", str(key), "-in", str(certificates.folder / f"{kind}.pem")),
        *("-certfile", str(chain), "-passout", f"pass:{word}", "-out", str(at), *more),
    )
    return at


async def told(*targets: str, **options: Any) -> dict[str, dict[str, Any]]:
    """One round; what is said of each file, by its name."""
    prober = Tls(Tls.Options(targets=targets, **options))
    try:
        found = list(await FanOut(prober, 5.0).collect())
    finally:
        await prober.close()
    names = {one.labels[0] for one in found}
    return {Path(name).name: book([one for one in found if one.labels[0] == name]) for name in names}


async def test_every_certificate_of_a_file_is_told(certificates: Certificates, tmp_path: Path) -> None:
    store(certificates, tmp_path / "a.p12")
    store(certificates, tmp_path / "b.pfx", "expired")
    found = await told(f"{tmp_path}/*.p12", f"{tmp_path}/*.pfx", passphrase=Secret(WORD))
    assert {name: reason(one) for name, one in found.items()} == {"a.p12": "", "b.pfx": "certificate"}
    parsed = parse_pkcs12((tmp_path / "a.p12").read_bytes(), WORD)
    assert {one.subject for one in parsed} == {"CN=with intermediate", "CN=between"}
    assert parsed[0].subject == "CN=with intermediate", "that of the key comes first"
    assert found["a.p12"]["probe_ssl_earliest_cert_expiry"] == min(one.not_after for one in parsed)
    assert found["b.pfx"]["probe_ssl_earliest_cert_expiry"] == 1609459200.0
    assert ("tls_certificate_not_after_timestamp_seconds", "1") in found["a.p12"]


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("-legacy",),
        ("-nomac",),
        ("-keypbe", "NONE", "-certpbe", "NONE"),
        ("-nomac", "-keypbe", "NONE", "-certpbe", "NONE"),
        ("-macalg", "sha512", "-certpbe", "AES-128-CBC"),
        ("-nokeys",),
    ],
)
@pytest.mark.parametrize("word", ["", WORD])
def test_files_of_every_make_are_read(
    certificates: Certificates, tmp_path: Path, word: str, more: tuple[str, ...]
) -> None:
    data = store(certificates, tmp_path / "x.p12", "with intermediate", word, *more).read_bytes()
    assert {one.subject for one in parse_pkcs12(data, word)} == {"CN=with intermediate", "CN=between"}


async def test_no_passphrase_is_the_empty_one(certificates: Certificates, tmp_path: Path) -> None:
    store(certificates, tmp_path / "empty.p12", word="")
    store(certificates, tmp_path / "locked.p12")
    found = await told(f"{tmp_path}/*")
    assert {name: reason(one) for name, one in found.items()} == {"empty.p12": "", "locked.p12": "passphrase"}


async def test_what_cannot_be_read_has_a_reason_and_costs_no_other(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    good = store(certificates, tmp_path / "good.p12").read_bytes()
    store(certificates, tmp_path / "other.p12", word="another")
    (tmp_path / "cut.p12").write_bytes(good[:-20])
    (tmp_path / "empty.p12").write_bytes(b"")
    (tmp_path / "text.p12").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "flipped.p12").write_bytes(good[:500] + bytes((good[500] ^ 255,)) + good[501:])
    (tmp_path / "large.p12").write_bytes(good + bytes(5 << 20))
    with caplog.at_level(logging.DEBUG):
        found = await told(f"{tmp_path}/*.p12", f"{tmp_path}/none.pfx", passphrase=Secret(WORD))
    assert {name: reason(one) for name, one in found.items()} == {
        "good.p12": "",
        "other.p12": "passphrase",
        "cut.p12": "config",
        "empty.p12": "config",
        "text.p12": "config",
        "flipped.p12": "passphrase",  # the seal over the content is broken, which looks like a wrong passphrase
        "large.p12": "config",
        "none.pfx": "config",
    }
    everything = f"{found}{caplog.text}{''.join(capfd.readouterr())}"
    assert WORD not in everything
    assert "horse" not in everything


@pytest.mark.parametrize("armour", ["PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
async def test_a_key_is_passed_over_unless_it_is_named(certificates: Certificates, tmp_path: Path, armour: str) -> None:
    """`/etc/nginx/*.pem` finds both halves of a pair."""
    key = f"-----BEGIN {armour}-----\nAAAA\n-----END {armour}-----\n"
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "both.pem").write_text(f"some words\n{key}{certificates.authority.read_text()}")
    (tmp_path / "neither.pem").write_text(f"no {key}")
    found = await told(f"{tmp_path}/*.pem")
    assert {name: reason(one) for name, one in found.items()} == {"both.pem": "", "neither.pem": "config"}
    found = await told(f"{tmp_path}/*.pem", f"{tmp_path}/key.pem")
    assert reason(found["key.pem"]) == "config", "named outright, it is an error"


async def test_a_file_that_changes_is_read_anew(certificates: Certificates, tmp_path: Path) -> None:
    file = store(certificates, tmp_path / "a.p12")
    prober = Tls(Tls.Options(targets=(str(file),), passphrase=Secret(WORD)))
    before = book(list(await FanOut(prober, 5.0).collect()))
    store(certificates, file, "expired")
    after = book(list(await FanOut(prober, 5.0).collect()))
    file.write_bytes(b"")
    gone = book(list(await FanOut(prober, 5.0).collect()))
    await prober.close()
    assert [reason(one) for one in (before, after, gone)] == ["", "certificate", "config"]


def test_an_unchanged_file_is_decrypted_once(certificates: Certificates, tmp_path: Path) -> None:
    """What takes a second the first time must not take one each round: the whole agent would wait."""
    data = store(certificates, tmp_path / "slow.p12", "good", WORD, "-iter", "300000").read_bytes()
    stores = Stores()
    first = timed(stores, data)
    assert timed(stores, data) < first / 10
    with pytest.raises(WrongPassphrase):
        stores.certificates(data, "another")
    with pytest.raises(WrongPassphrase):
        stores.certificates(data, "another")


def timed(stores: Stores, data: bytes) -> float:
    """The processor time of opening a file."""
    started = time.process_time()
    assert stores.certificates(data, WORD)
    return time.process_time() - started


def test_a_derivation_without_an_end_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    """As many rounds as fit into a number; the library would not come back for an hour, and let nobody else run."""
    data = store(certificates, tmp_path / "x.p12", "good", WORD, "-iter", "99999").read_bytes()
    rounds = (99_999).to_bytes(3, "big")
    assert data.count(b"\x02\x03" + rounds) >= 2
    hostile = data.replace(b"\x02\x03" + rounds, b"\x02\x03\x7f\xff\xff")
    started = time.process_time()
    with pytest.raises(NoCertificate, match="too many"):
        parse_pkcs12(hostile, WORD)
    assert time.process_time() - started < 1.0


@pytest.fixture(scope="module")
def sample(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    at = tmp_path_factory.mktemp("sample") / "x.p12"
    return store(certificates, at, "good", WORD, "-nomac", "-keypbe", "NONE", "-certpbe", "NONE").read_bytes()


@given(st.integers(0, 5000), st.integers(0, 255), st.booleans())
@pytest.mark.filterwarnings("ignore::UserWarning")  # of the library, about files that are odd
def test_a_damaged_one_is_read_or_refused(sample: bytes, at: int, byte: int, cut: bool) -> None:
    damaged = bytearray(sample)
    damaged[at % len(damaged)] = byte
    with contextlib.suppress(NoCertificate):
        parse_pkcs12(bytes(damaged[: at % len(damaged)] if cut else damaged), WORD)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(NoCertificate):
        parse_pkcs12(data, "")


# -- the extra ----------------------------------------------------------------------------------------------------

WITHOUT = """
import asyncio, sys
for name in ("cryptography", "OpenSSL"):
    sys.modules[name] = None
from agent.fanout import FanOut
from collectors.probes.tls import Tls
for options in ({"targets": ("/x.p12",)}, {"targets": ("/x.pem",), "ocsp": True}):
    try:
        Tls(Tls.Options(**options))
    except ValueError as error:
        print(error)
async def main():
    prober = Tls(Tls.Options(targets=(sys.argv[1] + "/*",)))
    for one in await FanOut(prober, 5.0).collect():
        if one.family.name in ("probe_success", "probe_failure_info"):
            print(one.labels[0].rpartition("/")[2], *one.labels[1:], one.value)
    await prober.close()
asyncio.run(main())
"""


def test_without_the_extra_the_rest_works_and_it_is_said_what_to_install(
    certificates: Certificates, tmp_path: Path
) -> None:
    store(certificates, tmp_path / "a.p12")
    shutil.copy(certificates.authority, tmp_path / "b.pem")
    command = [sys.executable, "-c", WITHOUT, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["needs the extra `tls`: pip install 'nightjar-agent[tls]'"] * 2
    assert {"a.p12 0.0", "a.p12 config 1.0", "b.pem 1.0"} <= set(lines)
    assert "PKCS#12 files need the extra `tls`" in done.stderr, "the log says so"


def test_the_libraries_are_loaded_when_they_are_needed_and_not_before() -> None:
    code = "import sys, collectors.probes.tls as t; t.Tls(t.Tls.Options(targets=('/x.pem', 'a:1')))\n"
    code += "print([one for one in ('OpenSSL', 'cryptography') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
