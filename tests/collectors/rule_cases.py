"""For each default rule series that make it fire, and series of a sound system that do not.

A line is a metric, its labels, and its value: a number, `first..last` for one that moves within an hour, or `@seconds`
for a Unix time so long from now. `~` in a label is a space.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    sick: str
    well: str = ""  # more than one is separated by an empty line


DISK = "device=/dev/sda1 mountpoint=/srv fstype=ext4"
STAGING = "device=/dev/loop3 mountpoint=/snap/core/1 fstype=squashfs"


ARC = """node_zfs_arc_size 6e9
        node_zfs_arc_c_min 1e9"""


def disk(avail: float | str, size: float, more: str = DISK, readonly: int = 0) -> str:
    return f"""
        node_filesystem_avail_bytes {more} {avail}
        node_filesystem_size_bytes {more} {size}
        node_filesystem_readonly {more} {readonly}"""


def inodes(free: float, files: float, more: str = DISK) -> str:
    return f"""
        node_filesystem_files_free {more} {free}
        node_filesystem_files {more} {files}
        node_filesystem_readonly {more} 0"""


def memory(available: float, total: float, more: str = "") -> str:
    return f"""
        node_memory_MemAvailable_bytes {available}
        node_memory_MemTotal_bytes {total}
        {more}"""


def nic(errors: str, packets: str, device: str = "eth0") -> str:
    return f"""
        node_network_receive_errs_total device={device} {errors}
        node_network_transmit_errs_total device={device} 0
        node_network_receive_packets_total device={device} {packets}
        node_network_transmit_packets_total device={device} 0"""


HOST = {
    "HostDiskSpaceLow": Case(
        disk(9e9, 100e9),
        f"""{disk(11e9, 100e9)}

        {disk(0.5e12, 8e12)}

        {disk(0, 1e9, STAGING, 1)}

        {disk(0, 4e6, "device=tmpfs mountpoint=/srv fstype=tmpfs")}

        {disk(0, 1e9, "device=snapfuse mountpoint=/srv/app fstype=fuse.snapfuse")}

        {disk(0, 16e9, "device=/dev/sdb1 mountpoint=/media/ann/STICK fstype=vfat")}

        {disk(0, 1e9, "device=/dev/sr0 mountpoint=/srv fstype=ext4", 1)}

        {disk(0, 0)}""",
    ),
    "HostDiskSpaceCritical": Case(
        disk(4e9, 100e9),
        f"""{disk(9e9, 100e9)}

        {disk(0.1e12, 8e12)}""",
    ),
    "HostDiskFillsIn4Hours": Case(
        disk("20e9..10e9", 100e9),
        f"""{disk("20e9..19e9", 100e9)}

        {disk("80e9..60e9", 100e9)}""",
    ),
    "HostInodesLow": Case(
        inodes(5e4, 1e6),
        f"""{inodes(2e5, 1e6)}

        {inodes(0, 0, "device=/dev/sda2 mountpoint=/data fstype=btrfs")}""",
    ),
    "HostReadOnlyFilesystem": Case(
        f"node_filesystem_readonly {DISK} 0..1",
        f"""
        node_filesystem_readonly {DISK} 0

        node_filesystem_readonly {DISK} 1

        node_filesystem_readonly {STAGING} 1""",
    ),
    "HostMountUnreachable": Case(
        "node_filesystem_device_error device=nas:/x mountpoint=/mnt fstype=nfs4 device_error=mountpoint~timeout 1",
        """
        node_filesystem_device_error device=nas:/x mountpoint=/mnt fstype=nfs4 0

        node_filesystem_device_error device=p mountpoint=/doc fstype=fuse device_error=permission~denied 1""",
    ),
    "HostRaidDegraded": Case("node_md_degraded device=md0 1", "node_md_degraded device=md0 0"),
    "HostRaidDiskFailed": Case(
        "node_md_disks device=md0 state=failed 1",
        """
        node_md_disks device=md0 state=failed 0
        node_md_disks device=md0 state=active 2""",
    ),
    "HostZpoolUnhealthy": Case(
        "node_zfs_zpool_state zpool=tank state=degraded 1",
        """
        node_zfs_zpool_state zpool=tank state=online 1
        node_zfs_zpool_state zpool=tank state=degraded 0""",
    ),
    "HostBtrfsDeviceErrors": Case(
        "node_btrfs_device_errors_total uuid=u type=read device=sda btrfs_dev_uuid=d 3",
        "node_btrfs_device_errors_total uuid=u type=read device=sda btrfs_dev_uuid=d 0",
    ),
    "HostMemoryLow": Case(
        memory(1e9, 16e9),
        f"""{memory(4e9, 16e9)}

        {memory(40e9, 512e9)}

        {memory(1e9, 16e9, "node_memory_Hugetlb_bytes 12e9")}

        {memory(1e9, 16e9, ARC)}""",
    ),
    "HostMemoryCritical": Case(memory(0.3e9, 16e9), memory(1e9, 16e9)),
    "HostOutOfMemoryKill": Case("node_vmstat_oom_kill 0..20", "node_vmstat_oom_kill 7"),
    "HostSwapping": Case(
        """
        node_vmstat_pswpin 0..9e6
        node_vmstat_pswpout 0..9e6""",
        """
        node_vmstat_pswpin 0..9e6
        node_vmstat_pswpout 5000

        node_vmstat_pswpin 0
        node_vmstat_pswpout 0""",
    ),
    "HostMemoryPressure": Case(
        "node_pressure_memory_stalled_seconds_total 0..1000", "node_pressure_memory_stalled_seconds_total 0..100"
    ),
    "HostMemoryUncorrectableErrors": Case(
        "node_edac_uncorrectable_errors_total controller=0 1", "node_edac_uncorrectable_errors_total controller=0 0"
    ),
    "ContainerMemoryHigh": Case(
        """
        container_memory_rss id=/a 95
        container_spec_memory_limit_bytes id=/a 100""",
        """
        container_memory_rss id=/a 50
        container_spec_memory_limit_bytes id=/a 100

        container_memory_rss id=/a 95
        container_spec_memory_limit_bytes id=/a 0""",
    ),
    "HostLoadHigh": Case(
        """
        node_load5 5
        node_cpu_seconds_total cpu=0 mode=idle 1
        node_cpu_seconds_total cpu=0 mode=user 1
        node_cpu_seconds_total cpu=1 mode=idle 1""",
        """
        node_load5 3
        node_cpu_seconds_total cpu=0 mode=idle 1
        node_cpu_seconds_total cpu=1 mode=idle 1""",
    ),
    "HostHungTasks": Case("node_kernel_hung_tasks_total 0..20", "node_kernel_hung_tasks_total 2"),
    "HostTemperatureCritical": Case(
        """
        node_hwmon_temp_celsius chip=cpu sensor=temp1 103
        node_hwmon_temp_crit_celsius chip=cpu sensor=temp1 100""",
        """
        node_hwmon_temp_celsius chip=cpu sensor=temp1 80
        node_hwmon_temp_crit_celsius chip=cpu sensor=temp1 100

        node_hwmon_temp_celsius chip=acpitz sensor=temp1 27
        node_hwmon_temp_crit_celsius chip=acpitz sensor=temp1 0""",
    ),
    "ContainerCpuThrottled": Case(
        """
        container_cpu_cfs_throttled_periods_total id=/a 0..30000
        container_cpu_cfs_periods_total id=/a 0..36000""",
        """
        container_cpu_cfs_throttled_periods_total id=/a 0..300
        container_cpu_cfs_periods_total id=/a 0..36000

        container_cpu_cfs_throttled_periods_total id=/a 0
        container_cpu_cfs_periods_total id=/a 0""",
    ),
    "HostFileDescriptorsLow": Case(
        """
        node_filefd_allocated 90000
        node_filefd_maximum 100000""",
        """
        node_filefd_allocated 9000
        node_filefd_maximum 9.2e18""",
    ),
    "HostProcessIdsLow": Case(
        """
        node_processes_threads 30000
        node_processes_max_processes 32768""",
        """
        node_processes_threads 300
        node_processes_max_processes 32768""",
    ),
    "HostConntrackFull": Case(
        """
        node_nf_conntrack_entries 250000
        node_nf_conntrack_entries_limit 262144""",
        """
        node_nf_conntrack_entries 0
        node_nf_conntrack_entries_limit 262144""",
    ),
    "HostNetworkErrors": Case(
        nic("0..72000", "0..3.6e6"),
        f"""{nic("0..72000", "0..3.6e6", "wg0")}

        {nic("0..72000", "0..3.6e8")}

        {nic("0..2", "0..20")}

        {nic("0", "0")}""",
    ),
    "HostBondDegraded": Case(
        """
        node_bonding_slaves master=bond0 2
        node_bonding_active master=bond0 1""",
        """
        node_bonding_slaves master=bond0 2
        node_bonding_active master=bond0 2""",
    ),
    "HostClockSkew": Case(
        """
        node_timex_offset_seconds -0.2
        node_timex_sync_status 1""",
        """
        node_timex_offset_seconds 0.001
        node_timex_sync_status 1""",
    ),
    "HostClockNotSynchronised": Case(
        """
        node_timex_sync_status 0
        node_timex_maxerror_seconds 16""",
        """
        node_timex_sync_status 0
        node_timex_maxerror_seconds 3

        node_timex_sync_status 1
        node_timex_maxerror_seconds 0.01""",
    ),
    "HostSystemdUnitFailed": Case(
        "node_systemd_unit_state name=ssh.service state=failed type=notify 1",
        """
        node_systemd_unit_state name=ssh.service state=failed type=notify 0
        node_systemd_unit_state name=ssh.service state=inactive type=notify 1""",
    ),
    "HostTextfileUnreadable": Case("node_textfile_scrape_error 1", "node_textfile_scrape_error 0"),
    "HostRebooted": Case("node_boot_time_seconds @-120", "node_boot_time_seconds @-86400"),
    "HostOsSupportEnds": Case(
        "node_os_support_end_timestamp_seconds @86400", "node_os_support_end_timestamp_seconds @8640000"
    ),
}

VALID = "probe_ssl_earliest_cert_expiry"
CHAIN = "probe_ssl_last_chain_expiry_timestamp_seconds"
PROBES = {
    "ProbeDown": Case("probe_state 0", "probe_state 1"),
    "ProbeUnstable": Case(
        "probe_success flapping",
        """
        probe_success 0

        probe_success 1""",
    ),
    "ProbeSlow": Case(
        """
        probe_duration_seconds 4
        probe_success 1""",
        """
        probe_duration_seconds 10
        probe_success 0

        probe_duration_seconds 0.2
        probe_success 1""",
    ),
    "CertificateExpiresSoon": Case(
        f"{VALID} @{13 * 86400}",
        f"""
        {VALID} @{15 * 86400}

        {VALID} @-60

        {VALID} @-86400
        {CHAIN} @{60 * 86400}""",
    ),
    "CertificateExpiresVerySoon": Case(
        f"""
        {VALID} @{2 * 86400}
        {CHAIN} 0""",
        f"{VALID} @{4 * 86400}",
    ),
    "CertificateExpired": Case(f"{VALID} @-60", f"{VALID} @60"),
    "CertificateUntrusted": Case(
        "probe_ssl_verified reason=self-signed~certificate 0",
        """
        probe_ssl_verified 1

        probe_ssl_verified reason=certificate~has~expired 0""",
    ),
    "CertificateNotYetValid": Case(
        "tls_certificate_not_before_timestamp_seconds at=0 @3600",
        "tls_certificate_not_before_timestamp_seconds at=0 @-3600",
    ),
    "CertificateRevoked": Case("ssl_ocsp_response_status 1", "ssl_ocsp_response_status 0"),
    "CertificateStapleInvalid": Case("tls_ocsp_response_verified reason=late 0", "tls_ocsp_response_verified 1"),
    "CertificateStapleMissing": Case(
        """
        ssl_ocsp_response_stapled 0
        tls_certificate_must_staple 1""",
        """
        ssl_ocsp_response_stapled 0
        tls_certificate_must_staple 0

        ssl_ocsp_response_stapled 1
        tls_certificate_must_staple 1""",
    ),
    "ProbeTcpConnectSlow": Case(
        """
        probe_tcp_connect_seconds 2
        probe_success 1""",
        """
        probe_tcp_connect_seconds 0.01
        probe_success 1""",
    ),
    "ProbeDnsSlow": Case(
        """
        probe_dns_duration_seconds phase=request 2
        probe_success 1""",
        """
        probe_dns_duration_seconds phase=request 0.1
        probe_success 1

        probe_dns_duration_seconds phase=request 5
        probe_success 0""",
    ),
    "ProbePingSlow": Case(
        """
        probe_icmp_duration_seconds phase=rtt 0.8
        probe_success 1""",
        """
        probe_icmp_duration_seconds phase=rtt 0.1
        probe_success 1""",
    ),
}
SCRAPE = {
    "TargetDown": Case("up 0", "up 1"),
    "ScrapeLimitHit": Case("scrape_failure_info reason=sample_limit 1", "scrape_failure_info reason=refused 1"),
    "ScrapeSlow": Case(
        """
        scrape_duration_seconds 6
        up 1""",
        """
        scrape_duration_seconds 10
        up 0

        scrape_duration_seconds 0.1
        up 1""",
    ),
    "ScrapeEmpty": Case(
        """
        scrape_samples_scraped 0
        up 1""",
        """
        scrape_samples_scraped 0
        up 0

        scrape_samples_scraped 20
        up 1""",
    ),
}
