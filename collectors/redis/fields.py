"""The numbers of INFO: which field is which family. Totals stay totals; legacy names and types are redis_exporter's."""

from __future__ import annotations

from typing import Final

from agent.model import Family, counter, gauge

FIELDS: Final[dict[str, Family]] = {
    # Server
    "uptime_in_seconds": gauge("redis_uptime_in_seconds", "Seconds since the server started.", "instance"),
    "process_id": gauge("redis_process_id", "Process id of the server.", "instance"),
    "io_threads_active": gauge("redis_io_threads_active", "1 while I/O threads are at work.", "instance"),
    "hz": gauge("redis_hz", "How often a second the server does its background work now.", "instance"),
    "configured_hz": gauge("redis_configured_hz", "How often a second it is configured to.", "instance"),
    # Clients
    "connected_clients": gauge("redis_connected_clients", "Client connections, without those of replicas.", "instance"),
    "blocked_clients": gauge("redis_blocked_clients", "Clients waiting in a blocking call.", "instance"),
    "maxclients": gauge("redis_max_clients", "Most connections the server accepts.", "instance"),
    "tracking_clients": gauge("redis_tracking_clients", "Clients that track keys for client-side caching.", "instance"),
    "clients_in_timeout_table": gauge(
        "redis_clients_in_timeout_table", "Clients whose blocking call has a timeout.", "instance"
    ),
    "pubsub_clients": gauge("redis_pubsub_clients", "Clients in publish and subscribe mode.", "instance"),
    "watching_clients": gauge("redis_watching_clients", "Clients that watch keys.", "instance"),
    "total_watched_keys": gauge("redis_total_watched_keys", "Keys that are watched.", "instance"),
    "total_blocking_keys": gauge("redis_total_blocking_keys", "Keys that clients are blocked on.", "instance"),
    "total_blocking_keys_on_nokey": gauge(
        "redis_total_blocking_keys_on_nokey", "Keys that clients are blocked on until they are deleted.", "instance"
    ),
    "client_longest_output_list": gauge(
        "redis_client_longest_output_list", "Longest output list of a client (before Redis 5).", "instance"
    ),
    "client_biggest_input_buf": gauge(
        "redis_client_biggest_input_buf", "Biggest input buffer of a client (before Redis 5).", "instance"
    ),
    "client_recent_max_output_buffer": gauge(
        "redis_client_recent_max_output_buffer_bytes", "Biggest output buffer of a client of late.", "instance"
    ),
    "client_recent_max_input_buffer": gauge(
        "redis_client_recent_max_input_buffer_bytes", "Biggest input buffer of a client of late.", "instance"
    ),
    # Memory
    "allocator_active": gauge("redis_allocator_active_bytes", "Bytes in the allocator's active pages.", "instance"),
    "allocator_allocated": gauge(
        "redis_allocator_allocated_bytes", "Bytes allocated, as the allocator counts them.", "instance"
    ),
    "allocator_resident": gauge("redis_allocator_resident_bytes", "Bytes the allocator holds resident.", "instance"),
    "allocator_frag_ratio": gauge("redis_allocator_frag_ratio", "Active to allocated memory.", "instance"),
    "allocator_frag_bytes": gauge("redis_allocator_frag_bytes", "Active less allocated memory.", "instance"),
    "allocator_muzzy": gauge(
        "redis_allocator_muzzy_bytes", "Bytes given back to the system that it has not taken yet.", "instance"
    ),
    "allocator_rss_ratio": gauge("redis_allocator_rss_ratio", "Resident to active memory.", "instance"),
    "allocator_rss_bytes": gauge("redis_allocator_rss_bytes", "Resident less active memory.", "instance"),
    "used_memory": gauge("redis_memory_used_bytes", "Bytes allocated by the server.", "instance"),
    "used_memory_rss": gauge("redis_memory_used_rss_bytes", "Resident memory of the process.", "instance"),
    "used_memory_peak": gauge("redis_memory_used_peak_bytes", "Most bytes ever allocated.", "instance"),
    "used_memory_lua": gauge(
        "redis_memory_used_lua_bytes", "Bytes of the Lua engine (before Redis 7: all of it).", "instance"
    ),
    "used_memory_vm_eval": gauge("redis_memory_used_vm_eval_bytes", "Bytes of the engine that runs EVAL.", "instance"),
    "used_memory_scripts_eval": gauge(
        "redis_memory_used_scripts_eval_bytes", "Bytes that cached EVAL scripts take.", "instance"
    ),
    "used_memory_overhead": gauge(
        "redis_memory_used_overhead_bytes", "Bytes that are not data: buffers, tables and the like.", "instance"
    ),
    "used_memory_startup": gauge("redis_memory_used_startup_bytes", "Bytes allocated at the start.", "instance"),
    "used_memory_dataset": gauge(
        "redis_memory_used_dataset_bytes", "Bytes of data: allocated less overhead.", "instance"
    ),
    "number_of_cached_scripts": gauge("redis_number_of_cached_scripts", "Cached EVAL scripts.", "instance"),
    "number_of_functions": gauge("redis_number_of_functions", "Loaded functions.", "instance"),
    "number_of_libraries": gauge("redis_number_of_libraries", "Loaded function libraries.", "instance"),
    "used_memory_vm_functions": gauge(
        "redis_memory_used_vm_functions_bytes", "Bytes of the engine that runs functions.", "instance"
    ),
    "used_memory_scripts": gauge(
        "redis_memory_used_scripts_bytes", "Bytes that scripts and functions take.", "instance"
    ),
    "used_memory_functions": gauge("redis_memory_used_functions_bytes", "Bytes that functions take.", "instance"),
    "used_memory_vm_total": gauge("redis_memory_used_vm_total", "Bytes of all script engines.", "instance"),
    "maxmemory": gauge("redis_memory_max_bytes", "Limit of memory; 0 for none.", "instance"),
    "maxmemory_reservation": gauge("redis_memory_max_reservation_bytes", "Memory reserved (Azure).", "instance"),
    "maxmemory_desired_reservation": gauge(
        "redis_memory_max_reservation_desired_bytes", "Memory that should be reserved (Azure).", "instance"
    ),
    "maxfragmentationmemory_reservation": gauge(
        "redis_memory_max_fragmentation_reservation_bytes", "Memory reserved for fragmentation (Azure).", "instance"
    ),
    "maxfragmentationmemory_desired_reservation": gauge(
        "redis_memory_max_fragmentation_reservation_desired_bytes",
        "Memory that should be reserved for fragmentation (Azure).",
        "instance",
    ),
    "mem_fragmentation_bytes": gauge("redis_mem_fragmentation_bytes", "Resident less allocated memory.", "instance"),
    "mem_clients_slaves": gauge("redis_mem_clients_slaves", "Bytes of the replicas' buffers.", "instance"),
    "mem_clients_normal": gauge("redis_mem_clients_normal", "Bytes of the clients' buffers.", "instance"),
    "mem_cluster_links": gauge(
        "redis_mem_cluster_links_bytes", "Bytes of the links between cluster nodes.", "instance"
    ),
    "mem_aof_buffer": gauge("redis_mem_aof_buffer_bytes", "Bytes of the buffers of the append-only file.", "instance"),
    "mem_replication_backlog": gauge(
        "redis_mem_replication_backlog_bytes", "Bytes of the replication backlog.", "instance"
    ),
    "expired_stale_perc": gauge(
        "redis_expired_stale_percentage", "Share of keys that have expired and are still there, in percent.", "instance"
    ),
    "mem_not_counted_for_evict": gauge(
        "redis_mem_not_counted_for_eviction_bytes", "Bytes that eviction does not count.", "instance"
    ),
    "mem_total_replication_buffers": gauge(
        "redis_mem_total_replication_buffers_bytes", "Bytes of all replication buffers.", "instance"
    ),
    "mem_overhead_db_hashtable_rehashing": gauge(
        "redis_mem_overhead_db_hashtable_rehashing_bytes", "Bytes that rehashing takes for a while.", "instance"
    ),
    "lazyfree_pending_objects": gauge(
        "redis_lazyfree_pending_objects", "Objects waiting to be freed in the background.", "instance"
    ),
    "lazyfreed_objects": gauge("redis_lazyfreed_objects", "Objects freed in the background.", "instance"),
    "active_defrag_running": gauge(
        "redis_active_defrag_running", "CPU share that defragmentation aims at, 0 while it rests.", "instance"
    ),
    "migrate_cached_sockets": gauge("redis_migrate_cached_sockets_total", "Sockets kept open for MIGRATE.", "instance"),
    "active_defrag_hits": gauge("redis_defrag_hits", "Values moved by defragmentation.", "instance"),
    "active_defrag_misses": gauge("redis_defrag_misses", "Moves of values that defragmentation gave up.", "instance"),
    "active_defrag_key_hits": gauge("redis_defrag_key_hits", "Keys defragmented.", "instance"),
    "active_defrag_key_misses": gauge("redis_defrag_key_misses", "Keys passed over by defragmentation.", "instance"),
    "total_system_memory": gauge("redis_total_system_memory_bytes", "Memory of the server's host.", "instance"),
    # Persistence
    "loading": gauge("redis_loading_dump_file", "1 while the server loads its data.", "instance"),
    "async_loading": gauge("redis_async_loading", "1 while it loads data and serves the old.", "instance"),
    "rdb_changes_since_last_save": gauge(
        "redis_rdb_changes_since_last_save", "Changes since the last dump.", "instance"
    ),
    "rdb_bgsave_in_progress": gauge("redis_rdb_bgsave_in_progress", "1 while a dump is written.", "instance"),
    "rdb_last_save_time": gauge(
        "redis_rdb_last_save_timestamp_seconds", "When the last dump was written, Unix seconds.", "instance"
    ),
    "rdb_last_bgsave_status": gauge("redis_rdb_last_bgsave_status", "1 if the last dump succeeded.", "instance"),
    "rdb_last_bgsave_time_sec": gauge(
        "redis_rdb_last_bgsave_duration_sec", "Seconds the last dump took; -1 for none.", "instance"
    ),
    "rdb_current_bgsave_time_sec": gauge(
        "redis_rdb_current_bgsave_duration_sec", "Seconds the dump under way has taken; -1 for none.", "instance"
    ),
    "rdb_saves": gauge("redis_rdb_saves_total", "Dumps since the start.", "instance"),
    "rdb_last_cow_size": gauge(
        "redis_rdb_last_cow_size_bytes", "Bytes copied on write during the last dump.", "instance"
    ),
    "rdb_last_load_keys_expired": gauge(
        "redis_rdb_last_load_expired_keys", "Expired keys found when the dump was loaded.", "instance"
    ),
    "rdb_last_load_keys_loaded": gauge("redis_rdb_last_load_loaded_keys", "Keys loaded from the dump.", "instance"),
    "aof_enabled": gauge("redis_aof_enabled", "1 if the append-only file is on.", "instance"),
    "aof_rewrite_in_progress": gauge(
        "redis_aof_rewrite_in_progress", "1 while the append-only file is rewritten.", "instance"
    ),
    "aof_rewrite_scheduled": gauge(
        "redis_aof_rewrite_scheduled", "1 if a rewrite waits for the dump to end.", "instance"
    ),
    "aof_last_rewrite_time_sec": gauge(
        "redis_aof_last_rewrite_duration_sec", "Seconds the last rewrite took; -1 for none.", "instance"
    ),
    "aof_current_rewrite_time_sec": gauge(
        "redis_aof_current_rewrite_duration_sec", "Seconds the rewrite under way has taken; -1 for none.", "instance"
    ),
    "aof_last_cow_size": gauge(
        "redis_aof_last_cow_size_bytes", "Bytes copied on write during the last rewrite.", "instance"
    ),
    "aof_current_size": gauge("redis_aof_current_size_bytes", "Size of the append-only file.", "instance"),
    "aof_base_size": gauge("redis_aof_base_size_bytes", "Its size after the last rewrite.", "instance"),
    "aof_pending_rewrite": gauge("redis_aof_pending_rewrite", "1 if a rewrite is due.", "instance"),
    "aof_buffer_length": gauge("redis_aof_buffer_length", "Bytes waiting to be appended.", "instance"),
    "aof_rewrite_buffer_length": gauge(
        "redis_aof_rewrite_buffer_length", "Bytes waiting for the rewrite (before Redis 7).", "instance"
    ),
    "aof_pending_bio_fsync": gauge("redis_aof_pending_bio_fsync", "Background syncs that wait.", "instance"),
    "aof_delayed_fsync": gauge("redis_aof_delayed_fsync", "Syncs that were delayed.", "instance"),
    "aof_last_bgrewrite_status": gauge(
        "redis_aof_last_bgrewrite_status", "1 if the last rewrite succeeded.", "instance"
    ),
    "aof_last_write_status": gauge(
        "redis_aof_last_write_status", "1 if the last write to the append-only file succeeded.", "instance"
    ),
    "module_fork_in_progress": gauge(
        "redis_module_fork_in_progress", "1 while a module's child process runs.", "instance"
    ),
    "module_fork_last_cow_size": gauge(
        "redis_module_fork_last_cow_size", "Bytes copied on write during the last such process.", "instance"
    ),
    # Stats
    "total_connections_received": counter("redis_connections_received_total", "Connections accepted.", "instance"),
    "total_commands_processed": counter("redis_commands_processed_total", "Commands processed.", "instance"),
    "rejected_connections": counter(
        "redis_rejected_connections_total", "Connections rejected for want of room.", "instance"
    ),
    "total_net_input_bytes": counter("redis_net_input_bytes_total", "Bytes read from the network.", "instance"),
    "total_net_output_bytes": counter("redis_net_output_bytes_total", "Bytes written to the network.", "instance"),
    "total_net_repl_input_bytes": counter(
        "redis_net_repl_input_bytes_total", "Bytes read for replication.", "instance"
    ),
    "total_net_repl_output_bytes": counter(
        "redis_net_repl_output_bytes_total", "Bytes written for replication.", "instance"
    ),
    "expired_subkeys": counter("redis_expired_subkeys_total", "Hash fields that expired.", "instance"),
    "expired_keys": counter("redis_expired_keys_total", "Keys that expired.", "instance"),
    "expired_time_cap_reached_count": counter(
        "redis_expired_time_cap_reached_total", "How often expiry ran out of its time.", "instance"
    ),
    "expire_cycle_cpu_milliseconds": counter(
        "redis_expire_cycle_cpu_time_ms_total", "Milliseconds spent on expiry.", "instance"
    ),
    "evicted_keys": counter("redis_evicted_keys_total", "Keys evicted because memory was full.", "instance"),
    "evicted_clients": counter(
        "redis_evicted_clients_total", "Clients evicted because their memory was full.", "instance"
    ),
    "evicted_scripts": counter("redis_evicted_scripts_total", "Scripts evicted from the cache.", "instance"),
    "total_eviction_exceeded_time": counter(
        "redis_eviction_exceeded_time_ms_total", "Milliseconds above the memory limit.", "instance"
    ),
    "current_eviction_exceeded_time": gauge(
        "redis_current_eviction_exceeded_time_ms", "Milliseconds since memory went above its limit.", "instance"
    ),
    "keyspace_hits": counter("redis_keyspace_hits_total", "Lookups that found their key.", "instance"),
    "keyspace_misses": counter("redis_keyspace_misses_total", "Lookups that found none.", "instance"),
    "pubsub_channels": gauge("redis_pubsub_channels", "Channels with subscribers.", "instance"),
    "pubsub_patterns": gauge("redis_pubsub_patterns", "Patterns with subscribers.", "instance"),
    "pubsubshard_channels": gauge("redis_pubsubshard_channels", "Shard channels with subscribers.", "instance"),
    "latest_fork_usec": gauge("redis_latest_fork_seconds", "Seconds the last fork took.", "instance"),
    "sync_full": gauge("redis_replica_resyncs_full", "Full resynchronisations with replicas.", "instance"),
    "sync_partial_ok": gauge(
        "redis_replica_partial_resync_accepted", "Partial resynchronisations accepted.", "instance"
    ),
    "sync_partial_err": gauge("redis_replica_partial_resync_denied", "Partial resynchronisations denied.", "instance"),
    "slave_expires_tracked_keys": gauge(
        "redis_slave_expires_tracked_keys", "Keys a writable replica watches for expiry.", "instance"
    ),
    "tracking_total_keys": gauge("redis_tracking_total_keys", "Keys tracked for client-side caching.", "instance"),
    "tracking_total_items": gauge("redis_tracking_total_items", "Pairs of client and key tracked.", "instance"),
    "tracking_total_prefixes": gauge(
        "redis_tracking_total_prefixes", "Prefixes tracked in broadcast mode.", "instance"
    ),
    "unexpected_error_replies": counter(
        "redis_unexpected_error_replies", "Error replies that were not expected.", "instance"
    ),
    "total_error_replies": counter("redis_total_error_replies", "Error replies.", "instance"),
    "dump_payload_sanitizations": counter(
        "redis_dump_payload_sanitizations", "Deep checks of dump payloads.", "instance"
    ),
    "total_reads_processed": counter("redis_total_reads_processed", "Reads from clients.", "instance"),
    "total_writes_processed": counter("redis_total_writes_processed", "Writes to clients.", "instance"),
    "io_threaded_reads_processed": counter(
        "redis_io_threaded_reads_processed", "Reads done by I/O threads.", "instance"
    ),
    "io_threaded_writes_processed": counter(
        "redis_io_threaded_writes_processed", "Writes done by I/O threads.", "instance"
    ),
    "client_query_buffer_limit_disconnections": counter(
        "redis_client_query_buffer_limit_disconnections_total", "Clients cut off for their query buffer.", "instance"
    ),
    "client_output_buffer_limit_disconnections": counter(
        "redis_client_output_buffer_limit_disconnections_total", "Clients cut off for their output buffer.", "instance"
    ),
    "reply_buffer_shrinks": counter("redis_reply_buffer_shrinks_total", "Reply buffers made smaller.", "instance"),
    "reply_buffer_expands": counter("redis_reply_buffer_expands_total", "Reply buffers made bigger.", "instance"),
    "eventloop_cycles": counter("redis_eventloop_cycles_total", "Turns of the event loop.", "instance"),
    "eventloop_duration_sum": counter(
        "redis_eventloop_duration_sum_usec_total", "Microseconds spent in the event loop.", "instance"
    ),
    "eventloop_duration_cmd_sum": counter(
        "redis_eventloop_duration_cmd_sum_usec_total", "Microseconds spent on commands.", "instance"
    ),
    "instantaneous_eventloop_cycles_per_sec": gauge(
        "redis_instantaneous_eventloop_cycles_per_sec", "Turns of the event loop a second.", "instance"
    ),
    "instantaneous_eventloop_duration_usec": gauge(
        "redis_instantaneous_eventloop_duration_usec", "Microseconds a turn takes.", "instance"
    ),
    "acl_access_denied_auth": counter("redis_acl_access_denied_auth_total", "Failed logins.", "instance"),
    "acl_access_denied_cmd": counter(
        "redis_acl_access_denied_cmd_total", "Commands denied by access rules.", "instance"
    ),
    "acl_access_denied_key": counter("redis_acl_access_denied_key_total", "Keys denied by access rules.", "instance"),
    "acl_access_denied_channel": counter(
        "redis_acl_access_denied_channel_total", "Channels denied by access rules.", "instance"
    ),
    "used_active_time_main_thread": counter(
        "redis_active_time_main_thread_seconds_total", "Seconds the main thread was at work.", "instance"
    ),
    # Replication
    "connected_slaves": gauge("redis_connected_slaves", "Connected replicas.", "instance"),
    "repl_backlog_size": gauge("redis_replication_backlog_bytes", "Size of the replication backlog.", "instance"),
    "repl_backlog_active": gauge("redis_repl_backlog_is_active", "1 if there is a replication backlog.", "instance"),
    "repl_backlog_first_byte_offset": gauge(
        "redis_repl_backlog_first_byte_offset", "Offset of the backlog's first byte.", "instance"
    ),
    "repl_backlog_histlen": gauge("redis_repl_backlog_history_bytes", "Bytes of data in the backlog.", "instance"),
    "master_repl_offset": gauge("redis_master_repl_offset", "Replication offset of the master.", "instance"),
    "second_repl_offset": gauge(
        "redis_second_repl_offset", "Offset up to which the second replication id is good.", "instance"
    ),
    "slave_priority": gauge("redis_slave_priority", "Priority of a replica in a failover.", "instance"),
    # CPU
    "used_cpu_sys": counter("redis_cpu_sys_seconds_total", "System CPU time of the server.", "instance"),
    "used_cpu_user": counter("redis_cpu_user_seconds_total", "User CPU time of the server.", "instance"),
    "used_cpu_sys_children": counter(
        "redis_cpu_sys_children_seconds_total", "System CPU time of its child processes.", "instance"
    ),
    "used_cpu_user_children": counter(
        "redis_cpu_user_children_seconds_total", "User CPU time of its child processes.", "instance"
    ),
    "used_cpu_sys_main_thread": counter(
        "redis_cpu_sys_main_thread_seconds_total", "System CPU time of the main thread.", "instance"
    ),
    "used_cpu_user_main_thread": counter(
        "redis_cpu_user_main_thread_seconds_total", "User CPU time of the main thread.", "instance"
    ),
    # Cluster
    "cluster_connections": gauge("redis_cluster_connections", "Connections of the cluster's bus.", "instance"),
    "cluster_enabled": gauge("redis_cluster_enabled", "1 if the server is a node of a cluster.", "instance"),
    # KeyDB
    "server_threads": gauge("redis_server_threads_total", "Threads that serve clients.", "instance"),
    "long_lock_waits": gauge("redis_long_lock_waits_total", "Long waits for the global lock.", "instance"),
    "current_client_thread": gauge("redis_current_client_thread", "The thread that served this query.", "instance"),
    "cached_keys": counter("redis_cached_keys_total", "Keys cached from the storage provider.", "instance"),
    "storage_provider_read_hits": counter(
        "redis_storage_provider_read_hits", "Reads that the storage provider answered.", "instance"
    ),
    "storage_provider_read_misses": counter(
        "redis_storage_provider_read_misses", "Reads that it could not answer.", "instance"
    ),
}
FRAGMENTATION: Final = (
    gauge("redis_mem_fragmentation_ratio", "Resident to allocated memory.", "instance"),
    gauge("redis_memory_fragmentation_ratio", "The same, as Redis mixins call it.", "instance"),
)
SCALE: Final = {"latest_fork_usec": 1e-6}
WORDS: Final = {"ok": 1.0, "true": 1.0, "err": 0.0, "fail": 0.0, "false": 0.0}
