"""Every kind of certificate, seen by the tls and the http collector, with OpenSSL's own client as a second opinion."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any, NamedTuple

import pytest

from agent.fanout import FanOut
from collectors.probes.http import Http
from collectors.probes.outcome import LAST_CHAIN_INFO
from collectors.probes.tls import Tls
from tests.collectors.probes.test_http import OK, book, certificates, old_tls, reason
from tests.collectors.probes.zoo import Certificates, says, serving

__all__ = ["certificates", "old_tls"]

PAST = 1_609_459_200.0  # the end of what has expired
KINDS = ("tls", "http")


class Verdict(NamedTuple):
    """Why a probe fails, what is said of the certificate, and whether it is for the name; and of the presented chain,
    whether any of it has expired.
    """

    reason: str = ""
    fault: str = ""
    matches: bool = True
    expired: bool = False


UNKNOWN = "unable to get local issuer certificate"
EXPIRED = "certificate has expired"
ZOO = {
    "good": Verdict(),
    "with intermediate": Verdict(),
    "expired": Verdict("certificate", EXPIRED, expired=True),
    "not yet valid": Verdict("certificate", "certificate is not yet valid"),
    "self-signed": Verdict("certificate", "self-signed certificate"),
    "unknown authority": Verdict("certificate", UNKNOWN),
    "wrong host": Verdict("certificate", "hostname mismatch", matches=False),
    "wrong host and expired": Verdict("certificate", EXPIRED, matches=False, expired=True),
    "wrong host and unknown authority": Verdict("certificate", UNKNOWN, matches=False),
    "common name only": Verdict("certificate", "hostname mismatch", matches=False),
    "missing intermediate": Verdict("certificate", UNKNOWN),
    "expired intermediate": Verdict("certificate", EXPIRED, expired=True),
    "two chains, root replaced": Verdict(expired=True),
    "two chains, good one first": Verdict(),
    "two chains, bad one first": Verdict("certificate", EXPIRED),
    "two chains, only the bad one shown": Verdict("certificate", EXPIRED),
    "RSA 1024": Verdict("certificate", "EE certificate key too weak"),
    "SHA-1": Verdict("certificate", "CA signature digest algorithm too weak"),
    "TLS 1.0 only": Verdict("tls", "handshake failed"),
    "client certificate demanded, TLS 1.2": Verdict("tls"),
}


async def probed(collector: str, place: str, timeout: float = 5.0, **options: Any) -> dict[str, Any]:
    """One round of one target (`host:port`) of either collector, as the agent makes it."""
    options = {"family": "ip4"} | options
    prober: Tls | Http = (
        Tls(Tls.Options(targets=(place,), **options))
        if collector == "tls"
        else Http(Http.Options(url=f"https://{place}/", **options))
    )
    try:
        samples = list(await FanOut(prober, timeout).collect())
        found = book(samples)
        found["subject"] = next((one.labels[2] for one in samples if one.family is LAST_CHAIN_INFO), None)
        return found
    finally:
        await prober.close()


def fault(found: dict[str, Any]) -> str | None:
    """What is said of the certificate; None where it is not judged."""
    return next((key[1] for key in found if key[0] == "probe_ssl_verified" and isinstance(key, tuple)), None)


@pytest.mark.parametrize("collector", KINDS)
@pytest.mark.parametrize("kind", ZOO)
@pytest.mark.usefixtures("old_tls")
async def test_expiry_is_told_and_the_verdict_is_right(certificates: Certificates, kind: str, collector: str) -> None:
    expected = ZOO[kind]
    async with serving(says(OK), certificates.leaf(kind)) as port:
        found = await probed(collector, f"localhost:{port}", ca_file=str(certificates.roots))
    assert (
        Verdict(
            reason(found),
            fault(found) or "",
            found["probe_ssl_hostname_matches"] == 1.0,
            found["probe_ssl_earliest_cert_expiry"] == PAST,
        )
        == expected
    )
    assert found["probe_success"] == float(not expected.reason)
    assert found["probe_ssl_earliest_cert_expiry"] >= PAST
    assert found["probe_ssl_verified"] == float(not expected.fault)
    assert (found["probe_ssl_last_chain_expiry_timestamp_seconds"] > PAST) is (not expected.fault)


@pytest.mark.parametrize("kind", [kind for kind in ZOO if "client" not in kind and kind != "common name only"])
@pytest.mark.usefixtures("old_tls")
async def test_openssl_s_own_client_is_of_the_same_opinion(certificates: Certificates, kind: str) -> None:
    """It cannot leave the common name out of account, and of two faults it may name the other one."""
    async with serving(says(OK), certificates.leaf(kind)) as port:
        said = await asyncio.to_thread(opinion, port, "-CAfile", str(certificates.roots))
    if ZOO[kind].reason == "tls":
        assert "Verification: OK" not in said
        return
    expected = ZOO[kind].fault
    assert ("Verification: OK" in said) is (not expected), said
    assert expected.lower() in said.lower() or (" and " in kind and "hostname mismatch" in said.lower()), said


def opinion(port: int, *more: str) -> str:
    """What `openssl s_client` says of a server."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *more]
    command += ["-verify_hostname", "localhost", "-verify_return_error", "-brief"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


# -- a client's certificate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("collector", KINDS)
@pytest.mark.parametrize("version", ["TLS 1.2", "TLS 1.3"])
async def test_a_demanded_client_certificate_is_shown_or_missed(
    certificates: Certificates, version: str, collector: str
) -> None:
    """In TLS 1.3 the client's handshake is over before the server can say that it misses something."""
    context = certificates.leaf(f"client certificate demanded, {version}")
    certificates.leaf("client")
    pair = {"cert_file": str(certificates.folder / "client.pem"), "key_file": str(certificates.folder / "client.key")}
    options = {"ca_file": str(certificates.authority)}
    async with serving(says(OK), context) as port:
        shown = await probed(collector, f"localhost:{port}", **options, **pair)
        missed = await probed(collector, f"localhost:{port}", **options)
        looked = await probed(collector, f"localhost:{port}", insecure_skip_verify=True)
    assert (reason(shown), shown["probe_success"], shown["probe_ssl_verified"]) == ("", 1.0, 1.0)
    assert (missed["probe_success"], missed["probe_ssl_verified"]) == (0.0, 1.0), "the server's own is in order"
    assert (looked["probe_success"], fault(looked)) == (0.0, None)
    if collector == "tls":
        assert reason(missed) == reason(looked) == "tls"
    for found in (shown, missed, looked):
        assert found["probe_ssl_earliest_cert_expiry"] > PAST


async def test_a_client_certificate_that_may_be_left_out_may_be_left_out(certificates: Certificates) -> None:
    import ssl

    context = certificates.leaf("client certificate demanded, or not")
    context.verify_mode = ssl.CERT_OPTIONAL
    async with serving(says(OK), context) as port:
        found = await probed("tls", f"localhost:{port}", ca_file=str(certificates.authority))
        context.num_tickets = 0  # now the server has nothing to say
        silent = await probed("tls", f"localhost:{port}", ca_file=str(certificates.authority))
    assert (reason(found), reason(silent)) == ("", "")


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collector", KINDS)
async def test_the_certificate_is_that_of_the_name_that_is_asked_for(
    certificates: Certificates, collector: str
) -> None:
    context = certificates.by_name(localhost="good", **{"elsewhere.example": "wrong host", "_": "self-signed"})
    ca = {"ca_file": str(certificates.authority)}
    async with serving(says(OK), context) as port:
        by_name = await probed(collector, f"localhost:{port}", **ca)
        other = await probed(collector, f"localhost:{port}", server_name="elsewhere.example", **ca)
        by_address = await probed(collector, f"127.0.0.1:{port}", **ca)
    assert (reason(by_name), reason(other)) == ("", "")
    assert (by_name["subject"], other["subject"]) == ("CN=good", "CN=wrong host")
    assert (by_address["subject"], fault(by_address)) == ("CN=self-signed", "self-signed certificate")
    assert by_address["probe_ssl_hostname_matches"] == 0.0, "it is for no address"


@pytest.mark.parametrize("name", [".", ".example", "a" * 300, "a..b"])
async def test_a_server_name_that_is_none_fails_alone(certificates: Certificates, name: str) -> None:
    async with serving(says(OK), certificates.leaf("good")) as port:
        found = await probed("tls", f"127.0.0.1:{port}", server_name=name, ca_file=str(certificates.authority))
    assert reason(found) in ("config", "certificate")


@pytest.mark.parametrize("collector", KINDS)
async def test_what_is_not_to_be_verified_has_no_verdict_but_all_the_rest(
    certificates: Certificates, collector: str
) -> None:
    async with serving(says(OK), certificates.leaf("wrong host")) as port:
        found = await probed(collector, f"localhost:{port}", insecure_skip_verify=True)
    assert (found["probe_success"], found["probe_ssl_hostname_matches"], fault(found)) == (1.0, 0.0, None)
    assert found["probe_ssl_earliest_cert_expiry"] > PAST
