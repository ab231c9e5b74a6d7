"""Who is connected, what they wait for, and which locks they hold."""

from __future__ import annotations

from typing import Final

from collectors.postgres.statements import DATABASE, Part, Statement, gauges

_BACKEND: Final = (
    *("datname", "state", "usename", "application_name", "backend_type", "wait_event_type", "wait_event"),
)
_STATES: Final = (
    "ARRAY['active','idle','idle in transaction','idle in transaction (aborted)','fastpath function call','disabled']"
)

CONNECTIONS: Final = (
    Statement(  # a stable set of series, whatever the applications call themselves
        f"""SELECT s.state, count(a.pid)::float8
        FROM unnest({_STATES} || ARRAY['unknown']) AS s(state)
        LEFT JOIN pg_stat_activity a ON coalesce(a.state, 'unknown') = s.state
            AND coalesce(a.backend_type, 'client backend') = 'client backend'
        GROUP BY 1 ORDER BY 1""",  # noqa: S608  # of constants
        gauges("pg", ("state",), {"connections": "Client connections by state, our own included."}),
    ),
    Statement(
        """SELECT (current_setting('max_connections')::int - r.reserved)::float8, r.reserved::float8,
            count(*) FILTER (WHERE wait_event_type = 'Lock')::float8,
            coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8,
            coalesce(max(extract(epoch FROM now() - state_change))
                FILTER (WHERE state LIKE 'idle in transaction%'), 0)::float8
        FROM (SELECT current_setting('superuser_reserved_connections')::int
            + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved) r
        LEFT JOIN pg_stat_activity a ON a.pid <> pg_backend_pid()
            AND coalesce(a.backend_type, 'client backend') = 'client backend'
        GROUP BY r.reserved""",
        gauges(
            "pg_connections",
            (),
            {
                "limit": "Connections that ordinary users can have: max_connections less the reserved ones.",
                "reserved": "Connections kept for superusers and for roles with pg_use_reserved_connections.",
                "waiting_for_lock": "Client connections that wait for a lock.",
                "oldest_transaction_seconds": "Age of the oldest transaction of a client.",
                "oldest_idle_in_transaction_seconds": "Longest time a client has been idle in a transaction.",
            },
        ),
    ),
)
STAT_ACTIVITY: Final = Statement(
    f"""WITH busy AS (
        SELECT datname, state, usename, application_name, backend_type, wait_event_type, wait_event,
            count(*)::float8 AS connections, max(extract(epoch FROM now() - xact_start))::float8 AS age
        FROM pg_stat_activity WHERE pid <> pg_backend_pid()
        GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 8 DESC LIMIT 1000)
    SELECT d.datname::text, s.state, b.usename::text, b.application_name, b.backend_type, b.wait_event_type,
        b.wait_event, coalesce(b.connections, 0), coalesce(b.age, 0)
    FROM unnest({_STATES}) AS s(state) CROSS JOIN pg_database d
    LEFT JOIN busy b ON b.state = s.state AND b.datname = d.datname
    LIMIT 5000""",  # noqa: S608  # of constants
    gauges(
        "pg_stat_activity",
        _BACKEND,
        {
            "count": "number of connections in this state",
            "max_tx_duration": "max duration in seconds any active transaction has been running",
        },
    ),
)
LOCKS: Final = Statement(
    """SELECT d.datname::text, m.mode, coalesce(l.held, 0)::float8
    FROM unnest(ARRAY['accesssharelock','rowsharelock','rowexclusivelock','shareupdateexclusivelock','sharelock',
        'sharerowexclusivelock','exclusivelock','accessexclusivelock','sireadlock']) AS m(mode)
    CROSS JOIN pg_database d
    LEFT JOIN (SELECT database, lower(mode) AS mode, count(*) AS held FROM pg_locks
        WHERE database IS NOT NULL GROUP BY 1, 2) l ON l.mode = m.mode AND l.database = d.oid
    LIMIT 9000""",
    gauges("pg_locks", (*DATABASE, "mode"), {"count": "Number of locks"}),
)
POSTMASTER: Final = Statement(
    "SELECT extract(epoch FROM pg_postmaster_start_time())::float8",
    gauges("pg_postmaster", (), {"start_time_seconds": "Time at which postmaster started"}),
)
LONG_RUNNING: Final = Statement(
    """SELECT count(*)::float8, max(extract(epoch FROM clock_timestamp() - xact_start))::float8
    FROM pg_stat_activity WHERE state IS DISTINCT FROM 'idle' AND query NOT LIKE 'autovacuum:%'
        AND xact_start IS NOT NULL AND pid <> pg_backend_pid()""",
    gauges(
        "pg_long_running",
        (),
        {
            "transactions": "Current number of long running transactions",
            "transactions_oldest_timestamp_seconds": "The current maximum transaction age in seconds",
        },
    ),
)

ACTIVITY: Final = (
    Part("connections", CONNECTIONS),
    Part("stat_activity", (STAT_ACTIVITY,)),
    Part("locks", (LOCKS,)),
    Part("postmaster", (POSTMASTER,), default=False),
    Part("long_running_transactions", (LONG_RUNNING,), default=False),
)
