"""JSON lines, one a sample, to a file or standard output.

    {"time":"2026-01-02T03:04:05.000Z","name":"up","labels":{"job":"x"},"type":"gauge","value":1.0}

What JSON has no number for is a string: "NaN", "+Inf", "-Inf", and "stale" for the end of a series. A request is
written whole or, on a regular file, taken back, so that a full disk leaves no torn line behind. The file is opened
for each request: another program may rotate it too.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from msgspec import Meta, Struct, to_builtins

from agent.exposition import openmetrics_bound
from agent.model import (
    Batch,
    Delivered,
    Histogram,
    MetricBatch,
    NativeHistogram,
    Request,
    Retry,
    Series,
    SeriesSet,
    Signal,
    Stale,
    Summary,
    Value,
)
from config import Size

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STANDARD_OUTPUT: Final = 1
_MAX_ITEMS: Final = 10_000


class File:
    """The exporter. `path` "-" is standard output, which is never rotated."""

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[exporters.file]`; `keep` is the number of rotated files beside the one written to."""

        path: Annotated[str, Meta(min_length=1)]
        max_size: Annotated[Size, Meta(gt=0)] = Size("64MiB")
        keep: Annotated[int, Meta(ge=0, le=1000)] = 5

    signals = frozenset({Signal.METRICS})
    max_items = _MAX_ITEMS

    def __init__(self, options: File.Options, timeout: float = 30.0) -> None:
        """`timeout` in seconds: after it a write is answered for as not taken yet; it cannot be given up."""
        self._options = options
        self._timeout = timeout
        self._writing: asyncio.Future[None] | None = None

    def encode(self, batches: Sequence[Batch]) -> Request:
        """The lines of the batches, oldest first."""
        return Request(b"".join([_encode_batch(batch) for batch in batches]), samples=sum(map(len, batches)))

    async def send(self, request: Request) -> Delivered:
        """Append the lines; raises `Retry` when the file cannot be written, or does not take them in time.

        A pipe that nobody reads and a dead network mount hold up a thread and not the agent. The write under way is
        then waited for by the attempts that follow, so that nothing is written twice.
        """
        name = "standard output" if self._options.path == "-" else self._options.path
        if self._writing is None:
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, request.body)
        await asyncio.wait({self._writing}, timeout=self._timeout)
        if not self._writing.done():
            raise Retry(f"{name} does not take what is written, for {self._timeout:g} s", kind="timeout")
        written, self._writing = self._writing, None
        try:
            written.result()
        except OSError as error:
            raise Retry(f"cannot write to {name}: {error.strerror or error}", kind="io") from error
        return Delivered()

    def _write(self, body: bytes) -> None:
        if self._options.path == "-":
            _write_all(_STANDARD_OUTPUT, body)
        else:
            self._rotate(Path(self._options.path), len(body))
            _append(self._options.path, body)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _rotate(self, path: Path, more: int) -> None:
        """Make room for `more` bytes: path.1 is the newest of the files before."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode) or found.st_size == 0 or found.st_size + more <= self._options.max_size:
            return
        if self._options.keep == 0:
            path.unlink()
            return
        for number in range(self._options.keep - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))


def _append(path: str, body: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        found = os.fstat(file)
        try:
            _write_all(file, body)
        except OSError:
            if stat.S_ISREG(found.st_mode):
                os.ftruncate(file, found.st_size)
            raise
    finally:
        os.close(file)


def _write_all(file: int, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(file, rest) :]


def _encode_batch(batch: MetricBatch) -> bytes:
    time = _encode_time(batch.time_ms)
    lines: list[bytes] = []
    for at, (prefix, value) in enumerate(zip(_prefixes(batch.series), batch.values, strict=True)):
        extra = batch.extras.get(at)
        own = _encode_time(extra.time_ms) if extra and extra.time_ms else time
        lines += own, prefix, orjson.dumps(_jsonable(value)), b"}\n"
    return b"".join(lines)


def _encode_time(time_ms: int) -> bytes:
    text = (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return f'{{"time":"{text}Z"'.encode()


def _prefixes(series: SeriesSet) -> list[bytes]:
    """What stands between time and value, cached with the set."""
    if (found := series.cache.get("file")) is None:
        found = series.cache["file"] = [_encode_series(one) for one in series.series]
    return found


def _encode_series(series: Series) -> bytes:
    facts = {"name": series.name, "labels": dict(series.labels), "type": series.kind}
    return b"," + _dumps(facts)[1:-1] + b',"value":'


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, which UTF-8 cannot carry
        return orjson.dumps(_replaced(value))


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {_replaced(key): _replaced(one) for key, one in value.items()}
    return value.encode("utf-8", "replace").decode()


def _jsonable(value: Value | Stale) -> Any:
    if isinstance(value, Stale):
        return "stale"
    if isinstance(value, Histogram):
        bounds = [*map(openmetrics_bound, value.bounds), "+Inf"]
        counts = dict(zip(bounds, map(_number, value.counts), strict=True))
        return {"buckets": counts, "sum": _number(value.sum), "count": _number(value.counts[-1])}
    if isinstance(value, Summary):
        quantiles = {openmetrics_bound(quantile): _number(at) for quantile, at in value.quantiles}
        return {"quantiles": quantiles, "sum": _number(value.sum), "count": _number(value.count)}
    if isinstance(value, NativeHistogram):
        return {**to_builtins(value), "sum": _number(value.sum)}
    return _number(value)


def _number(value: float) -> float | str:
    if isfinite(value):
        return value
    if isnan(value):
        return "NaN"
    return "+Inf" if value == inf else "-Inf"
