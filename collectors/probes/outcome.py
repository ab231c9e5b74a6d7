"""What every probe says, whatever it probes: success, duration, reason of a failure, a settled state, certificates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.model import Sample, counter, gauge
from collectors.probes.link import Link, Peer, Reason, version_of

SUCCESS: Final = gauge("probe_success", "Displays whether or not the probe was a success", "instance")
DURATION: Final = gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", "instance")
FAILURE: Final = gauge(
    "probe_failure_info", "Why the last probe failed, by a fixed set of reasons.", "instance", "reason"
)
FAILURES: Final = counter("probe_failures_total", "Failed probes by reason.", "instance", "reason")
STATE: Final = gauge(
    "probe_state", "1 up, 0 down: changes after so many probes in a row as the options say.", "instance"
)
LOOKUP: Final = gauge(
    "probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", "instance"
)
PROTOCOL: Final = gauge("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", "instance")
REGEX: Final = gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", "instance")
EARLIEST: Final = gauge("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime", "instance")
LAST_CHAIN: Final = gauge(
    "probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp", "instance"
)
LAST_CHAIN_INFO: Final = gauge(
    "probe_ssl_last_chain_info",
    "Contains SSL leaf certificate information",
    *("instance", "fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"),
)
TLS_VERSION: Final = gauge(
    "probe_tls_version_info", "Returns the TLS version used or NaN when unknown", "instance", "version"
)
TLS_CIPHER: Final = gauge(
    "probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", "instance", "cipher"
)
VERIFIED: Final = gauge(
    "probe_ssl_verified",
    "Whether the certificate verifies; the reason is OpenSSL's when it does not.",
    "instance",
    "reason",
)
MATCHES: Final = gauge(
    "probe_ssl_hostname_matches",
    "Whether the certificate is for the name that was asked for, whatever else is wrong with it.",
    "instance",
)
SHOWN_NAMES: Final = 20  # subject alternative names in a label; some certificates have hundreds
FAMILIES: Final = (
    *(SUCCESS, DURATION, FAILURE, FAILURES, STATE, EARLIEST, LAST_CHAIN, LAST_CHAIN_INFO, TLS_VERSION, TLS_CIPHER),
    *(VERIFIED, MATCHES, LOOKUP, PROTOCOL),
)


class Settled:
    """The state of each target, which changes only after so many probes in a row said so, and its failures so far."""

    def __init__(self, fail_after: int, recover_after: int) -> None:
        self._fail_after, self._recover_after = fail_after, recover_after
        self._up: dict[str, bool] = {}
        self._against: dict[str, int] = {}  # probes in a row that contradict the state
        self._failures: dict[str, dict[str, int]] = {}

    def keep(self, targets: set[str]) -> None:
        """Forget every target but these."""
        for book in (self._up, self._against, self._failures):
            for target in [one for one in book if one not in targets]:
                del book[target]

    def samples(self, target: str, seconds: float, reason: Reason | None) -> Iterator[Sample]:
        """What a probe's end means: its reason, or None for a success."""
        yield SUCCESS(float(reason is None), target)
        yield DURATION(seconds, target)
        yield STATE(float(self._move(target, up=reason is None)), target)
        failures = self._failures.setdefault(target, {})
        if reason is not None:
            failures[reason] = failures.get(reason, 0) + 1
            yield FAILURE(1.0, target, reason)
        for name, count in failures.items():
            yield FAILURES(float(count), target, name)

    def _move(self, target: str, *, up: bool) -> bool:
        """The state after another probe; the first one is believed."""
        state = self._up.setdefault(target, up)
        if state == up:
            self._against[target] = 0
            return state
        self._against[target] = self._against.get(target, 0) + 1
        if self._against[target] >= (self._recover_after if up else self._fail_after):
            self._up[target], self._against[target] = up, 0
        return self._up[target]


def late_reason(link: Link | None) -> Reason:
    """Why a probe without an end failed: for what was known of its connection by then."""
    return (None if link is None else link.verdict) or "timeout"


def link_samples(target: str, link: Link) -> Iterator[Sample]:
    """What a connection showed on the way."""
    yield LOOKUP(link.resolve, target)
    yield PROTOCOL(version_of(link.address), target)
    if link.peer is not None:
        yield from certificate_samples(target, link.peer)


def certificate_samples(target: str, peer: Peer) -> Iterator[Sample]:
    """What a handshake showed, in the terms of blackbox_exporter."""
    if peer.version:
        yield TLS_VERSION(1.0, target, peer.version.replace("TLSv1.", "TLS 1.").replace("TLSv1", "TLS 1.0"))
        yield TLS_CIPHER(1.0, target, peer.cipher)
    if peer.judged:
        yield VERIFIED(float(not peer.fault), target, peer.fault)
    if not peer.presented:
        return
    leaf = peer.presented[0]
    yield MATCHES(float(peer.matches), target)
    yield EARLIEST(peer.earliest_expiry, target)
    yield LAST_CHAIN(peer.verified_expiry, target)
    names = ",".join(leaf.dns_names[:SHOWN_NAMES])
    yield LAST_CHAIN_INFO(1.0, target, leaf.fingerprint, leaf.subject, leaf.issuer, names, leaf.serial)
