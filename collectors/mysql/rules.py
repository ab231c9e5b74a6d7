"""The default rules of MySQL and MariaDB. What each means and what to do about it: docs/runbooks/mysql.md.

MySQL 8.4 has other names for what it says of replication; each rule takes whichever is there.
"""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/mysql.md")

_BEHIND: Final = "(mysql_slave_status_seconds_behind_master or mysql_slave_status_seconds_behind_source)"
_SOURCE: Final = "{{ $labels.master_host }}"

_SERVER: Final = (
    rule(
        "MySQLDown",
        "mysql_up == 0",
        severity="critical",
        hold="1m",
        summary="MySQL {{ $labels.instance }} does not answer",
    ),
    rule(
        "MySQLConnectionsHigh",
        "mysql_global_status_threads_connected / mysql_global_variables_max_connections > 0.8",
        severity="warning",
        hold="5m",
        summary="MySQL {{ $labels.instance }} has {{ $value | humanizePercentage }} of its connections in use",
    ),
    rule(
        "MySQLConnectionsRefused",
        'rate(mysql_global_status_connection_errors_total{error="max_connections"}[5m]) > 0',
        severity="critical",
        summary="MySQL {{ $labels.instance }} turns clients away",
    ),
    rule(
        "MySQLOpenFilesHigh",
        "mysql_global_status_open_files / (mysql_global_variables_open_files_limit > 0) > 0.8",
        severity="warning",
        hold="15m",
        summary="MySQL {{ $labels.instance }} has {{ $value | humanizePercentage }} of its files open",
    ),
    rule(
        "MySQLRowLockQueue",
        "mysql_global_status_innodb_row_lock_current_waits > 10",
        severity="warning",
        hold="5m",
        summary="{{ $value }} transactions on MySQL {{ $labels.instance }} wait for rows that others have locked",
    ),
)
_REPLICATION: Final = (
    rule(
        "MySQLReplicationReceiverStopped",
        "(mysql_slave_status_slave_io_running or mysql_slave_status_replica_io_running) == 0",
        severity="critical",
        hold="2m",
        summary=f"MySQL {{{{ $labels.instance }}}} receives nothing from {_SOURCE}",
    ),
    rule(
        "MySQLReplicationBroken",
        "(mysql_slave_status_slave_sql_running or mysql_slave_status_replica_sql_running) == 0",
        severity="critical",
        hold="2m",
        summary=f"MySQL {{{{ $labels.instance }}}} no longer applies what comes from {_SOURCE}",
    ),
    rule(  # less what it is told to lag
        "MySQLReplicationLag",
        f"(({_BEHIND} - mysql_slave_status_sql_delay) or {_BEHIND}) > 60",
        severity="warning",
        hold="5m",
        summary=f"MySQL {{{{ $labels.instance }}}} is {{{{ $value | humanizeDuration }}}} behind {_SOURCE}",
    ),
    rule(
        "MySQLGaleraNotReady",
        "mysql_global_status_wsrep_ready == 0 and mysql_global_variables_wsrep_on == 1",
        severity="critical",
        hold="1m",
        summary="The Galera node {{ $labels.instance }} takes no queries",
    ),
    rule(
        "MySQLGaleraNotSynced",
        "mysql_global_status_wsrep_local_state != 4 and mysql_global_variables_wsrep_on == 1",
        severity="warning",
        hold="15m",
        summary="The Galera node {{ $labels.instance }} is not in step with its cluster (state {{ $value }})",
    ),
)
RULES: Final[tuple[Rule, ...]] = (*_SERVER, *_REPLICATION)
