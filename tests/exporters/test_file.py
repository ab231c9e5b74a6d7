"""JSON lines to files: the lines, rotation, and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.model import (
    STALE,
    Delivered,
    Extra,
    Histogram,
    MetricBatch,
    NativeHistogram,
    Request,
    Retry,
    Series,
    SeriesSet,
    Summary,
)
from config import Size
from exporters.file import File

T0 = 1_767_323_045_006


def batch(value: Any, kind: Any = "gauge", extra: Extra | None = None) -> MetricBatch:
    series = SeriesSet([Series("m", kind, "", "", (("a", 'q"\n'), ("job", "x")))])
    return MetricBatch("c", T0, series, [value], {0: extra} if extra else None)


def exporter(path: Path | str, max_size: str = "64MiB", keep: int = 5) -> File:
    return File(File.Options(path=str(path), max_size=Size(max_size), keep=keep))


def value_of(value: Any, kind: Any = "gauge") -> Any:
    return json.loads(exporter("-").encode([batch(value, kind)]).body)["value"]


def test_a_line_has_time_name_labels_type_and_value() -> None:
    request = exporter("-").encode([batch(1.5, "counter")])
    assert request.samples == 1
    assert request.body.endswith(b"}\n")
    assert json.loads(request.body) == {
        "time": "2026-01-02T03:04:05.006Z",
        "name": "m",
        "labels": {"a": 'q"\n', "job": "x"},
        "type": "counter",
        "value": 1.5,
    }


def test_a_sample_with_a_time_of_its_own_shows_it() -> None:
    body = exporter("-").encode([batch(1.0, extra=Extra(time_ms=1000))]).body
    assert json.loads(body)["time"] == "1970-01-01T00:00:01.000Z"


@pytest.mark.parametrize(
    ("value", "written"),
    [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (STALE, "stale"), (-0.0, -0.0), (3, 3)],
)
def test_what_is_no_json_number_is_a_string(value: Any, written: Any) -> None:
    assert value_of(value) == written


def test_compound_values_are_objects() -> None:
    assert value_of(Histogram((0.5,), (1.0, 3.0), float("nan")), "histogram") == {
        "buckets": {"0.5": 1.0, "+Inf": 3.0},
        "sum": "NaN",
        "count": 3.0,
    }
    assert value_of(Summary(3.0, 2.0, ((0.5, 0.1),)), "summary") == {
        "quantiles": {"0.5": 0.1},
        "sum": 2.0,
        "count": 3.0,
    }
    assert value_of(NativeHistogram(3, 1.0, 2.0), "histogram")["schema"] == 3


def test_lone_surrogates_do_not_stop_a_line() -> None:
    series = SeriesSet([Series("m", "gauge", "", "", (("path", "caf\udce9"),))])
    body = exporter("-").encode([MetricBatch("c", T0, series, [1.0])]).body
    assert json.loads(body)["labels"] == {"path": "caf?"}


async def test_requests_are_appended(tmp_path: Path) -> None:
    target = exporter(tmp_path / "out.jsonl")
    for value in (1.0, 2.0):
        assert await target.send(target.encode([batch(value)])) == Delivered()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [1.0, 2.0]


async def test_others_cannot_read_the_file(tmp_path: Path) -> None:
    await exporter(tmp_path / "out").send(Request(b"x\n"))
    assert (tmp_path / "out").stat().st_mode & 0o007 == 0


async def test_a_file_that_would_grow_too_large_is_rotated(tmp_path: Path) -> None:
    target = exporter(tmp_path / "out", "10B", keep=2)
    for text in (b"1234567\n", b"2\n", b"3\n", b"4\n", b"567890123456\n"):
        await target.send(Request(text))
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"out": b"567890123456\n", "out.1": b"3\n4\n", "out.2": b"1234567\n2\n"}


async def test_without_kept_files_the_old_one_goes(tmp_path: Path) -> None:
    target = exporter(tmp_path / "out", "4B", keep=0)
    for text in (b"123\n", b"4\n"):
        await target.send(Request(text))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"4\n"}


async def test_a_request_larger_than_the_limit_is_written_all_the_same(tmp_path: Path) -> None:
    await exporter(tmp_path / "out", "1B").send(Request(b"12345\n"))
    assert (tmp_path / "out").read_bytes() == b"12345\n"


@pytest.mark.parametrize("path", ["missing/out", "."])
async def test_what_cannot_be_written_is_retried(tmp_path: Path, path: str) -> None:
    with pytest.raises(Retry, match="cannot write to") as caught:
        await exporter(tmp_path / path).send(Request(b"x\n"))
    assert caught.value.kind == "io"


async def test_a_device_without_room_is_retried() -> None:
    with pytest.raises(Retry, match="No space left"):
        await exporter("/dev/full").send(Request(b"x\n"))


@contextlib.contextmanager
def file_limit() -> Iterator[None]:
    """Files end at 10 bytes, as on a disk that is full; a write across the end is cut, the next one fails.

    Around the write alone: the report of the test may go to a file as well.
    """
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_write_that_was_cut_is_taken_back(tmp_path: Path) -> None:
    target = exporter(tmp_path / "out")
    with file_limit():
        await target.send(Request(b"12345\n"))
        with pytest.raises(Retry, match="File too large"):
            await target.send(Request(b"67890123\n"))
    assert (tmp_path / "out").read_bytes() == b"12345\n"


async def test_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    await exporter("-").send(Request(b"line\n"))
    assert capfd.readouterr().out == "line\n"


async def test_a_pipe_that_nobody_reads_any_more_is_retried(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with pytest.raises(Retry):
            await exporter(f"/proc/self/fd/{write}").send(Request(b"x\n"))
    finally:
        os.close(write)


async def test_a_pipe_that_nobody_reads_holds_up_one_exporter_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    exporter = File(File.Options(path=str(path)), timeout=0.05)
    request = Request(b"x" * 1_000_000)
    with pytest.raises(Retry) as caught:
        await exporter.send(request)
    assert caught.value.kind == "timeout"
    got = bytearray()

    async def read() -> None:
        while len(got) < 1_000_000:
            try:
                got.extend(os.read(reader, 65_536))
            except BlockingIOError:
                await asyncio.sleep(0.001)

    task = asyncio.create_task(read())
    patient = File(File.Options(path=str(path)), timeout=30.0)
    patient._writing = exporter._writing
    assert await patient.send(request) == Delivered()
    await task
    os.close(reader)
    assert bytes(got) == request.body, "once"
