"""The server as a whole: databases, roles, background writer, checkpoints, archive, WAL."""

from __future__ import annotations

from typing import Final

from agent.model import unknown
from collectors.postgres.statements import DATABASE, Part, Statement, counters, gauges

_DATABASE: Final = ("datid", "datname")
_17: Final = 170000

ROLES: Final = Statement(
    "SELECT rolname::text, rolconnlimit::float8 FROM pg_roles LIMIT 2000",
    gauges("pg_roles", ("rolname",), {"connection_limit": "Connection limit set for the role"}),
)
ARCHIVER: Final = (
    Statement(
        "SELECT archived_count::float8, failed_count::float8 FROM pg_stat_archiver",
        counters(
            "pg_stat_archiver",
            (),
            {
                "archived_count": "Number of WAL files that have been successfully archived",
                "failed_count": "Number of failed attempts for archiving WAL files",
            },
        ),
    ),
    Statement(
        "SELECT extract(epoch FROM now() - last_archived_time)::float8 FROM pg_stat_archiver",
        gauges(
            "pg_stat_archiver",
            (),
            {"last_archive_age": "Time in seconds since last WAL segment was successfully archived"},
        ),
    ),
)
WRITER_CLEAN: Final = Statement(
    """SELECT buffers_clean::float8, maxwritten_clean::float8, buffers_alloc::float8,
        coalesce(floor(extract(epoch FROM stats_reset)), 0)::float8
    FROM pg_stat_bgwriter""",
    counters(
        "pg_stat_bgwriter",
        (),
        {
            "buffers_clean_total": "Number of buffers written by the background writer",
            "maxwritten_clean_total": "Number of times the background writer stopped a scan, having written too much",
            "buffers_alloc_total": "Number of buffers allocated",
            "stats_reset_total": "Time at which these statistics were last reset",
        },
    ),
)
WRITER_CHECKPOINTS: Final = Statement(
    """SELECT checkpoints_timed::float8, checkpoints_req::float8, checkpoint_write_time::float8,
        checkpoint_sync_time::float8, buffers_checkpoint::float8, buffers_backend::float8,
        buffers_backend_fsync::float8
    FROM pg_stat_bgwriter""",
    counters(
        "pg_stat_bgwriter",
        (),
        {
            "checkpoints_timed_total": "Number of scheduled checkpoints that have been performed",
            "checkpoints_req_total": "Number of requested checkpoints that have been performed",
            "checkpoint_write_time_total": "Time checkpoints have spent writing files to disk, in milliseconds",
            "checkpoint_sync_time_total": "Time checkpoints have spent synchronizing files to disk, in milliseconds",
            "buffers_checkpoint_total": "Number of buffers written during checkpoints",
            "buffers_backend_total": "Number of buffers written directly by a backend",
            "buffers_backend_fsync_total": "Number of times a backend had to execute its own fsync call",
        },
    ),
    before=_17,
)
CHECKPOINTER: Final = Statement(
    """SELECT num_timed::float8, num_requested::float8, restartpoints_timed::float8, restartpoints_req::float8,
        restartpoints_done::float8, write_time::float8, sync_time::float8, buffers_written::float8,
        coalesce(floor(extract(epoch FROM stats_reset)), 0)::float8
    FROM pg_stat_checkpointer""",
    counters(
        "pg_stat_checkpointer",
        (),
        {
            "num_timed_total": "Number of scheduled checkpoints due to timeout",
            "num_requested_total": "Number of requested checkpoints that have been performed",
            "restartpoints_timed_total": "Number of scheduled restartpoints due to timeout",
            "restartpoints_req_total": "Number of requested restartpoints",
            "restartpoints_done_total": "Number of restartpoints that have been performed",
            "write_time_total": "Time checkpoints have spent writing files to disk, in milliseconds",
            "sync_time_total": "Time checkpoints have spent synchronizing files to disk, in milliseconds",
            "buffers_written_total": "Number of buffers written during checkpoints and restartpoints",
            "stats_reset_total": "Time at which these statistics were last reset",
        },
    ),
    since=_17,
)
BACKENDS: Final = Statement(
    "SELECT datid::text, datname::text, numbackends::float8 FROM pg_stat_database WHERE datname IS NOT NULL LIMIT 1000",
    gauges("pg_stat_database", _DATABASE, {"numbackends": "Number of backends currently connected to this database."}),
)
DATABASES: Final = Statement(
    """SELECT datid::text, datname::text, xact_commit::float8, xact_rollback::float8, blks_read::float8,
        blks_hit::float8, tup_returned::float8, tup_fetched::float8, tup_inserted::float8, tup_updated::float8,
        tup_deleted::float8, conflicts::float8, temp_files::float8, temp_bytes::float8, deadlocks::float8,
        blk_read_time::float8, blk_write_time::float8, coalesce(floor(extract(epoch FROM stats_reset)), 0)::float8
    FROM pg_stat_database WHERE datname IS NOT NULL LIMIT 1000""",
    counters(
        "pg_stat_database",
        _DATABASE,
        {
            "xact_commit": "Number of transactions in this database that have been committed",
            "xact_rollback": "Number of transactions in this database that have been rolled back",
            "blks_read": "Number of disk blocks read in this database",
            "blks_hit": "Number of times disk blocks were found already in the buffer cache",
            "tup_returned": "Number of rows returned by queries in this database",
            "tup_fetched": "Number of rows fetched by queries in this database",
            "tup_inserted": "Number of rows inserted by queries in this database",
            "tup_updated": "Number of rows updated by queries in this database",
            "tup_deleted": "Number of rows deleted by queries in this database",
            "conflicts": "Number of queries canceled due to conflicts with recovery in this database",
            "temp_files": "Number of temporary files created by queries in this database",
            "temp_bytes": "Total amount of data written to temporary files by queries in this database",
            "deadlocks": "Number of deadlocks detected in this database",
            "blk_read_time": "Time spent reading data file blocks by backends in this database, in milliseconds",
            "blk_write_time": "Time spent writing data file blocks by backends in this database, in milliseconds",
            "stats_reset": "Time at which these statistics were last reset",
        },
    ),
)
ACTIVE_TIME: Final = Statement(
    """SELECT datid::text, datname::text, (active_time / 1000)::float8
    FROM pg_stat_database WHERE datname IS NOT NULL LIMIT 1000""",
    counters(
        "pg_stat_database",
        _DATABASE,
        {"active_time_seconds_total": "Time spent executing SQL statements in this database, in seconds"},
    ),
    since=140000,
)
CONFLICTS: Final = Statement(
    """SELECT datid::text, datname::text, confl_tablespace::float8, confl_lock::float8, confl_snapshot::float8,
        confl_bufferpin::float8, confl_deadlock::float8
    FROM pg_stat_database_conflicts LIMIT 1000""",
    counters(
        "pg_stat_database_conflicts",
        _DATABASE,
        {
            "confl_tablespace": "Number of queries in this database canceled due to dropped tablespaces",
            "confl_lock": "Number of queries in this database canceled due to lock timeouts",
            "confl_snapshot": "Number of queries in this database canceled due to old snapshots",
            "confl_bufferpin": "Number of queries in this database canceled due to pinned buffers",
            "confl_deadlock": "Number of queries in this database canceled due to deadlocks",
        },
    ),
)
SLOT_CONFLICTS: Final = Statement(
    """SELECT datid::text, datname::text, confl_active_logicalslot::float8
    FROM pg_stat_database_conflicts LIMIT 1000""",
    (
        unknown(
            "pg_stat_database_conflicts_confl_active_logicalslot",
            "Number of uses of logical slots in this database canceled due to old snapshots or too low a wal_level",
            *("instance", *_DATABASE),
        ),
    ),
    since=160000,
)
WRAPAROUND: Final = Statement(
    """SELECT datname::text, age(datfrozenxid)::float8, mxid_age(datminmxid)::float8
    FROM pg_database WHERE datallowconn LIMIT 1000""",
    gauges(
        "pg_database_wraparound",
        DATABASE,
        {
            "age_datfrozenxid_seconds": "Age of the oldest transaction ID that has not been frozen.",
            "age_datminmxid_seconds": "Age of the oldest multi-transaction ID that has been replaced.",
        },
    ),
)
WAL: Final = Statement(
    "SELECT count(*)::float8, sum(size)::float8 FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'",
    gauges("pg_wal", (), {"segments": "Number of WAL segments", "size_bytes": "Total size of WAL segments"}),
)
DATABASE_LIMITS: Final = Statement(
    "SELECT datname::text, datconnlimit::float8 FROM pg_database LIMIT 1000",
    gauges("pg_database", DATABASE, {"connection_limit": "Connection limit set for the database"}),
)
DATABASE_SIZES: Final = Statement(  # without either right the whole query would fail
    """SELECT datname::text, CASE WHEN has_database_privilege(oid, 'CONNECT')
        OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(oid) END::float8
    FROM pg_database LIMIT 1000""",
    gauges("pg_database", DATABASE, {"size_bytes": "Disk space used by the database"}),
)

SERVER: Final = (
    Part("roles", (ROLES,)),
    Part("stat_archiver", ARCHIVER),
    Part("stat_bgwriter", (WRITER_CLEAN, WRITER_CHECKPOINTS)),
    Part("stat_checkpointer", (CHECKPOINTER,)),
    Part("stat_database", (BACKENDS, DATABASES, ACTIVE_TIME)),
    Part("stat_database_conflicts", (CONFLICTS, SLOT_CONFLICTS)),
    Part("database_wraparound", (WRAPAROUND,), default=False),
    Part("wal", (WAL,)),
    Part("database", (DATABASE_LIMITS, DATABASE_SIZES)),
)
