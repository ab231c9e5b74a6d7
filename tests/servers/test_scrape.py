"""What the agent makes of pages and writes to a Prometheus, against what another that scrapes them itself holds."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from collectors.scrape.client import ACCEPT, ACCEPT_NATIVE
from tests.collectors.scrape.messages import (
    BOTH,
    EVERYTHING,
    FATAL,
    NATIVES,
    PROTOBUF_TYPE,
    REFUSED,
    buckets,
    family,
    metric,
    page,
)
from tests.collectors.scrape.pages import ZOO
from tests.conftest import free_port, need_peer
from tests.daemon import NIGHTJAR, Process, get, query, within
from tests.servers.scrape_servers import Held, Job, Key, Page, Scraper, differences, serving, stored

pytestmark = pytest.mark.servers
"""
KNOWN differences, which the tests take into account:

- Blanks before a sample of the text format: Prometheus makes them a part of the metric's name.
- `_created` of OpenMetrics: the start time of its counter here, a series of its own there.
- A sample of OpenMetrics with a space or ` # 1` after it: Prometheus counts it before it refuses the page.
- The label `agent`, and `scrape_failure_info`: ours.
"""


@pytest.fixture
def keeper(scraper: Scraper) -> str:
    """A Prometheus that takes what the agent writes."""
    return scraper()


@pytest.fixture
def agent(tmp_path: Path, keeper: str) -> Iterator[Callable[..., Process]]:
    """`agent("3s", "options of a section", …)`: an agent that scrapes and writes to the `keeper`."""
    processes: list[Process] = []

    def start(interval: str, *sections: str) -> Process:
        config = tmp_path / "agent.toml"
        config.write_text(
            f'''
            [agent]
            instance = "here"
            interval = "{interval}"
            state_dir = "{tmp_path / "state"}"
            listen = ""
            [exporters.remote_write]
            url = "{keeper}/api/v1/write"
            '''
            + "".join([f"[[collectors.scrape]]\n{section}\n" for section in sections])
        )
        processes.append(Process([NIGHTJAR, "run", "-c", str(config)], tmp_path / "agent.log"))
        return processes[-1]

    yield start
    for process in processes:
        process.__exit__()


EVERY = 5  # seconds; a thousand targets are scraped by both, and machines may be slow


def settled(base: str, counts: dict[str, int]) -> None:
    """Wait until all targets of each job were scraped twice."""

    def twice() -> bool:
        found = query(base, "count by (job) (count_over_time(up[1m]) > 1)")
        seen = {one["metric"]["job"]: int(one["value"][1]) for one in found}
        return all(seen.get(job, 0) >= count for job, count in counts.items())

    within(90, twice, f"all targets are scraped: {counts}")


def compared(mine: Held, theirs: Held) -> list[str]:
    """The differences between what two Prometheus hold of a target, but the reasoned ones."""
    created = {key for key in theirs.keys() - mine.keys() if dict(key)["__name__"].endswith("_created")}
    drop = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_failure_info")
    vary = ("scrape_duration_seconds", "scrape_series_added")
    left, right = (
        {
            key: 0.0 if dict(key)["__name__"] in vary else value
            for key, value in one.items()
            if dict(key)["__name__"] not in drop and key not in created
        }
        for one in (mine, theirs)
    )
    return differences(left, right)


RULES = """\
metric_relabel_configs:
- {source_labels: [__name__], regex: "bar_bucket|go_.*", action: drop}
- {source_labels: [__name__, le], regex: "h_bucket;1.0", action: drop}
- {source_labels: [path], regex: "/api/(.*)", target_label: version, replacement: "${1}x$$"}
- {source_labels: [method, version], separator: "-", target_label: both, action: lowercase}
- {regex: "(co)de", replacement: "${1}py", action: labelmap}
- {regex: "error|method", action: labeldrop}
- {source_labels: [instance], target_label: shard, modulus: 7, action: hashmod}
- {source_labels: [__name__], regex: "acme_(.*)", target_label: __name__, replacement: "$1"}
"""
OUR_RULES = [
    '{ source_labels = ["__name__"], regex = "bar_bucket|go_.*", action = "drop" }',
    '{ source_labels = ["__name__", "le"], regex = "h_bucket;1.0", action = "drop" }',
    '{ source_labels = ["path"], regex = "/api/(.*)", target_label = "version", replacement = "$${1}x$$" }',
    '{ source_labels = ["method", "version"], separator = "-", target_label = "both", action = "lowercase" }',
    '{ regex = "(co)de", replacement = "$${1}py", action = "labelmap" }',
    '{ regex = "error|method", action = "labeldrop" }',
    '{ source_labels = ["instance"], target_label = "shard", modulus = 7, action = "hashmod" }',
    '{ source_labels = ["__name__"], regex = "acme_(.*)", target_label = "__name__", replacement = "$1" }',
]
CLASHES = b'up 7\na{job="theirs",instance="x",exported_job="e"} 1\na{instance=""} 2\n'


class Variant(NamedTuple):
    """The same options twice: of a scrape_config, and of a section of ours."""

    name: str
    theirs: tuple[str, ...]
    ours: str
    missing: int = 0  # targets whose `up` has other labels


TEXT: Final = "scrape_protocols: [OpenMetricsText1.0.0, OpenMetricsText0.0.1, PrometheusText1.0.0, PrometheusText0.0.4]"
VARIANTS: Final = [
    Variant("plain", ("honor_timestamps: false", TEXT), "honor_timestamps = false"),
    Variant("honor_labels", ("honor_labels: true", TEXT), "honor_labels = true", 1),
    Variant("relabel", (RULES, TEXT), f"relabel = [{', '.join(OUR_RULES)}]"),
    Variant("sample_limit", ("sample_limit: 8", TEXT), "sample_limit = 8"),
    Variant(
        "label_limit",
        ("label_limit: 4", "label_value_length_limit: 20", TEXT),
        "label_limit = 4\nlabel_value_length_limit = 20",
    ),
]
NATIVE_RULES: Final = """\
metric_relabel_configs:
- {source_labels: [path], regex: "/a", action: drop}
- {source_labels: [__name__], regex: "n_float|latency_seconds_sum", target_label: __name__, replacement: "other_$0"}
- {regex: "own", action: labeldrop}
"""
OUR_NATIVE_RULES: Final = [
    '{ source_labels = ["path"], regex = "/a", action = "drop" }',
    '{ source_labels = ["__name__"], regex = "n_float|latency_seconds_sum", target_label = "__name__", '
    'replacement = "other_$0" }',
    '{ regex = "own", action = "labeldrop" }',
]
NATIVE_VARIANTS: Final = [
    Variant("native", (), ""),
    Variant("classic_too", ("always_scrape_classic_histograms: true",), "always_scrape_classic_histograms = true"),
    Variant("bucket_limit", ("native_histogram_bucket_limit: 4",), "native_histogram_bucket_limit = 4"),
    Variant("factor", ("native_histogram_min_bucket_factor: 1.5",), "native_histogram_min_bucket_factor = 1.5"),
    Variant("native_relabel", (NATIVE_RULES,), f"relabel = [{', '.join(OUR_NATIVE_RULES)}]"),
]


def section(variant: Variant, instances: list[str], *more: str) -> str:
    """A section of ours."""
    urls = ", ".join([f'"http://{instance}"' for instance in instances])
    return "\n".join([f'name = "{variant.name}"\njob = "{variant.name}"\nurls = [{urls}]', variant.ours, *more])


def text_pages() -> list[Page]:
    left_out = (b"a 1 \n# EOF\n", b"a 1 # 1\n# EOF\n")  # see KNOWN; and times out of all bounds
    cases = [case for case in ZOO if case.body.count(b"9") < 16 and case.body not in left_out]
    pages = [*[Page(case.content_type, case.body) for case in cases], Page("text/plain", CLASHES)]
    return [*pages, Page("application/json", b"{}"), Page("", b"a 1\n"), Page("text/plain", b"a 1\n", 503)]


def captured(url: str) -> Page:
    """A page as a real program in Go writes it."""
    request = urllib.request.Request(url, headers={"Accept": ACCEPT_NATIVE})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return Page(answer.headers["Content-Type"], answer.read())


@pytest.fixture
def blackbox(tmp_path: Path) -> Iterator[str]:
    """The metrics of a blackbox_exporter."""
    program, port, file = need_peer("prometheus-blackbox-exporter"), free_port(), tmp_path / "blackbox.yml"
    file.write_text("modules: {http: {prober: http}}\n")
    command = [program, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    with Process(command, tmp_path / "blackbox.log"):
        within(20, lambda: get(f"http://127.0.0.1:{port}/-/healthy")[0] == 200, "blackbox_exporter is up")
        yield f"http://127.0.0.1:{port}/metrics"


@pytest.mark.timeout(300)
def test_a_prometheus_behind_the_agent_holds_what_one_that_scrapes_holds(
    agent: Callable[..., Process], keeper: str, scraper: Scraper, blackbox: str
) -> None:
    binary = [page(*EVERYTHING), page(*NATIVES), *[page(one) for one in NATIVES]]
    binary += [body for name, body in REFUSED.items() if name not in FATAL]
    real = [captured(f"{keeper}/metrics"), captured(blackbox)]
    assert all(one.content_type.startswith("application/vnd.google.protobuf") for one in real)
    messages = [*[Page(PROTOBUF_TYPE, body) for body in binary], *real, Page("text/plain", b"a 1\n")]
    with serving(text_pages()) as texts, serving(messages) as protobufs:
        both = [(texts, VARIANTS, ""), (protobufs, NATIVE_VARIANTS, "native_histograms = true")]
        jobs = [Job(one.name, server.instances, one.theirs, EVERY) for server, many, _ in both for one in many]
        process = agent(
            f"{EVERY}s", *[section(one, server.instances, more) for server, many, more in both for one in many]
        )
        base = scraper(*jobs)
        counts = {one.name: len(server.pages) - one.missing for server, many, _ in both for one in many}
        settled(base, counts)
        settled(keeper, counts)
        with contextlib.suppress(AssertionError):  # a busy machine may be late; then the next round tells
            within(90, lambda: not report(keeper, base, jobs), "both hold the same")
        wrong = report(keeper, base, jobs)
        assert said_of_gauges(keeper) == said_of_gauges(base) != set()
    assert texts.accepts == {("prometheus", ACCEPT), ("nightjar", ACCEPT)}
    assert protobufs.accepts == {("prometheus", ACCEPT_NATIVE), ("nightjar", ACCEPT_NATIVE)}
    assert not wrong, "\n".join(wrong[:20]) + process.output[-1000:]


def report(keeper: str, base: str, jobs: Sequence[Job]) -> list[str]:
    """What differs between two Prometheus; the figures are printed."""
    found = []
    for job in jobs:
        held, wanted = stored(keeper, job.name), stored(base, job.name)
        natives = sum(not isinstance(value, float) for one in wanted.values() for value in one.values())
        lines = [
            "\n".join([f"{job.name} {instance}", *lines])
            for instance in sorted(held.keys() | wanted.keys())
            if (lines := compared(held.get(instance, {}), wanted.get(instance, {})))
        ]
        total = sum(map(len, wanted.values()))
        print(f"{job.name}: {len(job.targets)} targets, {total} series, {natives} native, {len(lines)} targets differ")
        found += lines
    mine, theirs = exemplars(keeper), exemplars(base)
    print(f"{len(theirs)} exemplars")
    return [*found, *[f"exemplar {one}" for one in mine ^ theirs]]


def said_of_gauges(base: str) -> set[str]:
    """What Prometheus objects to in a rate of gauge histograms, which it knows by their hint."""
    answer = json.loads(get(f"{base}/api/v1/query?query=rate(n_gauge%7Bjob=%22native%22%7D%5B1m%5D)")[1])
    return {*answer.get("warnings", []), *answer.get("infos", [])}


def exemplars(base: str) -> set[tuple[Key, Key, float, float]]:
    """The exemplars of all series: of which, with which labels, which value, and when if that is the target's word."""
    url = f"{base}/api/v1/query_exemplars?query=%7Bjob%3D~%22.%2B%22%7D&start=1500000000&end=4000000000"
    return {
        (
            frozenset((name, text) for name, text in one["seriesLabels"].items() if name != "agent"),
            frozenset(exemplar["labels"].items()),
            float(exemplar["value"]),
            exemplar["timestamp"] if exemplar["timestamp"] < 1_750_000_000 else 0.0,
        )
        for one in json.loads(get(url)[1])["data"]
        for exemplar in one["exemplars"]
    }


def test_what_goes_away_is_stale_within_a_round(agent: Callable[..., Process], keeper: str) -> None:
    with serving([Page("text/plain", b"here 1\nthere 2\n")]) as server:
        agent("1s", f'job = "zoo"\nurl = "http://{server.instance(0)}"')
        within(20, lambda: query(keeper, "there"), "the series arrives")
        server.pages[0] = Page("text/plain", b"here 1\n")
        within(5, lambda: not query(keeper, "there"), "the series that is gone is stale")
        assert query(keeper, "here")
        server.pages[0] = Page("text/plain", b"here 1\n", 500)
        within(5, lambda: not query(keeper, "here"), "the series of a target that fails are stale")
        assert query(keeper, "up")[0]["value"][1] == "0"
        assert query(keeper, "scrape_failure_info")[0]["metric"]["reason"] == "status"
        server.pages[0] = Page("text/plain", b"here 1\n")
        within(5, lambda: query(keeper, "here"), "they come back")
        within(5, lambda: not query(keeper, "scrape_failure_info"), "and the reason goes")


def test_each_form_of_a_histogram_is_stale_by_itself(agent: Callable[..., Process], keeper: str) -> None:
    both = Page(PROTOBUF_TYPE, page(family("h", "histogram", metric(histogram=BOTH))))
    classic = {"sample_count": 1, "bucket": buckets({1.0: 1})}
    alone = Page(PROTOBUF_TYPE, page(family("h", "histogram", metric(histogram=classic))))
    options = "native_histograms = true\nalways_scrape_classic_histograms = true"
    with serving([both]) as server:
        agent("1s", f'job = "zoo"\nurl = "http://{server.instance(0)}"\n{options}')
        within(20, lambda: query(keeper, "h") and query(keeper, "h_bucket"), "both forms arrive")
        server.pages[0] = alone
        within(5, lambda: not query(keeper, "h"), "the native form is stale")
        assert {one["metric"]["le"] for one in query(keeper, "h_bucket")} == {"1.0", "+Inf"}
        server.pages[0] = both
        within(5, lambda: query(keeper, "h"), "it comes back")
        server.pages[0] = Page(PROTOBUF_TYPE, b"", 500)
        within(5, lambda: not query(keeper, "h") and not query(keeper, "h_bucket"), "both are stale")
