"""What is read of pages, good, bad and broken, against what Prometheus makes of them."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator

import pytest

from agent.exposition import openmetrics_bound
from agent.model import Histogram, NativeHistogram, Sample, Summary
from collectors.scrape.families import Registry
from collectors.scrape.grammar import OPENMETRICS, TEXT, Malformed
from collectors.scrape.labelling import Labeller, Limits
from collectors.scrape.messages import MessagePage
from collectors.scrape.metric import Reader
from collectors.scrape.native import Limits as NativeLimits
from collectors.scrape.page import Page as TextPage
from collectors.scrape.relabel import Relabeller
from tests.collectors.scrape.messages import EVERYTHING, NATIVES, PROTOBUF_TYPE, REFUSED, page
from tests.collectors.scrape.pages import ZOO, mutated
from tests.collectors.scrape.specification import SPECIFICATION
from tests.daemon import query, within
from tests.servers.scrape_servers import Held, Job, Key, Page, Scraper, Value, differences, serving, stored

pytestmark = pytest.mark.servers

ABOUT = ("up", "scrape_")
"""
KNOWN differences, which the tests take into account; see test_scrape.py for more:

- A raw line feed within the quotation marks of a metric's name: Prometheus takes it in OpenMetrics.
- A native histogram of a schema that there is not: Prometheus 3.5 takes it, and whoever asks for it then is cut off.
"""
FATAL = "a native histogram of schema"
BROKEN_NAME = re.compile(rb'\{"[^"]*\n')


def flat(sample: Sample) -> Iterator[tuple[Key, Value]]:
    """The series of a sample as they are stored."""
    name, labels = sample.family.name.lstrip(" \t"), dict(zip(sample.family.labels, sample.labels, strict=True))

    def one(suffix: str, value: Value, **more: str) -> tuple[Key, Value]:
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
    elif isinstance(sample.value, NativeHistogram):
        yield one("", totals(sample.value.count, sample.value.sum))
    else:
        yield one("", sample.value)


def totals(count: float, total: float) -> tuple[str, ...]:
    """What of a native histogram is compared here; the rest is in test_scrape.py."""
    return repr(float(count)), repr(float(total))


def ours(content_type: str, body: bytes, instance: str) -> Held | str:
    """Every series of a page, or why it is refused."""
    labeller = Labeller({"job": "zoo", "instance": instance}, Relabeller(()), Limits(), honor=False)
    parser: TextPage | MessagePage
    if content_type == PROTOBUF_TYPE:
        parser = MessagePage(Reader(NativeLimits(), classic_too=False), labeller, Registry(), 10_000)
    else:
        parser = TextPage(TEXT if content_type.startswith("text") else OPENMETRICS, labeller, Registry(), 10_000)
    try:
        samples = parser.read(body).samples if body else []
    except Malformed as refused:
        return str(refused)
    return dict(pair for sample in samples for pair in flat(sample))


def theirs(held: Held) -> Held:
    """The series of a page that Prometheus holds, without those that the scrape makes itself."""
    return {
        key: value if isinstance(value, float) else totals(float(value[0]), float(value[1]))
        for key, value in held.items()
        if not dict(key)["__name__"].startswith(ABOUT)
    }


def broken_messages(count: int, seed: int) -> list[bytes]:
    """Pages of one family each of which a few bytes have changed."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        body = bytearray(page(dice.choice([*EVERYTHING, *NATIVES])))
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            body[dice.randrange(len(body))] = dice.choice([dice.randrange(256), dice.randrange(16)])
        found.append(bytes(body))
    return found


def test_the_parser_takes_refuses_and_reads_what_prometheus_does(scraper: Scraper) -> None:
    pages = [Page(case.content_type, case.body) for case in [*ZOO, *SPECIFICATION, *mutated(600, 20261121)]]
    pages += [Page(PROTOBUF_TYPE, body) for body in (*REFUSED.values(), *broken_messages(400, 20261121))]
    pages = [one for one in pages if FATAL not in ours(one.content_type, one.body, "")]
    with serving(pages) as server:
        base = scraper(Job("zoo", server.instances, ["honor_timestamps: false"], 2))
        read = "max_over_time(scrape_body_size_bytes[1m]) > 0"  # in time, that is: a busy machine may be late
        whole = sum(bool(one.body) for one in pages)
        within(40, lambda: len(query(base, read)) == whole, "every page is scraped")
        held = stored(base, "zoo")
        taken = {one["metric"]["instance"] for one in query(base, "max_over_time(up[1m]) == 1")}
    wrong = []
    for number, one in enumerate(pages):
        instance = server.instance(number)
        mine = ours(one.content_type, one.body, instance)
        if isinstance(mine, str) and BROKEN_NAME.search(one.body):
            continue
        if isinstance(mine, str) == (instance in taken):
            verdict = f"refused ({mine})" if isinstance(mine, str) else "taken"
            wrong.append(f"{one.content_type} {one.body!r}: {verdict} here alone")
        elif not isinstance(mine, str):
            left = theirs(held[instance])
            created = {key for key in left.keys() - mine.keys() if dict(key)["__name__"].endswith("_created")}
            if lines := differences(mine, {key: value for key, value in left.items() if key not in created}):
                wrong.append("\n".join([f"{one.content_type} {one.body!r}:", *lines]))
    print(f"{len(pages)} pages, {len(taken)} taken, {len(wrong)} differences")
    assert not wrong, "\n".join(wrong[:40])
