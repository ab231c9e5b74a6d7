"""Files of other programs: the format, and what becomes of files that are wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Histogram, Sample, Summary
from collectors.host.exposition import Exposed, Group, parse_exposition
from collectors.host.machine import Machine
from collectors.host.textfile import Textfile

GOOD = """\
# A comment.
# HELP jobs_total Jobs, by queue \\\\ and \\n outcome.
# TYPE jobs_total counter
jobs_total{queue="a b",outcome="\\"ok\\"\\n"} 3
  jobs_total { queue = "c" , } 4.5e2
untold 1
"""


def found_in(samples: list[Sample]) -> dict[tuple[str, ...], object]:
    return {(sample.family.name, *sample.labels): sample.value for sample in samples}


def test_a_file_is_parsed_into_its_families() -> None:
    assert parse_exposition(GOOD) == [
        Group(
            "jobs_total",
            "counter",
            "Jobs, by queue \\ and \n outcome.",
            [Exposed({"queue": "a b", "outcome": '"ok"\n'}, 3.0), Exposed({"queue": "c"}, 450.0)],
        ),
        Group("untold", "unknown", None, [Exposed({}, 1.0)]),
    ]


def test_histograms_and_summaries_are_put_together() -> None:
    text = """\
# TYPE h histogram
h_bucket{x="1",le="0.5"} 2
h_bucket{x="1",le="+Inf"} 5
h_sum{x="1"} 7.5
h_count{x="1"} 5
# TYPE s summary
s{quantile="0.5"} 1
s{quantile="0.99"} 2
s_sum 30
s_count 10
"""
    histogram, summary = parse_exposition(text)
    assert histogram.exposed == [Exposed({"x": "1"}, Histogram((0.5,), (2.0, 5.0), 7.5))]
    assert summary.exposed == [Exposed({}, Summary(10.0, 30.0, ((0.5, 1.0), (0.99, 2.0))))]


def test_special_values_are_numbers() -> None:
    values = [
        group.exposed[0].value for group in parse_exposition("a NaN\nb +Inf\nc -Inf\nd 0x10\n".replace("0x10", "16"))
    ]
    assert math.isnan(float(str(values[0])))
    assert values[1:] == [math.inf, -math.inf, 16.0]


@pytest.mark.parametrize(
    "text",
    [
        "a 1 1700000000000\n",
        "a\n",
        "a{x=1} 1\n",
        'a{x="1" 1\n',
        'a{x="1",x="2"} 1\n',
        'a{x="1"} 1\na{x="1"} 2\n',
        "1a 1\n",
        "a one\n",
        "a 1_000\n",
        "# TYPE a nonsense\na 1\n",
        "a 1\n# TYPE a gauge\n",
        "# HELP a x\n# HELP a y\na 1\n",
        "# TYPE 0 gauge\n",
    ],
)
def test_what_the_format_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_exposition(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        groups = parse_exposition(text)
    except ValueError:
        return
    assert all(group.exposed for group in groups)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_label_value_survives_its_escapes(labels: dict[str, str]) -> None:
    escaped = {
        name: value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for name, value in labels.items()
    }
    pairs = ",".join(f'{name}="{value}"' for name, value in escaped.items())
    assert parse_exposition(f"a{{{pairs}}} 1\n")[0].exposed == [Exposed(labels, 1.0)]


@pytest.fixture
def part(tree: Path, machine: Callable[..., Machine]) -> Textfile:
    (tree / "drop").mkdir()
    return Textfile(machine(textfile_dir=f"{tree}/drop"))


def test_files_are_merged_with_their_mtime(tree: Path, part: Textfile) -> None:
    place = tree / "drop/a.prom"
    place.write_text(GOOD)
    os.utime(place, (1700000000, 1700000000))
    (tree / "drop/b.txt").write_text("no metrics")
    found = found_in(list(part()))
    assert found["jobs_total", "", "c"] == 450
    assert found["node_textfile_mtime_seconds", str(place)] == 1700000000
    assert found["node_textfile_scrape_error",] == 0


def test_a_malformed_file_is_an_error_and_the_others_stay(tree: Path, part: Textfile) -> None:
    (tree / "drop/a.prom").write_text("good 1\n")
    (tree / "drop/b.prom").write_text("half_of_it 1\nbad{\n")
    found = found_in(list(part()))
    assert found["good",] == 1
    assert ("half_of_it",) not in found
    assert ("node_textfile_mtime_seconds", f"{tree}/drop/b.prom") not in found
    assert found["node_textfile_scrape_error",] == 1


def test_a_file_is_parsed_again_only_when_it_changed(tree: Path, part: Textfile) -> None:
    place = tree / "drop/a.prom"
    place.write_text("a 1\n")
    first, second = list(part()), list(part())
    assert first[0].family is second[0].family
    place.write_text("a 22\n")
    assert found_in(list(part()))["a",] == 22


def test_a_file_that_would_block_or_is_binary_is_an_error(tree: Path, part: Textfile) -> None:
    os.mkfifo(tree / "drop/a.prom")
    (tree / "drop/b.prom").write_bytes(b"\xff\xfe\0")
    assert found_in(list(part())) == {("node_textfile_scrape_error",): 1}


def test_two_helps_for_one_metric_are_an_error_and_the_first_counts(tree: Path, part: Textfile) -> None:
    (tree / "drop/a.prom").write_text('# HELP m One.\nm{f="a"} 1\n')
    (tree / "drop/b.prom").write_text('# HELP m Two.\nm{f="b"} 2\n')
    found = found_in(list(part()))
    assert found["m", "a"] == 1
    assert ("m", "b") not in found
    assert found["node_textfile_scrape_error",] == 1


def test_a_metric_without_help_says_where_it_is_from(tree: Path, part: Textfile) -> None:
    (tree / "drop/a.prom").write_text("m 1\n")
    assert next(iter(part())).family.help == f"Metric read from {tree}/drop/a.prom"


def test_a_directory_that_is_missing_is_an_error_and_none_is_none(tree: Path, machine: Callable[..., Machine]) -> None:
    assert found_in(list(Textfile(machine(textfile_dir=f"{tree}/nowhere"))())) == {("node_textfile_scrape_error",): 1}
    assert found_in(list(Textfile(machine(textfile_dir=""))())) == {("node_textfile_scrape_error",): 0}
