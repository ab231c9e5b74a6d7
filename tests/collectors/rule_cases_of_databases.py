"""What `rule_cases` has, for the rules of Redis, PostgreSQL, pgbouncer and MySQL."""

from __future__ import annotations

from tests.collectors.rule_cases import Case

MASTER = "master_host=a master_port=6379"
POLICY = "redis_instance_info role=master maxmemory_policy="
DATNAME = "datid=5 datname=shop"
SLOT = "slot_name=s database=shop"
POOL = "database=shop user=ann"
SOURCE = "master_host=a channel_name=east"


def redis_memory(used: float, limit: float, policy: str) -> str:
    return f"""
        redis_memory_used_bytes {used}
        redis_memory_max_bytes {limit}
        {POLICY}{policy} 1"""


def connections(active: int, limit: int) -> str:
    return f"""
        pg_connections state=active {active}
        pg_connections state=idle 10
        pg_connections_limit {limit}"""


REDIS = {
    "RedisDown": Case("redis_up 0", "redis_up 1"),
    "RedisMemoryHigh": Case(
        redis_memory(95, 100, "noeviction"),
        f"""{redis_memory(50, 100, "noeviction")}

        {redis_memory(100, 100, "allkeys-lru")}

        {redis_memory(95, 0, "noeviction")}""",
    ),
    "RedisEvicting": Case("redis_evicted_keys_total 0..1000", "redis_evicted_keys_total 1000"),
    "RedisFragmentationHigh": Case(
        """
        redis_mem_fragmentation_ratio 2
        redis_memory_used_bytes 4e9""",
        """
        redis_mem_fragmentation_ratio 9
        redis_memory_used_bytes 1e6

        redis_mem_fragmentation_ratio 1.1
        redis_memory_used_bytes 4e9""",
    ),
    "RedisConnectionsHigh": Case(
        """
        redis_connected_clients 90
        redis_config_maxclients 100
        redis_max_clients 100""",
        """
        redis_connected_clients 2
        redis_max_clients 100

        redis_connected_clients 90
        redis_max_clients 0""",
    ),
    "RedisRejectedConnections": Case("redis_rejected_connections_total 0..60", "redis_rejected_connections_total 60"),
    "RedisSaveFailed": Case("redis_rdb_last_bgsave_status 0", "redis_rdb_last_bgsave_status 1"),
    "RedisAppendFailed": Case("redis_aof_last_write_status 0", "redis_aof_last_write_status 1"),
    "RedisRewriteFailed": Case("redis_aof_last_bgrewrite_status 0", "redis_aof_last_bgrewrite_status 1"),
    "RedisReplicationBroken": Case(
        f"""
        redis_master_link_up {MASTER} 0
        redis_master_sync_in_progress {MASTER} 0""",
        f"""
        redis_master_link_up {MASTER} 0
        redis_master_sync_in_progress {MASTER} 1

        redis_master_link_up {MASTER} 1
        redis_master_sync_in_progress {MASTER} 0""",
    ),
    "RedisReplicaLag": Case(
        "redis_connected_slave_lag_seconds slave_ip=192.0.2.1 slave_port=6379 slave_state=online 40",
        "redis_connected_slave_lag_seconds slave_ip=192.0.2.1 slave_port=6379 slave_state=online 1",
    ),
    "RedisClusterDown": Case("redis_cluster_state 0", "redis_cluster_state 1"),
    "RedisClusterSlotsFailed": Case("redis_cluster_slots_fail 100", "redis_cluster_slots_fail 0"),
    "RedisSentinelMasterDown": Case(
        "redis_sentinel_master_status master_name=m master_address=a:1 master_status=odown 0",
        "redis_sentinel_master_status master_name=m master_address=a:1 master_status=ok 1",
    ),
    "RedisSentinelNoQuorum": Case(
        "redis_sentinel_master_ckquorum_status master_name=m message=NOQUORUM 0",
        "redis_sentinel_master_ckquorum_status master_name=m message=OK 1",
    ),
}
POSTGRES = {
    "PostgresDown": Case("pg_up 0", "pg_up 1"),
    "PostgresConnectionsHigh": Case(connections(75, 97), connections(20, 97)),
    "PostgresConnectionsCritical": Case(connections(85, 97), connections(75, 97)),
    "PostgresFsyncOff": Case("pg_settings_fsync 0", "pg_settings_fsync 1"),
    "PostgresAutovacuumOff": Case("pg_settings_autovacuum 0", "pg_settings_autovacuum 1"),
    "PostgresArchiveFailing": Case("pg_stat_archiver_failed_count 0..60", "pg_stat_archiver_failed_count 60"),
    "PostgresIdleInTransaction": Case(
        "pg_connections_oldest_idle_in_transaction_seconds 700", "pg_connections_oldest_idle_in_transaction_seconds 1"
    ),
    "PostgresLongTransaction": Case(
        "pg_connections_oldest_transaction_seconds 20000", "pg_connections_oldest_transaction_seconds 7200"
    ),
    "PostgresLockQueue": Case("pg_connections_waiting_for_lock 9", "pg_connections_waiting_for_lock 2"),
    "PostgresDeadlocks": Case(
        f"pg_stat_database_deadlocks {DATNAME} 0..600",
        f"""
        pg_stat_database_deadlocks {DATNAME} 0..3

        pg_stat_database_deadlocks {DATNAME} 600""",
    ),
    "PostgresRollbacks": Case(
        f"""
        pg_stat_database_xact_rollback {DATNAME} 0..20000
        pg_stat_database_xact_commit {DATNAME} 0..20000""",
        f"""
        pg_stat_database_xact_rollback {DATNAME} 0..20000
        pg_stat_database_xact_commit {DATNAME} 0..90000

        pg_stat_database_xact_rollback {DATNAME} 0..20
        pg_stat_database_xact_commit {DATNAME} 0""",
    ),
    "PostgresTransactionIdsLow": Case(
        "pg_database_wraparound_age_datminmxid_seconds datname=shop 1.2e9",
        "pg_database_wraparound_age_datfrozenxid_seconds datname=shop 2e8",
    ),
    "PostgresTransactionIdWraparound": Case(
        "pg_database_wraparound_age_datfrozenxid_seconds datname=shop 1.9e9",
        "pg_database_wraparound_age_datfrozenxid_seconds datname=shop 1.2e9",
    ),
    "PostgresReplicationLag": Case(
        "pg_replication_lag_seconds 120",
        """
        pg_replication_lag_seconds 0

        pg_replication_lag_seconds 3605
        pg_settings_recovery_min_apply_delay_seconds 3600""",
    ),
    "PostgresStandbyFarBehind": Case(
        "pg_stat_replication_pg_wal_lsn_diff application_name=b client_addr=192.0.2.1 state=streaming 2e9",
        "pg_stat_replication_pg_wal_lsn_diff application_name=b client_addr=192.0.2.1 state=streaming 2e6",
    ),
    "PostgresReplicationSlotInactive": Case(
        f"""
        pg_replication_slots_pg_wal_lsn_diff {SLOT} 2e9
        pg_replication_slots_active {SLOT} 0""",
        f"""
        pg_replication_slots_pg_wal_lsn_diff {SLOT} 100
        pg_replication_slots_active {SLOT} 0

        pg_replication_slots_pg_wal_lsn_diff {SLOT} 2e9
        pg_replication_slots_active {SLOT} 1""",
    ),
    "PostgresReplicationSlotLost": Case(
        "pg_replication_slot_wal_status slot_name=s slot_type=physical wal_status=lost 1",
        "pg_replication_slot_wal_status slot_name=s slot_type=physical wal_status=reserved 1",
    ),
}
PGBOUNCER = {
    "PgbouncerDown": Case("pgbouncer_up 0", "pgbouncer_up 1"),
    "PgbouncerClientsWaiting": Case(
        f"pgbouncer_pools_client_waiting_connections {POOL} 30", f"pgbouncer_pools_client_waiting_connections {POOL} 2"
    ),
    "PgbouncerWaitLong": Case(
        f"pgbouncer_pools_client_maxwait_seconds {POOL} 20", f"pgbouncer_pools_client_maxwait_seconds {POOL} 0"
    ),
    "PgbouncerConnectionsHigh": Case(
        """
        pgbouncer_used_clients 90
        pgbouncer_config_max_client_connections 100""",
        """
        pgbouncer_used_clients 1
        pgbouncer_config_max_client_connections 100

        pgbouncer_used_clients 1
        pgbouncer_config_max_client_connections 0""",
    ),
    "PgbouncerDatabasePaused": Case(
        "pgbouncer_databases_paused name=shop database=shop 1", "pgbouncer_databases_paused name=shop database=shop 0"
    ),
}
MYSQL = {
    "MySQLDown": Case("mysql_up 0", "mysql_up 1"),
    "MySQLConnectionsHigh": Case(
        """
        mysql_global_status_threads_connected 140
        mysql_global_variables_max_connections 151""",
        """
        mysql_global_status_threads_connected 2
        mysql_global_variables_max_connections 151""",
    ),
    "MySQLConnectionsRefused": Case(
        "mysql_global_status_connection_errors_total error=max_connections 0..60",
        """
        mysql_global_status_connection_errors_total error=max_connections 60
        mysql_global_status_connection_errors_total error=peer_address 0..60""",
    ),
    "MySQLOpenFilesHigh": Case(
        """
        mysql_global_status_open_files 900
        mysql_global_variables_open_files_limit 1000""",
        """
        mysql_global_status_open_files 20
        mysql_global_variables_open_files_limit 32000

        mysql_global_status_open_files 20
        mysql_global_variables_open_files_limit 0""",
    ),
    "MySQLRowLockQueue": Case(
        "mysql_global_status_innodb_row_lock_current_waits 20", "mysql_global_status_innodb_row_lock_current_waits 0"
    ),
    "MySQLReplicationReceiverStopped": Case(
        f"mysql_slave_status_slave_io_running {SOURCE} 0",
        f"""
        mysql_slave_status_slave_io_running {SOURCE} 1

        mysql_slave_status_replica_io_running {SOURCE} 1""",
    ),
    "MySQLReplicationBroken": Case(
        f"mysql_slave_status_replica_sql_running {SOURCE} 0", f"mysql_slave_status_replica_sql_running {SOURCE} 1"
    ),
    "MySQLReplicationLag": Case(
        f"mysql_slave_status_seconds_behind_source {SOURCE} 90",
        f"""
        mysql_slave_status_seconds_behind_master {SOURCE} 0
        mysql_slave_status_sql_delay {SOURCE} 0

        mysql_slave_status_seconds_behind_master {SOURCE} 3610
        mysql_slave_status_sql_delay {SOURCE} 3600""",
    ),
    "MySQLGaleraNotReady": Case(
        """
        mysql_global_status_wsrep_ready 0
        mysql_global_variables_wsrep_on 1""",
        """
        mysql_global_status_wsrep_ready 0
        mysql_global_variables_wsrep_on 0""",
    ),
    "MySQLGaleraNotSynced": Case(
        """
        mysql_global_status_wsrep_local_state 2
        mysql_global_variables_wsrep_on 1""",
        """
        mysql_global_status_wsrep_local_state 4
        mysql_global_variables_wsrep_on 1

        mysql_global_status_wsrep_local_state 0
        mysql_global_variables_wsrep_on 0""",
    ),
}
