"""The default rules of the host collector. What each means and what to do about it: docs/runbooks/host.md."""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/host.md")

# Disks that fill by accident: not memory, not what is read-only by nature, no stick of somebody's, no program's mount.
_DISKS: Final = (
    '{fstype!~"tmpfs|ramfs|squashfs|erofs|iso9660|udf|cramfs|romfs|overlay|fuse[.].*",'
    'mountpoint!~"/(run|media|Volumes)/.*|/etc/(hosts|hostname|resolv[.]conf)"}'
)
_SHARE_OF_SPACE: Final = f"node_filesystem_avail_bytes{_DISKS} / node_filesystem_size_bytes"
_WRITABLE: Final = "and node_filesystem_readonly == 0"
# The kernel does not count ZFS' cache as available, and huge pages are for those alone who ask for them.
_MEMORY: Final = (
    "((node_memory_MemAvailable_bytes + clamp_min(node_zfs_arc_size - node_zfs_arc_c_min, 0))"
    " or node_memory_MemAvailable_bytes)"
)
_SHARE_OF_MEMORY: Final = (
    f"{_MEMORY} / ((node_memory_MemTotal_bytes - node_memory_Hugetlb_bytes) or node_memory_MemTotal_bytes)"
)
# Interfaces with a device behind them: WireGuard counts a packet without a session as an error.
_NICS: Final = '{device!~"lo|veth.*|docker.*|br-.*|virbr.*|cali.*|cni.*|flannel.*|tun.*|tap.*|wg.*|dummy.*|vnet.*"}'
_NETWORK_ERRORS: Final = (
    f"(rate(node_network_receive_errs_total{_NICS}[5m]) + rate(node_network_transmit_errs_total[5m]))"
)
_PACKETS: Final = "(rate(node_network_receive_packets_total[5m]) + rate(node_network_transmit_packets_total[5m]))"

_STORAGE: Final = (
    rule(
        "HostDiskSpaceLow",
        f"{_SHARE_OF_SPACE} < 0.1 and node_filesystem_avail_bytes < 100 * 2 ^ 30 {_WRITABLE}",
        severity="warning",
        hold="5m",
        summary="{{ $labels.mountpoint }} on {{ $labels.instance }} has {{ $value | humanizePercentage }} space left",
    ),
    rule(
        "HostDiskSpaceCritical",
        f"{_SHARE_OF_SPACE} < 0.05 and node_filesystem_avail_bytes < 25 * 2 ^ 30 {_WRITABLE}",
        severity="critical",
        hold="2m",
        summary="{{ $labels.mountpoint }} on {{ $labels.instance }} has {{ $value | humanizePercentage }} space left",
    ),
    rule(
        "HostDiskFillsIn4Hours",
        f"predict_linear(node_filesystem_avail_bytes{_DISKS}[1h], 4 * 3600) < 0"
        f" and node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.2 {_WRITABLE}",
        severity="warning",
        hold="30m",
        summary="{{ $labels.mountpoint }} on {{ $labels.instance }} will be full within four hours",
    ),
    rule(
        "HostInodesLow",
        f"node_filesystem_files_free{_DISKS} / node_filesystem_files < 0.1 {_WRITABLE}",
        severity="warning",
        hold="5m",
        summary="{{ $labels.mountpoint }} on {{ $labels.instance }} has {{ $value | humanizePercentage }} inodes left",
    ),
    rule(
        "HostReadOnlyFilesystem",
        f"node_filesystem_readonly{_DISKS} == 1 and min_over_time(node_filesystem_readonly{_DISKS}[6h]) == 0",
        severity="critical",
        hold="1m",
        summary="{{ $labels.mountpoint }} on {{ $labels.instance }} has become read-only",
    ),
    rule(
        "HostMountUnreachable",
        'node_filesystem_device_error{device_error!~"|permission denied|operation not permitted'
        '|no such file or directory"} == 1',
        severity="warning",
        hold="5m",
        summary="{{ $labels.mountpoint }} on {{ $labels.instance }} does not answer: {{ $labels.device_error }}",
    ),
    rule(
        "HostRaidDegraded",
        "node_md_degraded > 0",
        severity="critical",
        hold="1m",
        summary="The array {{ $labels.device }} on {{ $labels.instance }} lacks {{ $value }} of its disks",
    ),
    rule(
        "HostRaidDiskFailed",
        'node_md_disks{state="failed"} > 0',
        severity="warning",
        summary="The array {{ $labels.device }} on {{ $labels.instance }} has failed disks: {{ $value }}",
    ),
    rule(
        "HostZpoolUnhealthy",
        'node_zfs_zpool_state{state!="online"} == 1',
        severity="critical",
        hold="1m",
        summary="The pool {{ $labels.zpool }} on {{ $labels.instance }} is {{ $labels.state }}",
    ),
    rule(
        "HostBtrfsDeviceErrors",
        "node_btrfs_device_errors_total > 0",
        severity="warning",
        summary="{{ $labels.device }} on {{ $labels.instance }} has {{ $value }} {{ $labels.type }} errors",
    ),
)
_MEMORY_RULES: Final = (
    rule(
        "HostMemoryLow",
        f"{_SHARE_OF_MEMORY} < 0.1 and node_memory_MemAvailable_bytes < 16 * 2 ^ 30",
        severity="warning",
        hold="10m",
        summary="{{ $labels.instance }} has {{ $value | humanizePercentage }} of its memory available",
    ),
    rule(
        "HostMemoryCritical",
        f"{_SHARE_OF_MEMORY} < 0.03 and node_memory_MemAvailable_bytes < 4 * 2 ^ 30",
        severity="critical",
        hold="5m",
        summary="{{ $labels.instance }} has {{ $value | humanizePercentage }} of its memory available",
    ),
    rule(
        "HostOutOfMemoryKill",
        "increase(node_vmstat_oom_kill[10m]) > 0",
        severity="warning",
        summary="The kernel of {{ $labels.instance }} has killed processes for want of memory",
    ),
    rule(
        "HostSwapping",
        "rate(node_vmstat_pswpin[5m]) > 1000 and rate(node_vmstat_pswpout[5m]) > 1000",
        severity="warning",
        hold="15m",
        summary="{{ $labels.instance }} swaps {{ $value | humanize }} pages a second in, and others out",
    ),
    rule(
        "HostMemoryPressure",
        "rate(node_pressure_memory_stalled_seconds_total[5m]) > 0.2",
        severity="warning",
        hold="10m",
        summary="{{ $labels.instance }} waits for memory {{ $value | humanizePercentage }} of the time",
    ),
    rule(
        "HostMemoryUncorrectableErrors",
        "node_edac_uncorrectable_errors_total > 0",
        severity="critical",
        summary="The memory of {{ $labels.instance }} had errors that could not be corrected: {{ $value }}",
    ),
    rule(
        "ContainerMemoryHigh",
        "container_memory_rss / (container_spec_memory_limit_bytes > 0) > 0.9",
        severity="warning",
        hold="5m",
        summary="The agent's container on {{ $labels.instance }} uses {{ $value | humanizePercentage }} of its limit",
    ),
)
_CPU: Final = (
    rule(
        "HostLoadHigh",
        'node_load5 / count without (cpu, mode) (node_cpu_seconds_total{mode="idle"}) > 2',
        severity="warning",
        hold="15m",
        summary='{{ $labels.instance }} has a load of {{ $value | printf "%.1f" }} for each core',
    ),
    rule(
        "HostHungTasks",
        "increase(node_kernel_hung_tasks_total[10m]) > 0",
        severity="warning",
        summary="Tasks on {{ $labels.instance }} hang in the kernel",
    ),
    rule(
        "HostTemperatureCritical",
        "node_hwmon_temp_celsius - node_hwmon_temp_crit_celsius > 0 and node_hwmon_temp_crit_celsius > 50",
        severity="critical",
        hold="5m",
        summary="{{ $labels.chip }} {{ $labels.sensor }} on {{ $labels.instance }} is too hot by {{ $value }} degrees",
    ),
    rule(
        "ContainerCpuThrottled",
        "rate(container_cpu_cfs_throttled_periods_total[5m]) / rate(container_cpu_cfs_periods_total[5m]) > 0.5",
        severity="info",
        hold="15m",
        summary="The agent's container on {{ $labels.instance }} is held back in {{ $value | humanizePercentage }} of"
        " its periods",
    ),
)
_LIMITS: Final = (
    rule(
        "HostFileDescriptorsLow",
        "node_filefd_allocated / node_filefd_maximum > 0.8",
        severity="warning",
        hold="5m",
        summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its file handles",
    ),
    rule(
        "HostProcessIdsLow",
        "node_processes_threads / node_processes_max_processes > 0.8",
        severity="warning",
        hold="5m",
        summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its process ids",
    ),
    rule(
        "HostConntrackFull",
        "node_nf_conntrack_entries / node_nf_conntrack_entries_limit > 0.8",
        severity="warning",
        hold="5m",
        summary="{{ $labels.instance }} tracks {{ $value | humanizePercentage }} of the connections that it can",
    ),
)
_NETWORK: Final = (
    rule(
        "HostNetworkErrors",
        f"{_NETWORK_ERRORS} / {_PACKETS} > 0.01"
        " and rate(node_network_receive_errs_total[5m]) + rate(node_network_transmit_errs_total[5m]) > 1",
        severity="warning",
        hold="15m",
        summary="{{ $value | humanizePercentage }} of the packets of {{ $labels.device }} on {{ $labels.instance }}"
        " are bad",
    ),
    rule(
        "HostBondDegraded",
        "node_bonding_slaves - node_bonding_active > 0",
        severity="warning",
        hold="5m",
        summary="{{ $labels.master }} on {{ $labels.instance }} lacks {{ $value }} of its links",
    ),
)
_CLOCK: Final = (
    rule(
        "HostClockSkew",
        "abs(node_timex_offset_seconds) > 0.05 and node_timex_sync_status == 1",
        severity="warning",
        hold="10m",
        summary="The clock of {{ $labels.instance }} is off by {{ $value | humanizeDuration }}",
    ),
    rule(  # the kernel is not told of every daemon's work, and in a container it is not ours to tell
        "HostClockNotSynchronised",
        "node_timex_sync_status == 0 and node_timex_maxerror_seconds >= 16",
        severity="info",
        hold="15m",
        summary="Nothing keeps the clock of {{ $labels.instance }} in step, as far as its kernel knows",
    ),
)
_SYSTEM: Final = (
    rule(
        "HostSystemdUnitFailed",
        'node_systemd_unit_state{state="failed"} == 1',
        severity="warning",
        hold="5m",
        summary="{{ $labels.name }} on {{ $labels.instance }} has failed",
    ),
    rule(
        "HostTextfileUnreadable",
        "node_textfile_scrape_error == 1",
        severity="warning",
        hold="5m",
        summary="A metrics file on {{ $labels.instance }} cannot be read",
    ),
    rule(
        "HostRebooted",
        "time() - node_boot_time_seconds < 600",
        severity="info",
        summary="{{ $labels.instance }} started {{ $value | humanizeDuration }} ago",
    ),
    rule(
        "HostOsSupportEnds",
        "node_os_support_end_timestamp_seconds - time() < 30 * 86400",
        severity="info",
        hold="1h",
        summary="Support for the operating system of {{ $labels.instance }} ends within a month, or has ended",
    ),
)
RULES: Final[tuple[Rule, ...]] = (*_STORAGE, *_MEMORY_RULES, *_CPU, *_LIMITS, *_NETWORK, *_CLOCK, *_SYSTEM)
