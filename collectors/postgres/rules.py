"""The default rules of PostgreSQL. What each means and what to do about it: docs/runbooks/postgres.md."""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/postgres.md")

_SHARE_OF_CONNECTIONS: Final = "sum without (state) (pg_connections) / pg_connections_limit"
# A standby that is told to lag is behind only by what comes on top of that.
_LAG: Final = (
    "((pg_replication_lag_seconds - pg_settings_recovery_min_apply_delay_seconds) or pg_replication_lag_seconds)"
)
_ROLLBACKS: Final = "rate(pg_stat_database_xact_rollback[5m])"

_SERVER: Final = (
    rule(
        "PostgresDown",
        "pg_up == 0",
        severity="critical",
        hold="1m",
        summary="PostgreSQL {{ $labels.instance }} does not answer",
    ),
    rule(
        "PostgresConnectionsHigh",
        f"{_SHARE_OF_CONNECTIONS} > 0.8",
        severity="warning",
        hold="5m",
        summary="PostgreSQL {{ $labels.instance }} has {{ $value | humanizePercentage }} of its connections in use",
    ),
    rule(
        "PostgresConnectionsCritical",
        f"{_SHARE_OF_CONNECTIONS} > 0.95",
        severity="critical",
        hold="1m",
        summary="PostgreSQL {{ $labels.instance }} has {{ $value | humanizePercentage }} of its connections in use",
    ),
    rule(
        "PostgresFsyncOff",
        "pg_settings_fsync == 0",
        severity="warning",
        summary="PostgreSQL {{ $labels.instance }} does not wait for its disks: fsync is off",
    ),
    rule(
        "PostgresAutovacuumOff",
        "pg_settings_autovacuum == 0",
        severity="warning",
        hold="1h",
        summary="PostgreSQL {{ $labels.instance }} does not clean up: autovacuum is off",
    ),
    rule(
        "PostgresArchiveFailing",
        "rate(pg_stat_archiver_failed_count[5m]) > 0",
        severity="warning",
        hold="15m",
        summary="PostgreSQL {{ $labels.instance }} cannot archive its WAL",
    ),
)
_TRANSACTIONS: Final = (
    rule(
        "PostgresIdleInTransaction",
        "pg_connections_oldest_idle_in_transaction_seconds > 600",
        severity="warning",
        hold="1m",
        summary="A client of PostgreSQL {{ $labels.instance }} keeps a transaction open and has done nothing in it for"
        " {{ $value | humanizeDuration }}",
    ),
    rule(  # the dump of a large database takes hours, and is one transaction
        "PostgresLongTransaction",
        "pg_connections_oldest_transaction_seconds > 4 * 3600",
        severity="warning",
        hold="1m",
        summary="A transaction on PostgreSQL {{ $labels.instance }} has been open for {{ $value | humanizeDuration }}",
    ),
    rule(
        "PostgresLockQueue",
        "pg_connections_waiting_for_lock > 5",
        severity="warning",
        hold="5m",
        summary="{{ $value }} clients of PostgreSQL {{ $labels.instance }} wait for locks",
    ),
    rule(
        "PostgresDeadlocks",
        "60 * rate(pg_stat_database_deadlocks[5m]) > 1",
        severity="warning",
        hold="5m",
        summary="{{ $labels.datname }} on PostgreSQL {{ $labels.instance }} has {{ $value | humanize }} deadlocks a"
        " minute",
    ),
    rule(
        "PostgresRollbacks",
        f"{_ROLLBACKS} / ({_ROLLBACKS} + rate(pg_stat_database_xact_commit[5m])) > 0.3 and {_ROLLBACKS} > 1",
        severity="info",
        hold="15m",
        summary="{{ $value | humanizePercentage }} of the transactions in {{ $labels.datname }} on PostgreSQL"
        " {{ $labels.instance }} are rolled back",
    ),
    rule(
        "PostgresTransactionIdsLow",
        "pg_database_wraparound_age_datfrozenxid_seconds > 1e9 or pg_database_wraparound_age_datminmxid_seconds > 1e9",
        severity="warning",
        hold="1h",
        summary="{{ $labels.datname }} on PostgreSQL {{ $labels.instance }} has not frozen ids for"
        " {{ $value | humanize }} transactions",
    ),
    rule(
        "PostgresTransactionIdWraparound",
        "pg_database_wraparound_age_datfrozenxid_seconds > 1.8e9"
        " or pg_database_wraparound_age_datminmxid_seconds > 1.8e9",
        severity="emergency",
        summary="{{ $labels.datname }} on PostgreSQL {{ $labels.instance }} will soon take no more writes:"
        " {{ $value | humanize }} of 2.1G transaction ids are used up",
    ),
)
_REPLICATION: Final = (
    rule(
        "PostgresReplicationLag",
        f"{_LAG} > 60",
        severity="warning",
        hold="5m",
        summary="PostgreSQL {{ $labels.instance }} is {{ $value | humanizeDuration }} behind its primary",
    ),
    rule(
        "PostgresStandbyFarBehind",
        "pg_stat_replication_pg_wal_lsn_diff > 2 ^ 30",
        severity="warning",
        hold="10m",
        summary="{{ $labels.application_name }} at {{ $labels.client_addr }} is {{ $value | humanize1024 }}B behind"
        " PostgreSQL {{ $labels.instance }}",
    ),
    rule(
        "PostgresReplicationSlotInactive",
        "pg_replication_slots_pg_wal_lsn_diff > 2 ^ 30 and pg_replication_slots_active == 0",
        severity="warning",
        hold="10m",
        summary="Nobody reads the slot {{ $labels.slot_name }} of PostgreSQL {{ $labels.instance }}; it holds back"
        " {{ $value | humanize1024 }}B of WAL",
    ),
    rule(
        "PostgresReplicationSlotLost",
        'pg_replication_slot_wal_status{wal_status="lost"} == 1',
        severity="critical",
        summary="The slot {{ $labels.slot_name }} of PostgreSQL {{ $labels.instance }} has lost WAL that its reader"
        " needs",
    ),
)
RULES: Final[tuple[Rule, ...]] = (*_SERVER, *_TRANSACTIONS, *_REPLICATION)
