"""XFS: the counters of each file system (fs/xfs/xfs_stats.h of the kernel; xfs.org, Runtime Stats)."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Family, Sample, counter

from .machine import Machine


def _xfs(name: str, help: str) -> Family:
    return counter(f"node_xfs_{name}_total", help, "device")


def _btree(name: str, shown: str) -> tuple[Family, ...]:
    return (
        _xfs(f"{name}_lookups", f"Number of {shown} B-tree lookups for a filesystem."),
        _xfs(f"{name}_compares", f"Number of {shown} B-tree compares for a filesystem."),
        _xfs(f"{name}_records_inserted", f"Number of {shown} B-tree records inserted for a filesystem."),
        _xfs(f"{name}_records_deleted", f"Number of {shown} B-tree records deleted for a filesystem."),
    )


LINES: dict[str, tuple[Family, ...]] = {  # first word of a line -> family of each number after it
    "extent_alloc": (
        _xfs("extent_allocation_extents_allocated", "Number of extents allocated for a filesystem."),
        _xfs("extent_allocation_blocks_allocated", "Number of blocks allocated for a filesystem."),
        _xfs("extent_allocation_extents_freed", "Number of extents freed for a filesystem."),
        _xfs("extent_allocation_blocks_freed", "Number of blocks freed for a filesystem."),
    ),
    "abt": _btree("allocation_btree", "allocation"),
    "blk_map": (
        _xfs("block_mapping_reads", "Number of block map for read operations for a filesystem."),
        _xfs("block_mapping_writes", "Number of block map for write operations for a filesystem."),
        _xfs("block_mapping_unmaps", "Number of block unmaps (deletes) for a filesystem."),
        _xfs("block_mapping_extent_list_insertions", "Number of extent list insertions for a filesystem."),
        _xfs("block_mapping_extent_list_deletions", "Number of extent list deletions for a filesystem."),
        _xfs("block_mapping_extent_list_lookups", "Number of extent list lookups for a filesystem."),
        _xfs("block_mapping_extent_list_compares", "Number of extent list compares for a filesystem."),
    ),
    "bmbt": _btree("block_map_btree", "block map"),
    "dir": (
        _xfs("directory_operation_lookup", "Number of file name lookups that missed the directory name lookup cache."),
        _xfs("directory_operation_create", "Number of directory entries created for a filesystem."),
        _xfs("directory_operation_remove", "Number of directory entries removed for a filesystem."),
        _xfs("directory_operation_getdents", "Number of getdents operations on directories of a filesystem."),
    ),
    "ig": (
        _xfs("inode_operation_attempts", "Number of times the OS looked for an XFS inode in the inode cache."),
        _xfs("inode_operation_found", "Number of times the OS found an XFS inode in the inode cache."),
        _xfs("inode_operation_recycled", "Number of times the OS found an XFS inode in the cache being recycled."),
        _xfs("inode_operation_missed", "Number of times the OS did not find an XFS inode in the inode cache."),
        _xfs("inode_operation_duplicates", "Number of times a missing XFS inode had been added by another process."),
        _xfs("inode_operation_reclaims", "Number of times the OS reclaimed an XFS inode from the inode cache."),
        _xfs("inode_operation_attribute_changes", "Number of times the OS changed the attributes of an XFS inode."),
    ),
    "rw": (
        _xfs("write_calls", "Number of write(2) system calls made to files in a filesystem."),
        _xfs("read_calls", "Number of read(2) system calls made to files in a filesystem."),
    ),
    "vnodes": (
        _xfs("vnode_active", "Number of vnodes not on free lists for a filesystem."),
        _xfs("vnode_allocate", "Number of times vn_alloc called for a filesystem."),
        _xfs("vnode_get", "Number of times vn_get called for a filesystem."),
        _xfs("vnode_hold", "Number of times vn_hold called for a filesystem."),
        _xfs("vnode_release", "Number of times vn_rele called for a filesystem."),
        _xfs("vnode_reclaim", "Number of times vn_reclaim called for a filesystem."),
        _xfs("vnode_remove", "Number of times vn_remove called for a filesystem."),
    ),
}


def parse_xfs(text: str) -> dict[str, list[int]]:
    """The numbers of each line of a stats file, by its first word."""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: [int(word) for word in words[1:]] for words in lines if words and words[0] in LINES}


def xfs(machine: Machine) -> Iterator[Sample]:
    """The part `xfs`."""
    sys = machine.sys
    for device in sys.entries("fs/xfs"):
        if not sys.exists(f"fs/xfs/{device}/stats/stats"):
            continue
        found = parse_xfs(sys.text(f"fs/xfs/{device}/stats/stats"))
        for name, families in LINES.items():
            values = found.get(name, [])
            for at, family in enumerate(families):
                yield family(float(values[at]) if at < len(values) else 0.0, device)
