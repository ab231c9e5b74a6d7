"""NFS client and server: /proc/net/rpc/nfs and nfsd (net/sunrpc/stats.c, fs/nfsd/stats.c of the kernel)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Family, NoData, Sample, counter, gauge

from .machine import Machine, words

PACKETS = counter("node_nfs_packets_total", "Total NFSd network packets (sent+received) by protocol type.", "protocol")
CONNECTIONS = counter("node_nfs_connections_total", "Total number of NFSd TCP connections.")
RPCS = counter("node_nfs_rpcs_total", "Total number of RPCs performed.")
RETRANSMISSIONS = counter("node_nfs_rpc_retransmissions_total", "Number of RPC transmissions performed.")
REFRESHES = counter("node_nfs_rpc_authentication_refreshes_total", "Number of RPC authentication refreshes performed.")
REQUESTS = counter("node_nfs_requests_total", "Number of NFS procedures invoked.", "proto", "method")
V2 = words(
    "Null GetAttr SetAttr Root Lookup ReadLink Read WrCache Write Create Remove Rename Link SymLink MkDir RmDir"
    " ReadDir FsStat"
)
V3 = words(
    "Null GetAttr SetAttr Lookup Access ReadLink Read Write Create MkDir SymLink MkNod Remove RmDir Rename Link"
    " ReadDir ReadDirPlus FsStat FsInfo PathConf Commit"
)
V4_CLIENT = words(
    "Null Read Write Commit Open OpenConfirm OpenNoattr OpenDowngrade Close Setattr FsInfo Renew SetClientID"
    " SetClientIDConfirm Lock Lockt Locku Access Getattr Lookup LookupRoot Remove Rename Link Symlink Create"
    " Pathconf StatFs ReadLink ReadDir ServerCaps DelegReturn GetACL SetACL FsLocations ReleaseLockowner Secinfo"
    " FsidPresent ExchangeID CreateSession DestroySession Sequence GetLeaseTime ReclaimComplete GetDeviceInfo"
    " LayoutGet LayoutCommit LayoutReturn SecinfoNoName TestStateID FreeStateID GetDeviceList BindConnToSession"
    " DestroyClientID Seek Allocate DeAllocate LayoutStats Clone"
)
V4_SERVER = words(  # from the fourth number of proc4ops
    "Access Close Commit Create DelegPurge DelegReturn GetAttr GetFH Link Lock Lockt Locku Lookup LookupRoot"
    " Nverify Open OpenAttr OpenConfirm OpenDgrd PutFH PutPubFH PutRootFH Read ReadDir ReadLink Remove Rename"
    " Renew RestoreFH SaveFH SecInfo SetAttr SetClientID SetClientIDConfirm Verify Write RelLockOwner"
)
V4_NOT_SHOWN = frozenset({"PutPubFH", "PutRootFH"})
SERVER_REQUESTS = counter(
    "node_nfsd_requests_total", "Total number NFSd Requests by method and protocol.", "proto", "method"
)
SERVER_PACKETS = counter(
    "node_nfsd_packets_total", "Total NFSd network packets (sent+received) by protocol type.", "proto"
)
SERVER_ERRORS = counter("node_nfsd_rpc_errors_total", "Total number of NFSd RPC errors by error type.", "error")
SERVER: dict[str, tuple[tuple[int, Family, tuple[str, ...]], ...]] = {  # line -> number, family, labels
    "rc": (
        (
            0,
            counter(
                "node_nfsd_reply_cache_hits_total",
                "Total number of NFSd Reply Cache hits (client lost server response).",
            ),
            (),
        ),
        (
            1,
            counter(
                "node_nfsd_reply_cache_misses_total",
                "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
            ),
            (),
        ),
        (
            2,
            counter(
                "node_nfsd_reply_cache_nocache_total",
                "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
            ),
            (),
        ),
    ),
    "fh": ((0, counter("node_nfsd_file_handles_stale_total", "Total number of NFSd stale file handles"), ()),),
    "io": (
        (0, counter("node_nfsd_disk_bytes_read_total", "Total NFSd bytes read."), ()),
        (1, counter("node_nfsd_disk_bytes_written_total", "Total NFSd bytes written."), ()),
    ),
    "th": ((0, gauge("node_nfsd_server_threads", "Total number of NFSd kernel threads that are running."), ()),),
    "ra": (
        (
            0,
            gauge("node_nfsd_read_ahead_cache_size_blocks", "How large the read ahead cache is in blocks."),
            (),
        ),
        (
            11,
            counter("node_nfsd_read_ahead_cache_not_found_total", "Total number of NFSd read ahead cache not found."),
            (),
        ),
    ),
    "net": (
        (1, SERVER_PACKETS, ("udp",)),
        (2, SERVER_PACKETS, ("tcp",)),
        (3, counter("node_nfsd_connections_total", "Total number of NFSd TCP connections."), ()),
    ),
    "rpc": (
        (2, SERVER_ERRORS, ("fmt",)),
        (3, SERVER_ERRORS, ("auth",)),
        (4, SERVER_ERRORS, ("cInt",)),
        (0, counter("node_nfsd_server_rpcs_total", "Total number of NFSd RPCs."), ()),
    ),
}


def parse_rpc(text: str) -> dict[str, list[float]]:
    """The numbers of each line of an rpc file, by its first word."""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: [float(word) for word in words[1:]] for words in lines if words}


def requests(family: Family, proto: str, methods: Sequence[str], counts: list[float]) -> Iterator[Sample]:
    """A sample for each method; what this kernel does not count yet is zero."""
    for at, method in enumerate(methods):
        yield family(counts[at] if at < len(counts) else 0.0, proto, method)


def nfs(machine: Machine) -> Iterator[Sample]:
    """The part `nfs`."""
    try:
        found = parse_rpc(machine.proc.text("net/rpc/nfs"))
    except FileNotFoundError:
        raise NoData("no NFS client") from None
    _all, udp, tcp, connections = found["net"]
    yield PACKETS(udp, "udp")
    yield PACKETS(tcp, "tcp")
    yield CONNECTIONS(connections)
    for family, value in zip((RPCS, RETRANSMISSIONS, REFRESHES), found["rpc"], strict=True):
        yield family(value)
    yield from requests(REQUESTS, "2", V2, found.get("proc2", [])[1:])
    yield from requests(REQUESTS, "3", V3, found.get("proc3", [])[1:])
    yield from requests(REQUESTS, "4", V4_CLIENT, found.get("proc4", [])[1:])


def nfsd(machine: Machine) -> Iterator[Sample]:
    """The part `nfsd`."""
    try:
        found = parse_rpc(machine.proc.text("net/rpc/nfsd"))
    except FileNotFoundError:
        raise NoData("no NFS server") from None
    for line, columns in SERVER.items():
        values = found.get(line, [])
        for at, family, labels in columns:
            yield Sample(family, labels, values[at] if at < len(values) else 0.0)
    yield from requests(SERVER_REQUESTS, "2", V2[1:], found.get("proc2", [])[2:])
    yield from requests(SERVER_REQUESTS, "3", V3[1:], found.get("proc3", [])[2:])
    operations = dict(zip(V4_SERVER, found.get("proc4ops", [])[4:], strict=False))
    shown = [method for method in V4_SERVER if method not in V4_NOT_SHOWN]
    yield from requests(SERVER_REQUESTS, "4", shown, [operations.get(method, 0.0) for method in shown])
    yield SERVER_REQUESTS(found.get("wdeleg_getattr", [0.0])[0], "4", "WdelegGetattr")
