"""`nightjar plugins KIND`: every collector shows what it makes."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import nightjar
from agent.model import Family
from agent.plugins import COLLECTORS

SOME = {
    "host": {"node_load1", "node_scrape_collector_success"},
    "http": {"probe_success", "probe_http_status_code", "probe_ssl_earliest_cert_expiry"},
    "tls": {"probe_success", "tls_certificate_not_after_timestamp_seconds", "ssl_ocsp_response_status"},
    "tcp": {"probe_success", "probe_tcp_connect_seconds"},
    "dns": {"probe_success", "probe_dns_answer_rrs"},
    "icmp": {"probe_success", "probe_icmp_duration_seconds"},
    "redis": {"redis_up", "redis_memory_used_bytes", "redis_slowlog_length", "redis_key_size", "redis_query_success"},
    "scrape": {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_failure_info"},
    "postgres": {"pg_up", "pg_error", "pg_stat_activity_count"},
    "pgbouncer": {"pgbouncer_up", "pgbouncer_error", "pgbouncer_pools_client_waiting_connections"},
    "mysql": {"mysql_up", "mysql_error", "mysql_exporter_collector_success"},
}


def described(kind: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(nightjar, ["plugins", kind, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    metrics: list[dict[str, Any]] = json.loads(result.stdout)["metrics"]
    return metrics


@pytest.mark.parametrize("kind", COLLECTORS.builtin)
def test_every_collector_shows_its_metrics(kind: str) -> None:
    metrics = described(kind)
    assert SOME[kind] <= {one["name"] for one in metrics}
    assert all(one["help"] and one["kind"] for one in metrics)
    twice = [(one["name"], *one["labels"]) for one in metrics]
    assert len(twice) == len(set(twice))


@pytest.mark.parametrize("kind", ["redis", "postgres", "pgbouncer", "mysql", "dns", "tls"])
def test_they_are_shown_without_the_extra_where_the_collector_can_be_loaded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("redis", "asyncpg", "pymysql", "dns", "OpenSSL"):
        monkeypatch.setitem(sys.modules, library, None)
    assert SOME[kind] <= {one["name"] for one in described(kind)}


@pytest.mark.parametrize("kind", ["redis", "pgbouncer", "mysql", "postgres", "icmp", "dns"])
def test_no_family_of_a_collectors_modules_is_forgotten(kind: str) -> None:
    module = sys.modules[COLLECTORS.plugin(kind).__module__]
    declared = {id(family) for family in module.METRICS}
    modules = [module]
    if hasattr(module, "__path__"):
        modules += [
            importlib.import_module(f"{module.__name__}.{one.name}") for one in pkgutil.iter_modules(module.__path__)
        ]
    found = {id(one): one.name for each in modules for value in vars(each).values() for one in families(value)}
    assert [name for key, name in found.items() if key not in declared] == []


def families(value: Any) -> Iterator[Family]:
    """Those that a table, however it is built, holds directly."""
    if isinstance(value, Family):
        yield value
    elif isinstance(value, dict):
        yield from families(tuple(value.values()))
    elif isinstance(value, tuple):
        yield from (one for one in value if isinstance(one, Family))
