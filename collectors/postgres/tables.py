"""The tables of the database that we are connected to: the thousand largest.

Sizes need a lock that somebody's exclusive one keeps from us, so a table that is locked, or about to be, has none.
"""

from __future__ import annotations

from typing import Final

from collectors.postgres.statements import TABLE, Part, Statement, counters, gauges

_NAMES: Final = "current_database()::text, s.schemaname::text, s.relname::text"
_LARGEST: Final = "JOIN pg_class c ON c.oid = s.relid ORDER BY c.relpages DESC, s.relid LIMIT 1000"
_PHASES: Final = (
    *("initializing", "scanning heap", "vacuuming indexes", "vacuuming heap", "cleaning up indexes"),
    *("truncating heap", "performing final cleanup"),
)
_VACUUMS: Final = """(SELECT DISTINCT ON (1, 2) d.datname::text,
        regexp_replace(p.relid::regclass::text, '^public[.]', '') AS relname,
        p.param1, p.param2, p.param3, p.param4, p.param5, p.param6, p.param7
    FROM pg_stat_get_progress_info('VACUUM') AS p LEFT JOIN pg_database d ON d.oid = p.datid
    ORDER BY 1, 2 LIMIT 500) v"""

COUNTS: Final = Statement(
    f"""SELECT {_NAMES}, s.seq_scan::float8, s.seq_tup_read::float8, coalesce(s.idx_scan, 0)::float8,
        coalesce(s.idx_tup_fetch, 0)::float8, s.n_tup_ins::float8, s.n_tup_upd::float8, s.n_tup_del::float8,
        s.n_tup_hot_upd::float8, s.vacuum_count::float8, s.autovacuum_count::float8, s.analyze_count::float8,
        s.autoanalyze_count::float8
    FROM pg_stat_user_tables s {_LARGEST}""",  # noqa: S608  # of constants
    counters(
        "pg_stat_user_tables",
        TABLE,
        {
            "seq_scan": "Number of sequential scans initiated on this table",
            "seq_tup_read": "Number of live rows fetched by sequential scans",
            "idx_scan": "Number of index scans initiated on this table",
            "idx_tup_fetch": "Number of live rows fetched by index scans",
            "n_tup_ins": "Number of rows inserted",
            "n_tup_upd": "Number of rows updated",
            "n_tup_del": "Number of rows deleted",
            "n_tup_hot_upd": "Number of rows HOT updated (i.e., with no separate index update required)",
            "vacuum_count": "Number of times this table has been manually vacuumed (not counting VACUUM FULL)",
            "autovacuum_count": "Number of times this table has been vacuumed by the autovacuum daemon",
            "analyze_count": "Number of times this table has been manually analyzed",
            "autoanalyze_count": "Number of times this table has been analyzed by the autovacuum daemon",
        },
    ),
)
STATES: Final = Statement(
    f"""SELECT {_NAMES}, s.n_live_tup::float8, s.n_dead_tup::float8, s.n_mod_since_analyze::float8,
        coalesce(floor(extract(epoch FROM s.last_vacuum)), 0)::float8,
        coalesce(floor(extract(epoch FROM s.last_autovacuum)), 0)::float8,
        coalesce(floor(extract(epoch FROM s.last_analyze)), 0)::float8,
        coalesce(floor(extract(epoch FROM s.last_autoanalyze)), 0)::float8
    FROM pg_stat_user_tables s {_LARGEST}""",  # noqa: S608  # of constants
    gauges(
        "pg_stat_user_tables",
        TABLE,
        {
            "n_live_tup": "Estimated number of live rows",
            "n_dead_tup": "Estimated number of dead rows",
            "n_mod_since_analyze": "Estimated number of rows changed since last analyze",
            "last_vacuum": "Last time at which this table was manually vacuumed (not counting VACUUM FULL)",
            "last_autovacuum": "Last time at which this table was vacuumed by the autovacuum daemon",
            "last_analyze": "Last time at which this table was manually analyzed",
            "last_autoanalyze": "Last time at which this table was analyzed by the autovacuum daemon",
        },
    ),
)
SIZES: Final = Statement(
    f"""WITH locked AS MATERIALIZED (SELECT relation FROM pg_locks WHERE locktype = 'relation'
        AND mode = 'AccessExclusiveLock'),
    found AS MATERIALIZED (SELECT s.relid, s.schemaname, s.relname FROM pg_stat_user_tables s {_LARGEST}),
    free AS MATERIALIZED (SELECT s.* FROM found s WHERE s.relid NOT IN (SELECT relation FROM locked)
        AND NOT EXISTS (SELECT FROM pg_index i JOIN locked l ON l.relation = i.indexrelid WHERE i.indrelid = s.relid)
        AND NOT EXISTS (SELECT FROM pg_class c JOIN locked l ON l.relation = c.reltoastrelid WHERE c.oid = s.relid))
    SELECT {_NAMES}, pg_indexes_size(s.relid)::float8, pg_table_size(s.relid)::float8 FROM free s""",  # noqa: S608
    gauges(
        "pg_stat_user_tables",
        TABLE,
        {
            "index_size_bytes": "Total disk space used by this index, in bytes",
            "table_size_bytes": "Total disk space used by this table, in bytes",
        },
    ),
)
BLOCKS: Final = Statement(
    f"""SELECT {_NAMES}, coalesce(s.heap_blks_read, 0)::float8, coalesce(s.heap_blks_hit, 0)::float8,
        coalesce(s.idx_blks_read, 0)::float8, coalesce(s.idx_blks_hit, 0)::float8,
        coalesce(s.toast_blks_read, 0)::float8, coalesce(s.toast_blks_hit, 0)::float8,
        coalesce(s.tidx_blks_read, 0)::float8, coalesce(s.tidx_blks_hit, 0)::float8
    FROM pg_statio_user_tables s {_LARGEST}""",  # noqa: S608  # of constants
    counters(
        "pg_statio_user_tables",
        TABLE,
        {
            "heap_blocks_read": "Number of disk blocks read from this table",
            "heap_blocks_hit": "Number of buffer hits in this table",
            "idx_blocks_read": "Number of disk blocks read from all indexes on this table",
            "idx_blocks_hit": "Number of buffer hits in all indexes on this table",
            "toast_blocks_read": "Number of disk blocks read from this table's TOAST table (if any)",
            "toast_blocks_hit": "Number of buffer hits in this table's TOAST table (if any)",
            "tidx_blocks_read": "Number of disk blocks read from this table's TOAST table indexes (if any)",
            "tidx_blocks_hit": "Number of buffer hits in this table's TOAST table indexes (if any)",
        },
    ),
)
VACUUM_PHASE: Final = Statement(
    f"""SELECT v.datname, v.relname, f.phase, (f.number = v.param1 + 1)::int::float8 FROM {_VACUUMS}
    CROSS JOIN unnest(ARRAY{list(_PHASES)}) WITH ORDINALITY AS f(phase, number)""",  # noqa: S608  # of constants
    gauges(
        "pg_stat_progress_vacuum",
        ("datname", "relname", "phase"),
        {"phase": "Current vacuum phase (1 = active, 0 = inactive). Label 'phase' is human-readable."},
    ),
)
VACUUM: Final = Statement(
    f"""SELECT v.datname, v.relname, v.param2::float8, v.param3::float8, v.param4::float8, v.param5::float8,
        v.param6::float8, v.param7::float8
    FROM {_VACUUMS}""",  # noqa: S608  # of constants
    gauges(
        "pg_stat_progress_vacuum",
        ("datname", "relname"),
        {
            "heap_blks": "Total number of heap blocks in the table being vacuumed.",
            "heap_blks_scanned": "Number of heap blocks scanned so far.",
            "heap_blks_vacuumed": "Number of heap blocks vacuumed so far.",
            "index_vacuums": "Number of completed index vacuum cycles.",
            "max_dead_tuples": "Maximum number of dead tuples that can be stored before cleanup is performed.",
            "num_dead_tuples": "Current number of dead tuples found so far.",
        },
    ),
)

TABLES: Final = (
    Part("stat_progress_vacuum", (VACUUM_PHASE, VACUUM)),
    Part("statio_user_tables", (BLOCKS,)),
    Part("stat_user_tables", (COUNTS, STATES, SIZES)),
)
