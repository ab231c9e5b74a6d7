"""How fast remote write is encoded, against the protobuf library in the same run.

.venv/bin/python tests/bench/bench_encode.py
"""

from __future__ import annotations

import gc
import importlib.util
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import cramjam
from grpc_tools import protoc

from agent.exposition import Exposition
from agent.model import Histogram, MetricBatch, Series, SeriesSet, Value
from exporters.wire.remote_write_1 import RemoteWrite1
from exporters.wire.remote_write_2 import RemoteWrite2

PROTO = Path(__file__).parents[1] / "data" / "proto"
START, NOW = 1_750_000_000_000, 1_760_000_000_000


def generated(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"{name}.proto"])
        spec = importlib.util.spec_from_file_location(f"{name}_pb2", Path(folder) / f"{name}_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def make_set(count: int) -> SeriesSet:
    """Series of 8 labels beside the name, of which two vary; half are counters."""
    fixed = [("cluster", "production-1"), ("env", "prod"), ("instance", "host-0001.example.com"), ("job", "node")]
    return SeriesSet(
        [
            Series(
                name=f"node_metric_{at % 100}_total",
                kind="counter" if at % 2 else "gauge",
                help=f"What metric {at % 100} counts, in a sentence.",
                unit="",
                labels=(("cpu", str(at % 64)), ("device", f"dev-{at}"), *fixed, ("mode", "user"), ("region", "eu-1")),
                start_ms=START if at % 2 else 0,
            )
            for at in range(count)
        ]
    )


def make_batches(series: SeriesSet, count: int) -> list[MetricBatch]:
    values: list[list[Value]] = [[at * 1.5 + tick for at in range(len(series))] for tick in range(count)]
    return [MetricBatch("host", NOW + 15_000 * tick, series, row) for tick, row in enumerate(values)]


def best(work: Callable[[], object], rounds: int = 15) -> float:
    """The shortest of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return min(times)


def library_1(module: Any, batches: list[MetricBatch]) -> bytes:
    request = module.WriteRequest()
    for at, one in enumerate(batches[0].series.series):
        series = request.timeseries.add()
        for name, value in sorted((("__name__", one.name), *one.labels)):
            series.labels.add(name=name, value=value)
        for batch in batches:
            series.samples.add(value=batch.values[at], timestamp=batch.time_ms)
    return bytes(request.SerializeToString())


def library_2(module: Any, batches: list[MetricBatch]) -> bytes:
    request = module.Request()
    symbols: dict[str, int] = {"": 0}

    def ref(symbol: str) -> int:
        return symbols.setdefault(symbol, len(symbols))

    for at, one in enumerate(batches[0].series.series):
        series = request.timeseries.add()
        pairs = sorted((("__name__", one.name), *one.labels))
        series.labels_refs.extend([ref(symbol) for pair in pairs for symbol in pair])
        series.metadata.type = 1 if one.kind == "counter" else 2
        series.metadata.help_ref = ref(one.help)
        for batch in batches:
            series.samples.add(value=batch.values[at], timestamp=batch.time_ms, start_timestamp=one.start_ms)
    request.symbols.extend(symbols)
    return bytes(request.SerializeToString())


def cache_bytes(encode: Callable[[list[MetricBatch]], object], count: int) -> float:
    """Memory kept after encoding, per series."""
    batches = make_batches(make_set(count), 1)
    tracemalloc.start()
    encode(batches)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / count


def row(what: str, ours: float, other: float | None, note: str = "") -> None:
    ratio = f"{other / ours:6.1f}x" if other else "      -"
    against = f"{other * 1e3:9.2f}" if other else "        -"
    print(f"{what:44} {ours * 1e3:9.2f} {against} {ratio}  {note}")


def main() -> None:
    one, two = generated("remote_write_1"), generated("remote_write_2")
    print(f"{'what':44} {'ours ms':>9} {'other ms':>9} {'ratio':>7}")
    for count, ticks in ((10_000, 1), (1_380, 1), (1_380, 20)):
        batches = make_batches(make_set(count), ticks)
        samples = count * ticks
        for name, ours, other in (
            ("1.0", RemoteWrite1().encode, lambda b=batches: library_1(one, b)),
            ("2.0", RemoteWrite2().encode, lambda b=batches: library_2(two, b)),
        ):
            first = best(lambda b=batches, o=ours: o(b), 1)
            again = best(lambda b=batches, o=ours: o(b))
            what = f"encode {name}, {count} series x {ticks}"
            note = f"{again / samples * 1e9:.0f} ns a sample; first time {first * 1e3:.1f} ms"
            row(what, again, best(other, 3), note)
    body = RemoteWrite1().encode(make_batches(make_set(10_000), 1)).body
    row("snappy, 10,000 series of 1.0", best(lambda: cramjam.snappy.compress_raw(body)), None, f"{len(body)} bytes")
    bounds = tuple(float(bound) for bound in range(12))
    series = SeriesSet([Series("h", "histogram", "", "", (("id", str(at)),)) for at in range(100)])
    value = Histogram(bounds, tuple(float(at) for at in range(13)), 1.0)
    slow = [MetricBatch("scrape", NOW, series, [value] * 100)]
    for name, encode in (("1.0", RemoteWrite1().encode), ("2.0", RemoteWrite2().encode)):
        row(f"encode {name}, 100 histograms of 13 buckets", best(lambda e=encode: e(slow)), None, "slow path")
    page, pages = Exposition(), make_batches(make_set(1_500), 1)
    row("exposition, 1,500 series", best(lambda: page.render(pages)), None, f"{len(page.render(pages))} bytes")
    print(f"cache of 1.0: {cache_bytes(RemoteWrite1().encode, 10_000):.0f} bytes a series")
    keep = RemoteWrite2()
    print(f"cache of 2.0: {cache_bytes(keep.encode, 10_000):.0f} bytes a series")


if __name__ == "__main__":
    main()
