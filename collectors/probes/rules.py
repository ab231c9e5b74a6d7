"""The default rules of the probes: what all share, and a tuple a kind. See docs/runbooks/probes.md.

The rules that are shared are the same objects, of the same names, in every kind: no series says which kind made it.
"""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/probes.md")

_DAY: Final = 86400
# An expired certificate beside the chain that verifies hurts nobody; where none verifies, the first to expire counts.
_TIME_LEFT: Final = "(probe_ssl_last_chain_expiry_timestamp_seconds > 0 or probe_ssl_earliest_cert_expiry > 0) - time()"

SHARED: Final[tuple[Rule, ...]] = (
    rule(
        "ProbeDown",
        "probe_state == 0",
        severity="critical",
        hold="1m",
        summary="{{ $labels.instance }} is down",
    ),
    rule(
        "ProbeUnstable",
        "changes(probe_success[30m]) > 5",
        severity="warning",
        summary="{{ $labels.instance }} comes and goes",
    ),
    rule(
        "ProbeSlow",
        "probe_duration_seconds > 3 and probe_success == 1",
        severity="warning",
        hold="5m",
        summary="{{ $labels.instance }} takes {{ $value | humanizeDuration }}",
    ),
)
CERTIFICATES: Final[tuple[Rule, ...]] = (
    rule(
        "CertificateExpiresSoon",
        f"{_TIME_LEFT} < 14 * {_DAY} and {_TIME_LEFT} >= 0",
        severity="warning",
        hold="5m",
        summary="The certificate of {{ $labels.instance }} is valid for {{ $value | humanizeDuration }} more",
    ),
    rule(
        "CertificateExpiresVerySoon",
        f"{_TIME_LEFT} < 3 * {_DAY} and {_TIME_LEFT} >= 0",
        severity="critical",
        hold="5m",
        summary="The certificate of {{ $labels.instance }} is valid for {{ $value | humanizeDuration }} more",
    ),
    rule(
        "CertificateExpired",
        f"{_TIME_LEFT} < 0",
        severity="emergency",
        summary="The certificate of {{ $labels.instance }} has expired",
    ),
    rule(
        "CertificateUntrusted",
        'probe_ssl_verified{reason!="certificate has expired"} == 0',
        severity="critical",
        hold="5m",
        summary="The certificate of {{ $labels.instance }} does not verify: {{ $labels.reason }}",
    ),
)

HTTP: Final = (*SHARED, *CERTIFICATES)
TLS: Final[tuple[Rule, ...]] = (
    *SHARED,
    *CERTIFICATES,
    rule(
        "CertificateNotYetValid",
        "tls_certificate_not_before_timestamp_seconds - time() > 0",
        severity="critical",
        hold="5m",
        summary="A certificate of {{ $labels.instance }} will be valid in {{ $value | humanizeDuration }}",
    ),
    rule(
        "CertificateRevoked",
        "ssl_ocsp_response_status == 1",
        severity="critical",
        summary="The certificate of {{ $labels.instance }} is revoked",
    ),
    rule(
        "CertificateStapleInvalid",
        "tls_ocsp_response_verified == 0",
        severity="warning",
        hold="15m",
        summary="What {{ $labels.instance }} staples to its certificate is no good: {{ $labels.reason }}",
    ),
    rule(
        "CertificateStapleMissing",
        "ssl_ocsp_response_stapled == 0 and tls_certificate_must_staple == 1",
        severity="critical",
        hold="5m",
        summary="The certificate of {{ $labels.instance }} wants a stapled state, and the server staples none",
    ),
)
TCP: Final[tuple[Rule, ...]] = (
    *SHARED,
    *CERTIFICATES,
    rule(
        "ProbeTcpConnectSlow",
        "probe_tcp_connect_seconds > 1 and probe_success == 1",
        severity="warning",
        hold="5m",
        summary="A connection to {{ $labels.instance }} takes {{ $value | humanizeDuration }}",
    ),
)
DNS: Final[tuple[Rule, ...]] = (
    *SHARED,
    *CERTIFICATES,
    rule(
        "ProbeDnsSlow",
        'probe_dns_duration_seconds{phase="request"} > 1 and ignoring (phase) probe_success == 1',
        severity="warning",
        hold="5m",
        summary="{{ $labels.instance }} takes {{ $value | humanizeDuration }} to answer a DNS query",
    ),
)
ICMP: Final[tuple[Rule, ...]] = (
    *SHARED,
    rule(
        "ProbePingSlow",
        'probe_icmp_duration_seconds{phase="rtt"} > 0.5 and ignoring (phase) probe_success == 1',
        severity="warning",
        hold="5m",
        summary="A ping to {{ $labels.instance }} takes {{ $value | humanizeDuration }}",
    ),
)
