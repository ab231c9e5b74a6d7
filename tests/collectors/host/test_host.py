"""The collector as a whole: parts fail alone, options choose them, nothing is touched before the first round."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Collector
from collectors.host import Host, Options, hwmon, memory
from collectors.host.machine import MAX_KEPT, Families, Filter, Tree

SUCCESS = "node_scrape_collector_success"


async def successes(host: Host) -> dict[str, float]:
    return {sample.labels[0]: sample.value for sample in await host.collect() if sample.family.name == SUCCESS}


def test_the_constructor_touches_nothing(tmp_path: Path) -> None:
    host = Host(Options(proc=f"{tmp_path}/none", sys=f"{tmp_path}/none", rootfs=f"{tmp_path}/none"))
    assert host.counters_since == 0
    assert isinstance(host, Collector)
    host.close()


async def test_a_machine_without_anything_fails_in_parts_and_not_as_a_whole(tmp_path: Path) -> None:
    host = Host(Options(proc=f"{tmp_path}/none", sys=f"{tmp_path}/none", rootfs=f"{tmp_path}/none"))
    found = await successes(host)
    host.close()
    assert found["cpu"] == 0
    assert found["timex"] == 1 or found["uname"] == 1


async def test_counters_began_when_the_machine_booted(host: Callable[..., Host]) -> None:
    collector = host()
    await collector.collect()
    assert collector.counters_since == 1700000000


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("proc/stat", "cpu"),
        ("proc/meminfo", "meminfo"),
        ("proc/diskstats", "diskstats"),
        ("proc/mdstat", "mdadm"),
        ("proc/net/netstat", "netstat"),
        ("proc/net/softnet_stat", "softnet"),
        ("proc/net/ip_vs_stats", "ipvs"),
        ("proc/spl/kstat/zfs/arcstats", "zfs"),
        ("sys/class/thermal/thermal_zone0/temp", "thermal_zone"),
    ],
)
async def test_garbage_fails_one_part_alone(host: Callable[..., Host], planted: Path, file: str, part: str) -> None:
    before = await successes(host())
    (planted / file).write_bytes(b"\0\xff\xfe garbage : not a number\nmore of it 1 x\n" * 7)
    after = await successes(host())
    assert before[part] == 1
    changed = {name for name in before if before[name] != after[name]}
    assert part in changed
    assert changed <= {part, "stat", "process", "cpu"}, "stat is what two more parts read"


async def test_a_part_that_may_not_read_its_file_fails_alone(host: Callable[..., Host], planted: Path) -> None:
    (planted / "proc/meminfo").unlink()
    (planted / "proc/meminfo").mkdir()
    found = await successes(host())
    assert found["meminfo"] == 0
    assert found["vmstat"] == 1


async def test_what_a_part_found_before_it_failed_is_kept(host: Callable[..., Host], planted: Path) -> None:
    (planted / "sys/devices/system/edac/mc/mc0/csrow0/ue_count").write_text("x")
    names = {sample.family.name for sample in await host().collect()}
    assert "node_edac_correctable_errors_total" in names


async def test_a_file_that_comes_back_is_read_again(host: Callable[..., Host], planted: Path) -> None:
    collector = host()
    text = (planted / "proc/loadavg").read_text()
    (planted / "proc/loadavg").unlink()
    assert (await successes(collector))["loadavg"] == 0
    (planted / "proc/loadavg").write_text(text)
    assert (await successes(collector))["loadavg"] == 1


async def test_hardware_that_does_not_answer_takes_its_own_part_alone(
    host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr("collectors.host.SLOW_TIMEOUT", 0.2)
    collector = host()
    collector._parts["hwmon"] = collector._parts["hwmon"]._replace(run=lambda: [answer.wait(30)][:0])
    found = await successes(collector)
    assert found["hwmon"] == 0
    assert found["cpufreq"] == found["thermal_zone"] == 1
    answer.set()


async def test_the_loop_breathes_between_parts(host: Callable[..., Host]) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await host().collect()
    counting.cancel()
    assert turns >= 2


async def test_options_choose_the_parts(host: Callable[..., Host]) -> None:
    found = await successes(host(enable=("interrupts", "tcpstat"), disable=("zfs", "systemd")))
    assert {"interrupts", "tcpstat"} <= found.keys()
    assert not {"zfs", "systemd"} & found.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enable": ["interupts"]}, "Invalid enum value 'interupts' - at `$.enable[0]`"),
        ({"mounts_exclude": "("}, "mounts_exclude: is no regular expression"),
        ({"procfs": "/proc"}, "unknown field `procfs`"),
    ],
)
def test_wrong_options_say_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="(?i)" + message.replace("$", r"\$").replace("[0]", r"\[0\]")):
        msgspec.convert(options, Options)


def test_a_filter_excludes_first_and_then_includes() -> None:
    chosen = Filter("^lo", "^(lo|eth)")
    assert [chosen(name) for name in ("lo", "eth0", "wlan0", "eth0")] == [False, True, False, True]


def test_families_made_at_run_time_stay_the_same_objects() -> None:
    families = Families()
    assert families("gauge", "a", "help", "x") is families("gauge", "a", "help", "x")
    assert families("gauge", "a", "help", "x") is not families("gauge", "a", "help", "y")


def test_open_files_are_bounded(tree: Path) -> None:
    files = Tree(f"{tree}/proc")
    for number in range(MAX_KEPT + 5):
        (tree / f"proc/{number}").write_text(f"{number}\n")
        assert files.kept(str(number)) == f"{number}\n"
    assert len(files._kept) == MAX_KEPT
    files.close()


def test_a_kept_file_is_read_from_its_start_each_time(tree: Path) -> None:
    files = Tree(f"{tree}/proc")
    place = tree / "proc/counter"
    for text in ("1\n", "22\n", "x" * 100_000, ""):
        place.write_text(text)
        assert files.kept("counter") == text
    files.close()


@given(st.text())
def test_meminfo_yields_numbers_or_says_that_it_is_none(text: str) -> None:
    try:
        found = list(memory.parse_meminfo(text))
    except ValueError:
        return
    assert all(type(value) is int for _name, value, _unit in found)


@given(st.text())
def test_sensor_names_never_break_a_metric_name(name: str) -> None:
    assert all(letter in "abcdefghijklmnopqrstuvwxyz0123456789:_" for letter in hwmon.clean(name))
