"""Targets of the command line, as the options that they become."""

from __future__ import annotations

import pytest

from agent.cli.kinds import KINDS, place
from agent.plugins import COLLECTORS


@pytest.mark.parametrize(
    ("kind", "target", "option"),
    [
        ("http", "example.com", "http://example.com"),
        ("http", "example.com:8080/health?x=1", "http://example.com:8080/health?x=1"),
        ("http", "https://example.com", "https://example.com"),
        ("http", "::1", "http://[::1]"),
        ("http", "${env:URL}", "${env:URL}"),
        ("tls", "example.com", "example.com:443"),
        ("tls", "example.com:8443", "example.com:8443"),
        ("tls", "[::1]", "[::1]:443"),
        ("tls", "smtp://example.com", "smtp://example.com"),
        ("tls", "/etc/ssl/*.pem", "/etc/ssl/*.pem"),
        ("tls", "./own.pem", "./own.pem"),
        ("tcp", "example.com:22", "example.com:22"),
        ("dns", "9.9.9.9", "9.9.9.9"),
        ("icmp", "::1", "::1"),
        ("redis", "example.com", "redis://example.com"),
        ("redis", "::1", "redis://[::1]"),
        ("redis", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("postgres", "example.com", "postgres://nightjar@example.com/postgres"),
        ("postgres", "me@example.com:5433/db", "postgres://me@example.com:5433/db"),
        ("mysql", "example.com:3307", "mysql://nightjar@example.com:3307"),
        ("pgbouncer", "example.com:6432", "postgres://nightjar@example.com:6432/pgbouncer"),
        ("scrape", "example.com:9100", "http://example.com:9100/metrics"),
        ("scrape", "example.com:9100/other", "http://example.com:9100/other"),
    ],
)
def test_a_target_becomes_the_option(kind: str, target: str, option: str) -> None:
    assert place(KINDS[kind], {"target": target, "hostname": None, "port": None}) == option


@pytest.mark.parametrize(
    ("kind", "host", "port", "option"),
    [
        ("http", "example.com", None, "http://example.com"),
        ("http", "example.com", 443, "https://example.com:443"),
        ("http", "::1", 8080, "http://[::1]:8080"),
        ("tls", "example.com", None, "example.com:443"),
        ("tls", "::1", 8443, "[::1]:8443"),
        ("tcp", "[::1]", 22, "[::1]:22"),
        ("icmp", "::1", None, "::1"),
        ("dns", "9.9.9.9", 5353, "9.9.9.9:5353"),
        ("postgres", "example.com", 5433, "postgres://nightjar@example.com:5433/postgres"),
        ("scrape", "example.com", 9100, "http://example.com:9100/metrics"),
    ],
)
def test_host_and_port_become_the_option(kind: str, host: str, port: int | None, option: str) -> None:
    assert place(KINDS[kind], {"target": None, "hostname": host, "port": port}) == option


def test_without_a_target_there_is_none() -> None:
    assert place(KINDS["tcp"], {"target": None, "hostname": None, "port": None}) is None


def test_every_built_in_kind_can_be_probed_and_its_option_exists() -> None:
    assert set(KINDS) == set(COLLECTORS.builtin)
    for kind, about in KINDS.items():
        assert not about.option or about.option in COLLECTORS[kind]().__struct_encode_fields__


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("postgres", {"target": "/run/postgresql"}),
        ("postgres", {"hostname": "/run/postgresql", "port": 5433}),
        ("pgbouncer", {"target": "/x"}),
        ("postgres", {"target": ""}),
        ("tcp", {"target": ""}),
        ("http", {"hostname": "", "port": 80}),
    ],
)
def test_what_would_be_another_server_is_refused(kind: str, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"TARGET: (is empty|expected a host)"):
        place(KINDS[kind], {"target": None, "hostname": None, **values})
