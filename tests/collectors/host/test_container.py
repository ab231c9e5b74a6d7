"""The own container: version 1, version 2 and hybrid hosts, inside and outside of containers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.model import NoData
from collectors.host.container import Container, container_id, parse_limit, parse_self_cgroup
from collectors.host.machine import Machine

Put = Callable[[str, str], None]
ID = "3f4e" * 16
V2 = {
    "cpu.stat": "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 100\nnr_throttled 7\n"
    "throttled_usec 250000\nnr_bursts 0\n",
    "cpu.max": "150000 100000\n",
    "memory.current": "104857600\n",
    "memory.max": "268435456\n",
    "memory.peak": "209715200\n",
    "memory.swap.current": "4096\n",
    "memory.stat": "anon 52428800\nfile 41943040\ninactive_file 20971520\nfile_mapped 1048576\n",
    "memory.events": "low 0\nhigh 0\nmax 11\noom 2\noom_kill 1\n",
    "pids.current": "9\n",
    "pids.max": "max\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
}
V1 = {
    "memory/memory.usage_in_bytes": "104857600\n",
    "memory/memory.max_usage_in_bytes": "209715200\n",
    "memory/memory.limit_in_bytes": "268435456\n",
    "memory/memory.failcnt": "11\n",
    "memory/memory.stat": "cache 1\nrss 2\ntotal_cache 41943040\ntotal_rss 52428800\ntotal_inactive_file 20971520\n"
    "total_mapped_file 1048576\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "cpuacct/cpuacct.usage": "5000000000\n",
    "cpuacct/cpuacct.stat": "user 300\nsystem 200\n",
    "cpu/cpu.stat": "nr_periods 100\nnr_throttled 7\nthrottled_time 250000000\n",
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "pids/pids.current": "9\n",
    "pids/pids.max": "max\n",
}
SAME = {  # of both versions
    "container_cpu_usage_seconds_total": 5.0,
    "container_cpu_user_seconds_total": 3.0,
    "container_cpu_system_seconds_total": 2.0,
    "container_cpu_cfs_periods_total": 100.0,
    "container_cpu_cfs_throttled_periods_total": 7.0,
    "container_cpu_cfs_throttled_seconds_total": 0.25,
    "container_spec_cpu_quota": 150000.0,
    "container_spec_cpu_period": 100000.0,
    "container_memory_usage_bytes": 104857600.0,
    "container_memory_max_usage_bytes": 209715200.0,
    "container_memory_working_set_bytes": 83886080.0,
    "container_memory_rss": 52428800.0,
    "container_memory_cache": 41943040.0,
    "container_memory_mapped_file": 1048576.0,
    "container_memory_failcnt": 11.0,
    "container_spec_memory_limit_bytes": 268435456.0,
    "container_oom_events_total": 1.0,
    "container_threads": 9.0,
    "container_threads_max": 0.0,
}


def collect(machine: Machine) -> tuple[dict[str, float], set[str]]:
    samples = list(Container(machine)())
    return {sample.family.name: sample.value for sample in samples}, {sample.labels[0] for sample in samples}


def fill(put: Put, base: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        put(f"{base}/{name}", text)


def test_version_2_in_a_namespace_is_told_from_the_mount_itself(put: Put, machine: Callable[..., Machine]) -> None:
    put("proc/self/cgroup", "0::/\n")
    put("proc/self/mountinfo", f"1 2 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/a rw\n")
    put("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
    fill(put, "sys/fs/cgroup", V2)
    found, names = collect(machine())
    assert SAME.items() <= found.items()
    assert found["container_memory_swap"] == 4096
    assert found["container_pressure_cpu_waiting_seconds_total"] == 1.5
    assert found["container_pressure_cpu_stalled_seconds_total"] == 0.5
    assert names == {f"/{ID}"}


def test_version_2_with_the_path_of_the_host_is_told_from_that_path(put: Put, machine: Callable[..., Machine]) -> None:
    path = f"/kubepods.slice/cri-containerd-{ID}.scope"
    put("proc/self/cgroup", f"0::{path}\n")
    put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    fill(put, f"sys/fs/cgroup{path}", V2 | {"memory.max": "max\n", "cpu.max": "max 100000\n"})
    found, names = collect(machine())
    assert found["container_spec_memory_limit_bytes"] == 0
    assert "container_spec_cpu_quota" not in found, "no quota"
    assert names == {path}


def test_version_1_is_told_from_a_directory_per_controller(put: Put, machine: Callable[..., Machine]) -> None:
    put("proc/self/cgroup", f"9:memory:/docker/{ID}\n8:pids:/docker/{ID}\n2:cpuacct:/docker/{ID}\n1:cpu:/docker/{ID}\n")
    for name, text in V1.items():
        controller, file = name.split("/")
        put(f"sys/fs/cgroup/{controller}/docker/{ID}/{file}", text)
    found, names = collect(machine())
    assert found == SAME
    assert names == {f"/docker/{ID}"}


def test_version_1_with_the_own_group_mounted_alone_is_told_from_the_mount(
    put: Put, machine: Callable[..., Machine]
) -> None:
    put("proc/self/cgroup", f"9:memory:/docker/{ID}\n8:pids:/docker/{ID}\n2:cpu,cpuacct:/docker/{ID}\n")
    fill(put, "sys/fs/cgroup", V1)
    assert collect(machine())[0] == SAME


def test_a_hybrid_host_with_an_empty_unified_tree_is_version_1(put: Put, machine: Callable[..., Machine]) -> None:
    put("proc/self/cgroup", "3:memory:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n")
    put("sys/fs/cgroup/unified/cgroup.controllers", "\n")
    fill(put, "sys/fs/cgroup", V1)
    assert collect(machine())[0] == SAME


@pytest.mark.parametrize("version", [1, 2])
def test_a_host_that_is_no_container_and_has_no_limits_has_no_data(
    put: Put, machine: Callable[..., Machine], version: int
) -> None:
    put("proc/self/cgroup", "0::/system.slice/nightjar.service\n" if version == 2 else "3:memory:/\n1:cpu,cpuacct:/\n")
    if version == 2:
        put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
        unlimited = V2 | {"memory.max": "max\n", "cpu.max": "max 100000\n"}
        fill(put, "sys/fs/cgroup/system.slice/nightjar.service", unlimited)
    else:
        unlimited = {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu/cpu.cfs_quota_us": "-1\n"}
        fill(put, "sys/fs/cgroup", V1 | unlimited)
    with pytest.raises(NoData, match="no container"):
        collect(machine())


def test_the_root_group_of_version_2_has_no_files_and_no_data(put: Put, machine: Callable[..., Machine]) -> None:
    put("proc/self/cgroup", "0::/\n")
    put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    put("sys/fs/cgroup/cpu.stat", "usage_usec 1\n")
    with pytest.raises(NoData):
        collect(machine())


def test_a_service_with_a_limit_is_told(put: Put, machine: Callable[..., Machine]) -> None:
    put("proc/self/cgroup", "0::/system.slice/nightjar.service\n")
    put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    fill(put, "sys/fs/cgroup/system.slice/nightjar.service", V2 | {"cpu.max": "max 100000\n"})
    assert collect(machine())[1] == {"/system.slice/nightjar.service"}


def test_more_inactive_pages_than_usage_leave_no_negative_working_set(
    put: Put, machine: Callable[..., Machine]
) -> None:
    put("proc/self/cgroup", "0::/\n")
    put(".dockerenv", "")
    put("sys/fs/cgroup/cgroup.controllers", "\n")
    fill(put, "sys/fs/cgroup", V2 | {"memory.stat": "inactive_file 999999999999\n"})
    assert collect(machine())[0]["container_memory_working_set_bytes"] == 0


def test_limits_ids_and_paths_are_parsed() -> None:
    assert [parse_limit(text) for text in ("max", "-1", "9223372036854771712", "4096")] == [0, 0, 0, 4096]
    assert container_id(f"/docker/{ID}", "") == ID
    assert container_id("/", "nothing") == ""
    assert parse_self_cgroup("4:cpu,cpuacct:/a:b\n0::/c\n") == {"cpu": "/a:b", "cpuacct": "/a:b", "": "/c"}
