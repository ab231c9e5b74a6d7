"""Made-up data for the alerts of the published rule files: what makes each fire, and what clears it.

A case is a rule file, an alert, and series with what they hold in one phase after the other: a number stays,
`Per(step)` goes on from the last value by that step a look. On the first of two hosts all phases come to pass, on the
second the last alone; in the last phase all is well, so that the second host never fires.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PHASE: Final = 75  # looks, a minute apart: longer than any `for` of these files


class Per(NamedTuple):
    """A value that goes on by a step each look."""

    step: float
    start: float = 0.0  # where it begins, if it does


Phases = tuple[float | Per, ...]


class Case(NamedTuple):
    """What an alert is judged on."""

    file: str
    alert: str
    series: dict[str, float | Phases]
    looks: int = PHASE  # of each phase
    fires: bool = True
    step: int = 60  # seconds from one look, and sample, to the next


DISK: Final = '{device="sda1",fstype="ext4",mountpoint="/srv"}'
READ_ONLY: Final = f"node_filesystem_readonly{DISK}"
AVAIL: Final = f"node_filesystem_avail_bytes{DISK}"
SIZE: Final = f"node_filesystem_size_bytes{DISK}"
FREE: Final = f"node_filesystem_files_free{DISK}"
FILES: Final = f"node_filesystem_files{DISK}"
DB: Final = '{datname="shop",server="db:5432"}'
SERVER: Final = '{server="db:5432"}'
LIMITS: Final = {
    f"pg_settings_max_connections{SERVER}": 100.0,
    f"pg_settings_superuser_reserved_connections{SERVER}": 3.0,
}

NODE: Final = [
    Case("node", "NodeFilesystemSpaceFillingUp", {AVAIL: (Per(-0.2, 18), 90), SIZE: 100, READ_ONLY: 0}),
    Case("node", "NodeFilesystemSpaceFillingUp", {AVAIL: (Per(-0.05, 39), 90), SIZE: 100, READ_ONLY: 0}),
    Case("node", "NodeFilesystemSpaceFillingUp", {AVAIL: Per(-0.2, 60), SIZE: 100, READ_ONLY: (0, 1)}, 240),
    Case("node", "NodeFilesystemAlmostOutOfSpace", {AVAIL: (2, 4, 50), SIZE: 100, READ_ONLY: 0}),
    Case("node", "NodeFilesystemAlmostOutOfSpace", {AVAIL: 2, SIZE: 100, READ_ONLY: (0, 1)}),
    Case("node", "NodeFilesystemFilesFillingUp", {FREE: (Per(-0.2, 18), 90), FILES: 100, READ_ONLY: 0}),
    Case("node", "NodeFilesystemFilesFillingUp", {FREE: (Per(-0.05, 39), 90), FILES: 100, READ_ONLY: 0}),
    Case("node", "NodeFilesystemAlmostOutOfFiles", {FREE: (2, 4, 50), FILES: 100, READ_ONLY: 0}),
    Case("node", "NodeNetworkReceiveErrs", {
        'node_network_receive_errs_total{device="eth0"}': (Per(7), Per(0.1)),
        'node_network_receive_packets_total{device="eth0"}': Per(600),
    }),
    Case("node", "NodeNetworkTransmitErrs", {
        'node_network_transmit_errs_total{device="eth0"}': (Per(30), Per(0)),
        'node_network_transmit_packets_total{device="eth0"}': (Per(600), Per(900)),
    }),
    Case("node", "NodeHighNumberConntrackEntriesUsed", {
        "node_nf_conntrack_entries": (80, 75), "node_nf_conntrack_entries_limit": 100}, 5),
    Case("node", "NodeTextFileCollectorScrapeError", {"node_textfile_scrape_error": (1, 0)}, 5),
    Case("node", "NodeClockSkewDetected", {"node_timex_offset_seconds": (Per(0.01, 0.06), 0.01)}, 20),
    Case("node", "NodeClockSkewDetected", {"node_timex_offset_seconds": (Per(-0.01, -0.06), -0.01)}, 20),
    Case("node", "NodeClockSkewDetected", {"node_timex_offset_seconds": (2, Per(-0.001, 0.04))}, 20),
    Case("node", "NodeClockNotSynchronising", {
        "node_timex_sync_status": (0, 1), "node_timex_maxerror_seconds": 16}, 20),
    Case("node", "NodeClockNotSynchronising", {
        "node_timex_sync_status": 0, "node_timex_maxerror_seconds": (17, 15)}, 20),
    Case("node", "NodeRAIDDegraded", {
        'node_md_disks_required{device="md0"}': 2, 'node_md_disks{state="active",device="md0"}': (1, 2),
        'node_md_disks{state="failed",device="md0"}': 0}, 25),
    Case("node", "NodeRAIDDiskFailure", {'node_md_disks{state="failed",device="md0"}': (1, 0)}, 5),
    Case("node", "NodeFileDescriptorLimit", {"node_filefd_allocated": (95, 80, 10), "node_filefd_maximum": 100}, 25),
    Case("node", "NodeCPUHighUsage", {
        'node_cpu_seconds_total{cpu="0",mode="user"}': (Per(50), Per(5)),
        'node_cpu_seconds_total{cpu="0",mode="system"}': (Per(8), Per(1)),
        'node_cpu_seconds_total{cpu="0",mode="idle"}': (Per(2), Per(54)),
        'node_cpu_seconds_total{cpu="1",mode="user"}': (Per(50), Per(5)),
        'node_cpu_seconds_total{cpu="1",mode="system"}': (Per(9), Per(1)),
        'node_cpu_seconds_total{cpu="1",mode="idle"}': (Per(1), Per(54)),
    }, 25),
    Case("node", "NodeSystemSaturation", {
        "node_load1": (4.5, 1), 'node_cpu_seconds_total{cpu="0",mode="idle"}': Per(50),
        'node_cpu_seconds_total{cpu="1",mode="idle"}': Per(50)}, 25),
    Case("node", "NodeMemoryMajorPagesFaults", {"node_vmstat_pgmajfault": (Per(31000), Per(60))}, 30),
    Case("node", "NodeMemoryHighUtilization", {
        "node_memory_MemAvailable_bytes": (500, 6000), "node_memory_MemTotal_bytes": 8000}, 25),
    Case("node", "NodeDiskIOSaturation", {
        'node_disk_io_time_weighted_seconds_total{device="sda"}': (Per(700), Per(60))}, 45),
    Case("node", "NodeSystemdServiceFailed", {
        'node_systemd_unit_state{name="shop.service",state="failed"}': (1, 0)}, 15),
    Case("node", "NodeSystemdServiceCrashlooping", {
        'node_systemd_service_restart_total{name="shop.service"}': (Per(1), Per(0))}, 30),
    Case("node", "NodeBondingDegraded", {
        'node_bonding_slaves{master="bond0"}': 2, 'node_bonding_active{master="bond0"}': (1, 2)}, 15),
]  # fmt: skip

POSTGRES: Final = [
    Case("postgres", "PostgreSQLMaxConnectionsReached", {
        f"pg_stat_activity_count{DB}": (97, 50), **LIMITS}, 10),
    Case("postgres", "PostgreSQLHighConnections", {f"pg_stat_activity_count{DB}": (80, 50), **LIMITS}, 20),
    Case("postgres", "PostgreSQLDown", {f"pg_up{SERVER}": (0, 1)}, 10),
    Case("postgres", "PostgreSQLSlowQueries", {
        f"pg_stat_activity_max_tx_duration{DB}": (Per(9000), Per(60))}, 10),
    Case("postgres", "PostgreSQLQPS", {
        f"pg_stat_database_xact_commit{DB}": (Per(590_000), Per(600)),
        f"pg_stat_database_xact_rollback{DB}": (Per(60_000), Per(600))}, 15),
    Case("postgres", "PostgreSQLCacheHitRatio", {
        f"pg_stat_database_blks_hit{DB}": (Per(900), Per(999)), f"pg_stat_database_blks_read{DB}": (Per(100), Per(1))},
        15),
    Case("postgres", "PostgresHasTooManyRollbacks", {
        f"pg_stat_database_xact_commit{DB}": (Per(80), Per(99)),
        f"pg_stat_database_xact_rollback{DB}": (Per(20), Per(1))}, 15),
    Case("postgres", "PostgresHasHighDeadLocks", {f"pg_stat_database_deadlocks{DB}": (Per(6), Per(1))}, 15),
    Case("postgres", "PostgresAcquiredTooManyLocks", {
        f"pg_locks_count{DB}": (2000, 10), f"pg_settings_max_locks_per_transaction{SERVER}": 64, **LIMITS}, 15),
    Case("postgres", "PostgresReplicationLaggingMore1Hour", {
        f"pg_replication_lag{SERVER}": (Per(60, 3600), 1), f"pg_replication_is_replica{SERVER}": 1}, 15),
    Case("postgres", "PostgresHasReplicationSlotUsed", {
        'pg_replication_slots_active{slot_name="standby",server="db:5432"}': (0, 1)}, 45),
    Case("postgres", "PostgresReplicationRoleChanged", {f"pg_replication_is_replica{SERVER}": (0, 1, 1)}, 6, step=15),
    Case("postgres", "PostgresHasExporterErrors", {f"pg_exporter_last_scrape_error{SERVER}": (1, 0)}, 45),
    Case("postgres", "PostgresTablesNotVaccumed", {  # asks how old an expression is, which is never old
        f"pg_stat_user_tables_n_dead_tup{DB}": (9000, 1), f"pg_stat_user_tables_n_live_tup{DB}": 100,
        f"pg_settings_autovacuum_vacuum_scale_factor{SERVER}": 0.2,
        f"pg_settings_autovacuum_vacuum_threshold{SERVER}": 50}, 45, False),
    Case("postgres", "PostgresTooManyCheckpointsRequested", {
        f"pg_stat_bgwriter_checkpoints_timed_total{SERVER}": (Per(1), Per(2)),
        f"pg_stat_bgwriter_checkpoints_req_total{SERVER}": (Per(3), Per(0))}, 15),
]  # fmt: skip

REDIS: Final = [
    Case("redis", "RedisDown", {"redis_up": (0, 1)}, 15),
    Case("redis", "RedisOutOfMemory", {
        "redis_memory_used_bytes": (7.3e9, 2e9), "redis_total_system_memory_bytes": 8e9,
        "redis_memory_used_rss_bytes": 7.5e9}, 15),
    Case("redis", "RedisTooManyConnections", {"redis_connected_clients": (101, 100)}, 15),
    Case("redis", "RedisClusterSlotFail", {"redis_cluster_slots_fail": (16, 0)}, 15),
    Case("redis", "RedisClusterSlotPfail", {"redis_cluster_slots_pfail": (1.5, 0)}, 15),
    Case("redis", "RedisClusterStateNotOk", {"redis_cluster_state": (0, 1)}, 15),
]  # fmt: skip

MYSQL: Final = [
    Case("mysql", "MySQLDown", {"mysql_up": (0, 1)}, 15),
    Case("mysql", "MySQLGaleraNotReady", {"mysql_global_status_wsrep_ready": (0, 1)}, 15),
    Case("mysql", "MySQLGaleraOutOfSync", {
        "mysql_global_status_wsrep_local_state": (2, 4), "mysql_global_variables_wsrep_desync": 0}, 15),
    Case("mysql", "MySQLGaleraDonorFallingBehind", {
        "mysql_global_status_wsrep_local_state": 2, "mysql_global_status_wsrep_local_recv_queue": (500, 3)}, 15),
    Case("mysql", "MySQLReplicationNotRunning", {
        "mysql_slave_status_slave_io_running": (1, 0, 1), "mysql_slave_status_slave_sql_running": (0, 1, 1)}, 10),
    Case("mysql", "MySQLReplicationLag", {
        "mysql_slave_status_seconds_behind_master": (Per(10, 20), 0), "mysql_slave_status_sql_delay": 0}, 15),
    Case("mysql", "MySQLHeartbeatLag", {
        "mysql_heartbeat_now_timestamp_seconds": (Per(70), Per(60, 90)),
        "mysql_heartbeat_stored_timestamp_seconds": (Per(60), Per(60, 88))}, 15),
    Case("mysql", "MySQLInnoDBLogWaits", {"mysql_global_status_innodb_log_waits": (Per(700), Per(60))}, 30),
]  # fmt: skip

CASES: Final = [*NODE, *POSTGRES, *REDIS, *MYSQL]
