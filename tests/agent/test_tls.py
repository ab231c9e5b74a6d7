"""The endpoint's TLS: which file is wrong, and how, before anybody connects."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path

import pytest

from agent.tls import tls_context, try_client_files
from config import AgentOptions, ClientOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates with their keys, one of them encrypted, and a file that is nothing."""
    folder = tmp_path_factory.mktemp("tls")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost")
    for name, more in (("plain", ("-nodes",)), ("locked", ("-passout", "pass:sesame"))):
        files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
        subprocess.run([*new, *files, *more], check=True, capture_output=True)
    both = (folder / "plain.pem").read_text() + (folder / "plain.key").read_text()
    (folder / "both.pem").write_text(both)
    (folder / "torn.pem").write_text(both[:400] + both[420:])
    (folder / "nothing").write_text("nothing\n")
    return folder


def context(folder: Path, **files: str) -> ssl.SSLContext | None:
    return tls_context(AgentOptions(**{option: f"{folder}/{file}" for option, file in files.items()}))


def test_without_a_certificate_there_is_no_tls(folder: Path) -> None:
    assert context(folder) is None


@pytest.mark.parametrize("files", [{"cert_file": "plain.pem", "key_file": "plain.key"}, {"cert_file": "both.pem"}])
def test_a_certificate_with_its_key_is_taken(folder: Path, files: dict[str, str]) -> None:
    plain = context(folder, **files)
    asking = context(folder, **files, client_ca_file="locked.pem")
    assert plain is not None
    assert asking is not None
    assert (plain.verify_mode, asking.verify_mode) == (ssl.CERT_NONE, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    ("files", "faults"),
    [
        (
            {"cert_file": "none", "key_file": "nothing", "client_ca_file": "."},
            [
                r"client_ca_file: {folder}/\.: is a directory",
                "cert_file: {folder}/none: there is no such file",
                "key_file: {folder}/nothing holds no private key in PEM",
            ],
        ),
        (
            {"cert_file": "plain.pem"},
            ["cert_file: {folder}/plain.pem lacks a sound private key in PEM; or set `key_file`"],
        ),
        (
            {"cert_file": "plain.pem", "key_file": "locked.key"},
            ["key_file: {folder}/locked.key holds an encrypted key, .*: decrypt it, such as with `openssl .*"],
        ),
        (
            {"cert_file": "locked.pem", "key_file": "plain.key"},
            ["key_file: {folder}/plain.key does not belong to the certificate in {folder}/locked.pem"],
        ),
        (
            {"cert_file": "torn.pem", "key_file": "plain.key"},
            [r"cert_file: {folder}/torn.pem or {folder}/plain.key is damaged: \[.*"],
        ),
        (
            {"cert_file": "plain.pem", "key_file": "plain.key", "client_ca_file": "torn.pem"},
            [r"client_ca_file: {folder}/torn.pem is damaged: \[.*"],
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(folder: Path, files: dict[str, str], faults: list[str]) -> None:
    """Above all, nobody is asked for a passphrase."""
    with pytest.raises(ValueError, match="_file: ") as caught:
        context(folder, **files)
    assert len(caught.value.args) == len(faults)
    for said, fault in zip(caught.value.args, faults, strict=True):
        assert re.fullmatch(fault.replace("{folder}", str(folder)), said), said


def test_a_clients_files_that_can_be_used_are_taken(folder: Path) -> None:
    try_client_files(ClientOptions())
    try_client_files(ClientOptions(ca_file=f"{folder}/locked.pem", cert_file=f"{folder}/both.pem"))


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"ca_file": "none"}, "ca_file: .*/none: there is no such file"),
        ({"ca_file": "torn.pem"}, "ca_file: .*/torn.pem is damaged"),
        ({"cert_file": "plain.pem", "key_file": "locked.key"}, "key_file: .*/locked.key holds an encrypted key"),
    ],
)
def test_a_clients_file_that_cannot_be_used_is_named(folder: Path, files: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        try_client_files(ClientOptions(**{option: f"{folder}/{file}" for option, file in files.items()}))
