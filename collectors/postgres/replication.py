"""Replicas, the slots that keep WAL for them, and how far behind they are."""

from __future__ import annotations

from typing import Final

from agent.model import unknown
from collectors.postgres.statements import Part, Statement, gauges

_SLOT: Final = ("slot_name", "slot_type")
_BOTH: Final = ("pg_replication_slot", "pg_replication_slots")  # postgres_exporter's names until 0.19, and since 0.20
_STANDBY: Final = ("application_name", "client_addr", "state", "slot_name")
_HERE: Final = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END"

LAG: Final = Statement(
    """SELECT lag, lag, replica, replayed FROM (SELECT
        CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END::float8 AS lag,
        pg_is_in_recovery()::int::float8 AS replica,
        greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp()))::float8 AS replayed) r""",
    (
        *gauges("pg_replication", (), {"lag": "Replication lag behind master in seconds (the older name)"}),
        *gauges(
            "pg_replication",
            (),
            {
                "lag_seconds": "Replication lag behind master in seconds",
                "is_replica": "Indicates if the server is a replica",
                "last_replay_seconds": "Age of last replay in seconds",
            },
        ),
    ),
)
STANDBYS: Final = Statement(  # two standbys may share all their labels; the one further behind counts
    f"""SELECT r.application_name, host(r.client_addr), r.state, s.slot_name::text,
        max(pg_wal_lsn_diff({_HERE}, '0/0'))::float8, max(pg_wal_lsn_diff({_HERE}, r.replay_lsn))::float8,
        floor(min(extract(epoch FROM r.reply_time)))::float8
    FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
    GROUP BY 1, 2, 3, 4 LIMIT 500""",  # noqa: S608  # of constants
    (
        *gauges(
            "pg_stat_replication",
            _STANDBY,
            {
                "pg_current_wal_lsn_bytes": "WAL position in bytes",
                "pg_wal_lsn_diff": "Lag in bytes between master and slave",
            },
        ),
        unknown("pg_stat_replication_reply_time", "Time of the last reply of a standby", "instance", *_STANDBY),
    ),
)
SLOTS: Final = Statement(
    f"""SELECT slot_name::text, database::text, active::int::float8, pg_wal_lsn_diff({_HERE}, restart_lsn)::float8
    FROM pg_replication_slots LIMIT 500""",  # noqa: S608  # of constants
    gauges(
        "pg_replication_slots",
        ("slot_name", "database"),
        {"active": "Flag indicating if the slot is active", "pg_wal_lsn_diff": "Replication lag in bytes"},
    ),
)
SLOT: Final = Statement(
    f"""SELECT slot_name, slot_type, here, flushed, held, here, flushed, held FROM (
        SELECT slot_name::text, slot_type, ({_HERE} - '0/0')::float8 AS here,
            CASE WHEN active THEN (coalesce(confirmed_flush_lsn, '0/0') - '0/0')::float8 END AS flushed,
            active::int::float8 AS held
        FROM pg_replication_slots LIMIT 500) s""",  # noqa: S608  # of constants
    tuple(
        family
        for prefix in _BOTH
        for family in gauges(
            prefix,
            _SLOT,
            {
                "slot_current_wal_lsn": "current wal lsn value",
                "slot_confirmed_flush_lsn": "last lsn confirmed flushed to the replication slot",
                "slot_is_active": "whether the replication slot is active or not",
            },
        )
    ),
)
SLOT_SAFETY: Final = Statement(
    """SELECT slot_name::text, slot_type, safe_wal_size::float8, safe_wal_size::float8
    FROM pg_replication_slots LIMIT 500""",
    tuple(
        family
        for prefix in _BOTH
        for family in gauges(
            prefix, _SLOT, {"safe_wal_size_bytes": "bytes that can be written to WAL before this slot may get lost"}
        )
    ),
    since=130000,
)
SLOT_STATUS: Final = Statement(
    """SELECT slot_name::text, slot_type, wal_status, 1::float8, 1::float8
    FROM pg_replication_slots WHERE wal_status IS NOT NULL LIMIT 500""",
    tuple(
        family
        for prefix in _BOTH
        for family in gauges(
            prefix, (*_SLOT, "wal_status"), {"wal_status": "availability of WAL files claimed by this slot"}
        )
    ),
    since=130000,
)
WAL_RECEIVER: Final = Statement(
    """SELECT sender_host, slot_name, status, extract(epoch FROM last_msg_send_time)::float8,
        extract(epoch FROM last_msg_receipt_time)::float8, extract(epoch FROM latest_end_time)::float8,
        received_tli::float8
    FROM pg_stat_wal_receiver""",
    gauges(
        "pg_stat_wal_receiver",
        ("upstream_host", "slot_name", "status"),
        {
            "last_msg_send_time": "Send time of last message received from origin WAL sender",
            "last_msg_receipt_time": "Receipt time of last message received from origin WAL sender",
            "latest_end_time": "Time of last write-ahead log location reported to origin WAL sender",
            "received_tli": "Timeline number of last write-ahead log location received and flushed to disk",
        },
    ),
)

REPLICATION: Final = (
    Part("replication", (LAG,)),
    Part("stat_replication", (STANDBYS,)),
    Part("replication_slot", (SLOTS, SLOT, SLOT_SAFETY, SLOT_STATUS)),
    Part("stat_wal_receiver", (WAL_RECEIVER,), default=False),
)
