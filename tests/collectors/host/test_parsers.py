"""Parsers on text as kernels write it: old layouts, missing fields, garbage."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.host import (
    bcache,
    bcachefs,
    cpu,
    disks,
    fabric,
    hardware,
    hwmon,
    identity,
    ipvs,
    kernel,
    netclass,
    nfs,
    processes,
    raid,
    sockets,
    timex,
    xfs,
    zfs,
)


def test_cores_come_with_their_seconds_and_old_kernels_with_fewer_modes() -> None:
    found = cpu.parse_cpu_times("cpu  1 2\ncpu0 100 200 300 400 500 600 700\ncpu10 1 1 1 1 1 1 1 1 1 1 99\nintr 5\n")
    assert found["0"] == [1, 2, 3, 4, 5, 6, 7, 0, 0, 0]
    assert found["10"] == [0.01] * 10


def test_a_list_of_cores_is_spread_out() -> None:
    assert cpu.parse_cpu_list("0-2,8\n") == ["0", "1", "2", "8"]
    assert cpu.parse_cpu_list("\n") == []


def test_idle_time_that_runs_back_a_little_stands_still() -> None:
    before, now = [5.0] * 10, [6.0, 6.0, 6.0, 4.9, *[6.0] * 6]
    assert cpu.never_back(before, now)[cpu.IDLE] == 5.0


def test_a_core_that_was_unplugged_starts_anew() -> None:
    before, now = [50.0] * 10, [1.0] * 10
    assert cpu.never_back(before, now) == now


def test_pressure_is_in_seconds() -> None:
    text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    assert kernel.parse_pressure(text) == {"some": 2.5, "full": 0.000001}


def test_interrupts_have_devices_where_they_have_a_number_and_a_tight_colon_is_one() -> None:
    text = "   CPU0   CPU1\n  9:1 2 GICv3 25 Level vgic, arch timer\nIPI0:  3  4  Rescheduling interrupts\nErr: 0\n"
    assert list(kernel.parse_interrupts(text)) == [
        ("9", "GICv3", "25 Level vgic, arch timer", ["1", "2"]),
        ("IPI0", "Rescheduling interrupts", "", ["3", "4"]),
    ]


def test_softnet_of_old_kernels_is_filled_up_and_numbered() -> None:
    old, middle = list(sockets.parse_softnet(f"{'00000001 ' * 9}\n{'0000000a ' * 11}\n"))
    assert old == [1] * 9 + [0, 0, 0, 0]
    assert middle == [10] * 11 + [0, 1]
    with pytest.raises(ValueError, match="columns"):
        list(sockets.parse_softnet("1 2 3\n"))


def test_conntrack_is_summed_over_cpus_with_or_without_the_last_column() -> None:
    row = " ".join(["0000000a"] * 16)
    assert sockets.parse_conntrack(f"header\n{row}\n{row} 00000002\n") == [20] * 16 + [2]


def test_udp_queues_are_summed() -> None:
    line = " 0: 00000000:0016 00000000:0000 07 00000015:00000002 00:00000000 00000000 0 0 1 2 0 0\n"
    assert sockets.parse_udp_queues("header\n" + line * 2) == (42.0, 4.0)
    assert sockets.parse_udp_queues("") == (0.0, 0.0)


def test_socket_memory_is_told_in_pages_and_bytes() -> None:
    found = {(protocol, key): value for protocol, key, value in sockets.parse_sockstat("TCP: inuse 4 mem 2\n")}
    assert found == {("TCP", "inuse"): 4, ("TCP", "mem"): 2, ("TCP", "mem_bytes"): 2 * sockets.PAGE}


def test_disks_of_old_kernels_have_fewer_columns() -> None:
    (disk,) = disks.parse_diskstats("   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n")
    assert (disk.major, disk.minor, disk.name, len(disk.counts)) == ("8", "0", "sda", 11)


def test_the_serial_of_a_disk_is_the_first_that_udev_has() -> None:
    disk = disks.Disk("8", "0", "sda", [])
    for udev, serial in (
        ({"SCSI_IDENT_SERIAL": "a", "ID_SERIAL_SHORT": "b", "ID_SERIAL": "c"}, "a"),
        ({"ID_SERIAL_SHORT": "b", "ID_SERIAL": "c"}, "b"),
        ({"ID_SERIAL": "c"}, "c"),
        ({}, ""),
    ):
        (sample,) = disks.describe(disk, udev, "0")
        assert dict(zip(sample.family.labels, sample.labels, strict=True))["serial"] == serial


def test_a_command_with_parentheses_and_spaces_is_no_state() -> None:
    assert processes.parse_pid_stat("7 (a) R (b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 13 0 9 1 1\n") == ("S", 13)


def test_limits_of_a_process_are_found_and_none_is_the_largest_number() -> None:
    limits = (
        "Max open files            1024                 4096  files\nMax address space   unlimited  unlimited bytes\n"
    )
    assert processes.parse_limit(limits, "Max open files") == 1024
    assert processes.parse_limit(limits, "Max address space") == float(2**64 - 1)


@pytest.mark.parametrize(
    ("lines", "array"),
    [
        (
            "md0 : active raid1 sdb1[1] sda1[0]\n 523968 blocks super 1.2 [2/2] [UU]\n",
            raid.Array("md0", "active", 2, 2, 0, 0, 523968, 523968),
        ),
        (
            "md1 : active (auto-read-only) raid5 a[3](F) b[2] c[1](S)\n 100 blocks level 5 [3/2] [UU_]\n"
            "  [>....]  reshape = 1.0% (1/100) finish=1.0min speed=1K/sec\n",
            raid.Array("md1", "reshaping", 3, 2, 1, 1, 100, 1),
        ),
        (
            "md2 : active raid1 a[1] b[0]\n 100 blocks [2/2] [UU]\n\tresync=PENDING\n",
            raid.Array("md2", "resyncing", 2, 2, 0, 0, 100, 0),
        ),
        (
            "md3 : active raid1 a[1] b[0]\n 100 blocks [2/2] [UU]\n      resync=PENDING\n      bitmap: 1/1 pages\n",
            raid.Array("md3", "resyncing", 2, 2, 0, 0, 100, 0),
        ),
        ("md4 : inactive a[0](S)\n 100 blocks super x\n", raid.Array("md4", "inactive", 0, 0, 0, 1, 100, 100)),
    ],
)
def test_arrays_are_told_with_their_state(lines: str, array: raid.Array) -> None:
    assert list(raid.parse_mdstat(f"Personalities : [raid1]\n{lines}\nunused devices: <none>\n")) == [array]


def test_no_arrays_are_no_fault() -> None:
    assert list(raid.parse_mdstat("Personalities : \nunused devices: <none>\n")) == []


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("temp1_crit_alarm", ("temp1", "temp", "crit_alarm")),
        ("pwm1", ("pwm1", "pwm", "")),
        ("beep_enable", ("beep_enable0", "beep_enable", "")),
        ("in0_input", ("in0", "in", "input")),
        ("uevent", None),
        ("name", None),
    ],
)
def test_sensor_files_are_told_by_their_names(name: str, parsed: tuple[str, str, str] | None) -> None:
    assert hwmon.parse_file_name(name) == parsed


def test_chips_that_share_a_device_are_told_apart() -> None:
    def chip(base: str, name: str, directory: str) -> hwmon.Chip:
        return hwmon.Chip(directory, 1, base, name, [])

    chips = [
        chip("platform_x", "fans", "class/hwmon/hwmon0"),
        chip("platform_x", "wmi", "class/hwmon/hwmon1"),
        chip("pci_y", "same", "class/hwmon/hwmon2"),
        chip("pci_y", "same", "class/hwmon/hwmon3"),
        chip("alone", "alone", "class/hwmon/hwmon4"),
    ]
    assert hwmon.chip_labels(chips) == ["platform_x_fans", "platform_x_wmi", "pci_y_hwmon2", "pci_y_hwmon3", "alone"]


def test_energy_zones_have_the_index_of_their_name_or_are_counted() -> None:
    seen: dict[str, int] = {}
    names = [hardware.parse_zone_name(name, seen) for name in ("package-0", "core", "core", "package-10")]
    assert names == [("package", "0"), ("core", "0"), ("core", "1"), ("package", "10")]


def test_a_dimm_label_is_written_as_dashboards_know_it() -> None:
    assert hardware.edac_label("mc#0csrow#1channel#0") == "mc0_csrow1_channel0"
    assert hardware.edac_label(None) == "unknown"


@pytest.mark.parametrize(
    ("text", "size"), [("1.5k", 1524), ("2.10M", 3121152), ("-427.5k", -437748), ("512", 512), ("0", 0), ("1.9", 1)]
)
def test_sizes_of_bcache_are_read_with_their_odd_fractions(text: str, size: float) -> None:
    assert bcache.parse_size(text) == size


def test_sizes_of_bcachefs_are_powers_of_1024() -> None:
    assert [bcachefs.parse_size(text) for text in ("512M", " 1.5k", "67890")] == [512 * 2**20, 1536, 67890]


def test_a_kstat_without_its_header_is_refused() -> None:
    with pytest.raises(ValueError, match="kstat"):
        list(zfs.parse_kstat("hits 4 1\n"))


def test_a_dataset_name_may_hold_spaces() -> None:
    text = "36 1 0x01\nname type data\ndataset_name                    7    tank/home of mine\nreads 4 2\n"
    assert dict(zfs.parse_kstat(text)) == {"dataset_name": "tank/home of mine", "reads": "2"}


def test_xfs_lines_that_nobody_asked_for_are_left_out() -> None:
    assert xfs.parse_xfs("rw 1 2\nqm 0 0\nxpc 3\n\n") == {"rw": [1, 2]}


def test_rpc_lines_are_numbers_even_where_threads_have_fractions() -> None:
    assert nfs.parse_rpc("th 8 0 0.000 1.5\nnet 1 2 3 4\n")["th"] == [8, 0, 0, 1.5]


def test_addresses_of_ipvs_are_hexadecimal_or_in_brackets() -> None:
    assert ipvs.parse_address("C0A80016:0CEA") == ("192.168.0.22", "3306")
    assert ipvs.parse_address("[2620:0000:0000:0000:0000:0000:0000:0001]:0050") == ("2620::1", "80")


def test_rates_and_states_of_infiniband() -> None:
    assert fabric.parse_rate("2.5 Gb/sec (1X SDR)") == 312500000
    assert fabric.parse_state("4: ACTIVE") == 4
    assert fabric.parse_port_counter("N/A (no PMA)") is None


def test_os_release_is_read_with_quotes_escapes_and_comments() -> None:
    found = identity.parse_os_release('# x\nNAME=\'a b\'\nPRETTY_NAME="say \\"hi\\" \\$1"\nID=c\nbroken\n')
    assert found == {"name": "a b", "pretty_name": 'say "hi" $1', "id": "c"}


def test_selinux_modes() -> None:
    modes = [identity.parse_selinux_config(text) for text in ("SELINUX=enforcing\n", "SELINUX = permissive\n", "")]
    assert modes == [1, 0, -1]


def test_network_flags_and_numbers() -> None:
    assert [netclass.admin_state(flags) for flags in (4099.0, 4098.0, None)] == ["up", "down", "unknown"]
    assert [netclass.parse_number(text) for text in ("0x10", "-1", "", "x")] == [16, -1, None, None]


def test_the_clock_is_told_in_seconds_by_its_resolution() -> None:
    clock = timex.Timex(offset=2_000_000, freq=65536 * 1_000_000, status=timex.STA_NANO, tick=10_000)
    found = {sample.family.name: sample.value for sample in timex.timex_samples(0, clock)}
    assert found["node_timex_offset_seconds"] == 0.002
    assert found["node_timex_frequency_adjustment_ratio"] == 2
    assert found["node_timex_sync_status"] == 1
    assert found["node_timex_tick_seconds"] == 0.01


@pytest.mark.parametrize(
    "parse",
    [
        cpu.parse_cpu_times,
        kernel.parse_interrupts,
        kernel.parse_pressure,
        kernel.parse_schedstat,
        disks.parse_diskstats,
        raid.parse_mdstat,
        sockets.parse_softnet,
        sockets.parse_sockstat,
        sockets.parse_conntrack,
        sockets.parse_udp_queues,
        zfs.parse_kstat,
        xfs.parse_xfs,
        ipvs.parse_backends,
        identity.parse_os_release,
    ],
)
@given(text=st.text(alphabet="0123456789abcdef :[]()/_.-#\n\t\0cpumdx"))
def test_garbage_is_parsed_or_refused_and_nothing_else(parse: object, text: str) -> None:
    with contextlib.suppress(ValueError, KeyError, IndexError):
        list(parse(text))  # type: ignore[operator]  # one of the functions above
