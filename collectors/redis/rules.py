"""The default rules of Redis. What each means and what to do about it: docs/runbooks/redis.md."""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/redis.md")

_REPLICA: Final = "{{ $labels.slave_ip }}:{{ $labels.slave_port }}"

_SERVER: Final = (
    rule(
        "RedisDown",
        "redis_up == 0",
        severity="critical",
        hold="1m",
        summary="Redis {{ $labels.instance }} does not answer",
    ),
    rule(  # where keys are evicted instead, a full memory is what the server was set up for
        "RedisMemoryHigh",
        "redis_memory_used_bytes / (redis_memory_max_bytes > 0) > 0.9"
        ' and on (instance) redis_instance_info{maxmemory_policy="noeviction"}',
        severity="warning",
        hold="5m",
        summary="Redis {{ $labels.instance }} uses {{ $value | humanizePercentage }} of its memory and evicts nothing",
    ),
    rule(
        "RedisEvicting",
        "rate(redis_evicted_keys_total[5m]) > 0",
        severity="info",
        hold="10m",
        summary='Redis {{ $labels.instance }} evicts {{ $value | printf "%.1f" }} keys a second',
    ),
    rule(
        "RedisFragmentationHigh",
        "redis_mem_fragmentation_ratio > 1.5 and redis_memory_used_bytes > 2 ^ 30",
        severity="info",
        hold="1h",
        summary="Redis {{ $labels.instance }} takes {{ $value | humanize }} times the memory that it uses",
    ),
    rule(
        "RedisConnectionsHigh",
        "redis_connected_clients / ((redis_config_maxclients or redis_max_clients) > 0) > 0.8",
        severity="warning",
        hold="5m",
        summary="Redis {{ $labels.instance }} has {{ $value | humanizePercentage }} of the clients that it accepts",
    ),
    rule(
        "RedisRejectedConnections",
        "rate(redis_rejected_connections_total[5m]) > 0",
        severity="critical",
        summary="Redis {{ $labels.instance }} turns clients away",
    ),
)
_PERSISTENCE: Final = (
    rule(
        "RedisSaveFailed",
        "redis_rdb_last_bgsave_status == 0",
        severity="critical",
        hold="1m",
        summary="Redis {{ $labels.instance }} could not write its last dump",
    ),
    rule(
        "RedisAppendFailed",
        "redis_aof_last_write_status == 0",
        severity="critical",
        summary="Redis {{ $labels.instance }} could not write to its append-only file",
    ),
    rule(
        "RedisRewriteFailed",
        "redis_aof_last_bgrewrite_status == 0",
        severity="warning",
        hold="5m",
        summary="Redis {{ $labels.instance }} could not rewrite its append-only file",
    ),
)
_REPLICATION: Final = (
    rule(
        "RedisReplicationBroken",
        "redis_master_link_up == 0 unless redis_master_sync_in_progress == 1",
        severity="critical",
        hold="2m",
        summary="Redis {{ $labels.instance }} has lost its master {{ $labels.master_host }}:{{ $labels.master_port }}",
    ),
    rule(
        "RedisReplicaLag",
        "redis_connected_slave_lag_seconds > 15",
        severity="warning",
        hold="2m",
        summary=f"Redis {{{{ $labels.instance }}}} has not heard its replica {_REPLICA} for"
        " {{ $value | humanizeDuration }}",
    ),
)
_CLUSTER: Final = (
    rule(
        "RedisClusterDown",
        "redis_cluster_state == 0",
        severity="critical",
        hold="1m",
        summary="The cluster of Redis {{ $labels.instance }} takes no queries",
    ),
    rule(
        "RedisClusterSlotsFailed",
        "redis_cluster_slots_fail > 0",
        severity="critical",
        hold="1m",
        summary="{{ $value }} slots of the cluster of Redis {{ $labels.instance }} have no node that works",
    ),
    rule(
        "RedisSentinelMasterDown",
        "redis_sentinel_master_status == 0",
        severity="critical",
        hold="1m",
        summary="Sentinel {{ $labels.instance }} sees {{ $labels.master_name }} as {{ $labels.master_status }}",
    ),
    rule(
        "RedisSentinelNoQuorum",
        "redis_sentinel_master_ckquorum_status == 0",
        severity="critical",
        hold="5m",
        summary="Sentinel {{ $labels.instance }} could not fail {{ $labels.master_name }} over: {{ $labels.message }}",
    ),
)
RULES: Final[tuple[Rule, ...]] = (*_SERVER, *_PERSISTENCE, *_REPLICATION, *_CLUSTER)
