"""What a user may set for the host collector; the defaults are node_exporter's."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

MOUNTS_EXCLUDE = r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
FSTYPES_EXCLUDE = (
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay"
    r"|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$"
)
DISKS_EXCLUDE = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"
UNITS_EXCLUDE = r".+\.(automount|device|mount|scope|slice)"
NETSTAT_FIELDS = (
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
VMSTAT_FIELDS = r"^(oom_kill|pgpg|pswp|pg.*fault).*"

PartName = Literal[
    "arp",
    "bcache",
    "bcachefs",
    "bonding",
    "boottime",
    "btrfs",
    "conntrack",
    "container",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "fibrechannel",
    "filefd",
    "filesystem",
    "hwmon",
    "infiniband",
    "interrupts",
    "ipvs",
    "kernel_hung",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "process",
    "processes",
    "rapl",
    "schedstat",
    "selinux",
    "sockstat",
    "softnet",
    "stat",
    "systemd",
    "tapestats",
    "tcpstat",
    "textfile",
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "uname",
    "vmstat",
    "watchdog",
    "xfs",
    "zfs",
]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `[collectors.host]`. Every include and exclude is a regular expression, searched, not anchored.

    What is excluded is left out; where an include is given, only what it matches stays.
    """

    proc: str = "/proc"  # where the host's /proc is seen: "/host/proc" in a container
    sys: str = "/sys"  # where the host's /sys is seen
    rootfs: str = "/"  # where the host's root file system is seen
    textfile_dir: str = ""  # directory of *.prom files to merge; a glob is allowed; "" turns it off

    enable: tuple[PartName, ...] = ()  # parts to run beside the default ones, such as "interrupts"
    disable: tuple[PartName, ...] = ()  # parts not to run, such as "processes"

    mounts_include: str = ""  # mount points
    mounts_exclude: str = MOUNTS_EXCLUDE
    fstypes_include: str = ""  # file system types
    fstypes_exclude: str = FSTYPES_EXCLUDE
    disks_include: str = ""  # block devices
    disks_exclude: str = DISKS_EXCLUDE
    interfaces_include: str = ""  # network interfaces, in traffic (node_network_*_total)
    interfaces_exclude: str = ""
    netclass_exclude: str = r"^$"  # network interfaces, in properties (node_network_info and the like)
    arp_include: str = ""  # network interfaces, in node_arp_entries
    arp_exclude: str = ""
    sensors_include: str = ""  # hwmon sensors, as "chip;sensor"
    sensors_exclude: str = ""
    chips_include: str = ""  # hwmon chips
    chips_exclude: str = ""
    power_supplies_exclude: str = r"^$"
    tapes_exclude: str = r"^$"
    units_include: str = r".+"  # systemd units, by their whole names; both must agree
    units_exclude: str = UNITS_EXCLUDE
    interrupts_include: str = ""  # interrupts, as "name;info;devices"
    interrupts_exclude: str = ""
    netstat_fields: str = NETSTAT_FIELDS  # fields of /proc/net/{netstat,snmp,snmp6}
    vmstat_fields: str = VMSTAT_FIELDS  # fields of /proc/vmstat

    def __post_init__(self) -> None:
        """Every expression compiles; raises ValueError with those that do not."""
        names = [name for name in self.__struct_fields__ if name.endswith(("_include", "_exclude", "_fields"))]
        faults = [(name, fault) for name in names if (fault := _fault(getattr(self, name)))]
        if faults:
            raise ValueError(*(f"{name}: is no regular expression: {fault}" for name, fault in faults))


def _fault(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        return str(error)
    return ""
