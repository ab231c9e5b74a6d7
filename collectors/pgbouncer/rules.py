"""The default rules of pgbouncer. What each means and what to do about it: docs/runbooks/pgbouncer.md."""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/pgbouncer.md")

_POOL: Final = "{{ $labels.user }}@{{ $labels.database }} on pgbouncer {{ $labels.instance }}"

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "PgbouncerDown",
        "pgbouncer_up == 0",
        severity="critical",
        hold="1m",
        summary="pgbouncer {{ $labels.instance }} does not answer",
    ),
    rule(
        "PgbouncerClientsWaiting",
        "pgbouncer_pools_client_waiting_connections > 10",
        severity="warning",
        hold="5m",
        summary="{{ $value }} clients wait for a server connection of " + _POOL,
    ),
    rule(
        "PgbouncerWaitLong",
        "pgbouncer_pools_client_maxwait_seconds > 15",
        severity="critical",
        hold="1m",
        summary="A client has waited {{ $value | humanizeDuration }} for a server connection of " + _POOL,
    ),
    rule(
        "PgbouncerConnectionsHigh",
        "pgbouncer_used_clients / (pgbouncer_config_max_client_connections > 0) > 0.8",
        severity="warning",
        hold="5m",
        summary="pgbouncer {{ $labels.instance }} has {{ $value | humanizePercentage }} of the clients that it accepts",
    ),
    rule(
        "PgbouncerDatabasePaused",
        "pgbouncer_databases_paused == 1",
        severity="warning",
        hold="15m",
        summary="{{ $labels.name }} on pgbouncer {{ $labels.instance }} is paused: its clients wait",
    ),
)
