"""What the agent makes of pages, against what Prometheus itself makes of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.exposition import openmetrics_bound
from agent.model import Histogram, Sample, Summary
from collectors.scrape.families import Registry
from collectors.scrape.grammar import OPENMETRICS, TEXT, Malformed
from collectors.scrape.labelling import Labeller, Limits
from collectors.scrape.page import Page as Parser
from collectors.scrape.relabel import Relabeller
from tests.collectors.scrape.pages import ZOO, Case, mutated
from tests.daemon import NIGHTJAR, Process, get, query, within
from tests.servers.scrape_servers import Page, Scraper, serving

pytestmark = pytest.mark.servers

Key = frozenset[tuple[str, str]]
ABOUT = ("up", "scrape_")
"""
KNOWN differences, which the tests take into account:

- Blanks before a sample of the text format: Prometheus makes them a part of the metric's name.
- A raw line feed within the quotation marks of a metric's name: Prometheus takes it in OpenMetrics.
- `_created` of OpenMetrics: the start time of its counter here, a series of its own there.
- A sample of OpenMetrics with a space or ` # 1` after it: Prometheus counts it before it refuses the page.
- The label `agent`, and `scrape_failure_info`: ours.
"""
BROKEN_NAME = re.compile(rb'\{"[^"]*\n')


def flat(sample: Sample) -> Iterator[tuple[Key, float]]:
    """The series of a sample as they are stored."""
    name, labels = sample.family.name, dict(zip(sample.family.labels, sample.labels, strict=True))

    def one(suffix: str, value: float, **more: str) -> tuple[Key, float]:
        return frozenset({"__name__": name + suffix, **labels, **more}.items()), value

    if isinstance(sample.value, Histogram):
        total = "g" if sample.family.kind == "gaugehistogram" else ""
        for bound, count in zip((*sample.value.bounds, math.inf), sample.value.counts, strict=True):
            yield one("_bucket", count, le=openmetrics_bound(bound))
        yield one(f"_{total}count", sample.value.counts[-1])
        yield one(f"_{total}sum", sample.value.sum)
    elif isinstance(sample.value, Summary):
        for quantile, at in sample.value.quantiles:
            yield one("", at, quantile=openmetrics_bound(quantile))
        yield one("_count", sample.value.count)
        yield one("_sum", sample.value.sum)
    else:
        assert isinstance(sample.value, float)
        yield one("", sample.value)


def ours(case: Case, instance: str) -> dict[Key, float] | None:
    """Every series of a page; None when it is refused."""
    grammar = TEXT if case.format == "text" else OPENMETRICS
    labeller = Labeller({"job": "zoo", "instance": instance}, Relabeller(()), Limits(), honor=False)
    try:
        samples = Parser(grammar, labeller, Registry(), 10_000).read(case.body).samples if case.body else []
    except Malformed:
        return None
    return dict(pair for sample in samples for pair in flat(sample))


def stored(base: str) -> dict[str, dict[Key, float]]:
    """Every series that a Prometheus has of job zoo now, by instance; timestamped ones too."""
    found: dict[str, dict[Key, float]] = {}
    for one in query(base, 'last_over_time({job="zoo"}[1m])'):
        labels: dict[str, str] = one["metric"]
        labels["__name__"] = labels["__name__"].lstrip(" \t")  # see KNOWN
        labels.pop("agent", None)  # ours: the host that scraped
        found.setdefault(labels.get("instance", ""), {})[frozenset(labels.items())] = float(one["value"][1])
    return found


def same(ours: dict[Key, float], theirs: dict[Key, float]) -> list[str]:
    """The differences, a line each."""
    lines = [f"  only ours: {sorted(key)} {ours[key]}" for key in ours.keys() - theirs.keys()]
    lines += [f"  only theirs: {sorted(key)} {theirs[key]}" for key in theirs.keys() - ours.keys()]
    for key in ours.keys() & theirs.keys():
        if ours[key] != theirs[key] and not (math.isnan(ours[key]) and math.isnan(theirs[key])):
            lines.append(f"  {sorted(key)}: {ours[key]} here, {theirs[key]} there")
    return lines


def about(key: Key) -> bool:
    """Whether a series is one that a scrape makes itself."""
    return dict(key)["__name__"].startswith(ABOUT)


@pytest.fixture
def keeper(scraper: Scraper) -> str:
    """A Prometheus that takes what the agent writes."""
    return scraper(())


@pytest.fixture
def agent(tmp_path: Path, keeper: str) -> Iterator[Callable[[str], Process]]:
    """`agent("options")`: an agent that scrapes and writes to the `keeper`."""
    processes: list[Process] = []

    def start(options: str) -> Process:
        config = tmp_path / "agent.toml"
        config.write_text(
            f'''
            [agent]
            instance = "here"
            interval = "2s"
            state_dir = "{tmp_path / "state"}"
            listen = ""
            [exporters.remote_write]
            url = "{keeper}/api/v1/write"
            [collectors.scrape]
            job = "zoo"
            {options}
            '''
        )
        processes.append(Process([NIGHTJAR, "run", "-c", str(config)], tmp_path / "agent.log"))
        return processes[-1]

    yield start
    for process in processes:
        process.__exit__()


def settled(base: str, count: int) -> None:
    """Wait until all targets were scraped often enough for the counts to stand still."""
    often = 'count_over_time(up{job="zoo"}[1m]) > 2'
    within(40, lambda: len(query(base, often)) >= count, f"{count} targets are scraped")


def compared(mine: dict[Key, float], theirs: dict[Key, float]) -> list[str]:
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
    return same(left, right)


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


@pytest.mark.parametrize(
    ("theirs", "ours_too"),
    [
        (("honor_timestamps: false",), "honor_timestamps = false"),
        (("honor_labels: true",), "honor_labels = true"),
        ((RULES,), f"relabel = [{', '.join(OUR_RULES)}]"),
        (("sample_limit: 8",), "sample_limit = 8"),
        (("label_limit: 4", "label_value_length_limit: 20"), "label_limit = 4\nlabel_value_length_limit = 20"),
    ],
    ids=["plain", "honor_labels", "relabel", "sample_limit", "label_limit"],
)
def test_a_prometheus_behind_the_agent_holds_what_one_that_scrapes_holds(
    agent: Callable[[str], Process], keeper: str, scraper: Scraper, theirs: tuple[str, ...], ours_too: str
) -> None:
    left_out = (b"a 1 \n# EOF\n", b"a 1 # 1\n# EOF\n")  # see KNOWN; and times out of all bounds
    cases = [case for case in ZOO if case.body.count(b"9") < 16 and case.body not in left_out]
    pages = [*[Page(case.content_type, case.body) for case in cases], Page("text/plain", CLASHES)]
    pages += [Page("application/json", b"{}"), Page("", b"a 1\n"), Page("text/plain", b"a 1\n", 503)]
    with serving(pages) as server:
        base = scraper(server.instances, *theirs)
        urls = ", ".join(f'"http://{instance}"' for instance in server.instances)
        process = agent(f"urls = [{urls}]\n{ours_too}")
        settled(base, len(pages))
        settled(keeper, len(pages) if "honor" not in ours_too else len(pages) - 1)
        held, wanted = stored(keeper), stored(base)
        there = exemplars(base)
        within(10, lambda: exemplars(keeper) == there, "the exemplars are the same")
    wrong = [
        "\n".join([instance, *lines])
        for instance in sorted(held.keys() | wanted.keys())
        if (lines := compared(held.get(instance, {}), wanted.get(instance, {})))
    ]
    total = sum(map(len, wanted.values()))
    print(f"{len(pages)} targets, {total} series there, {len(wrong)} targets differ")
    assert not wrong, "\n".join(wrong[:20]) + process.output[-1000:]


def exemplars(base: str) -> set[tuple[Key, Key, float]]:
    """The exemplars of all series: of which, with which labels, which value."""
    url = f"{base}/api/v1/query_exemplars?query=%7Bjob%3D%22zoo%22%7D&start=1500000000&end=4000000000"
    return {
        (
            frozenset((name, text) for name, text in one["seriesLabels"].items() if name != "agent"),
            frozenset(exemplar["labels"].items()),
            float(exemplar["value"]),
        )
        for one in json.loads(get(url)[1])["data"]
        for exemplar in one["exemplars"]
    }


def test_what_goes_away_is_stale_within_a_round(agent: Callable[[str], Process], keeper: str) -> None:
    with serving([Page("text/plain", b"here 1\nthere 2\n")]) as server:
        agent(f'url = "http://{server.instance(0)}"')
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


def test_the_parser_takes_refuses_and_reads_what_prometheus_does(scraper: Scraper) -> None:
    cases = [*ZOO, *mutated(600, 20261121)]
    with serving([Page(case.content_type, case.body) for case in cases]) as server:
        base = scraper(server.instances, "honor_timestamps: false")
        often = 'count_over_time(up{job="zoo"}[1m]) > 2'  # a busy machine may be late once
        within(30, lambda: len(query(base, often)) == len(cases), "every page is scraped")
        theirs = stored(base)
        taken = {one["metric"]["instance"] for one in query(base, 'max_over_time(up{job="zoo"}[1m]) == 1')}
    wrong = []
    for number, case in enumerate(cases):
        instance = server.instance(number)
        mine = ours(case, instance)
        if mine is None and BROKEN_NAME.search(case.body):
            continue
        if (mine is not None) != (instance in taken):
            wrong.append(f"{case.format} {case.body!r}: {'refused' if mine is None else 'taken'} here alone")
        elif mine is not None:
            left = {key: value for key, value in theirs[instance].items() if not about(key)}
            created = {key for key in left.keys() - mine.keys() if dict(key)["__name__"].endswith("_created")}
            if lines := same(mine, {key: value for key, value in left.items() if key not in created}):
                wrong.append("\n".join([f"{case.format} {case.body!r}:", *lines]))
    print(f"{len(cases)} pages, {len(wrong)} differences")
    assert not wrong, "\n".join(wrong[:40])
