"""Ranges as the guidelines define them, and output that a strict reader understands."""

from __future__ import annotations

import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.nagios import GRAVITY, LINE, Perf, Range, Status, decimal, parse_range, plugin_output, range_of, worst
from agent.rules.findings import EXIT_CODES, STATUSES
from tests.nagios_parser import Malformed, parse_output, parse_perfdata

numbers = st.floats(allow_nan=False, allow_infinity=False)
small = st.integers(-30, 30)
texts = st.text(max_size=60)


def oracle(text: str, value: float) -> bool:
    """The guidelines' table of ranges, once more, by other means: by cutting the text."""
    wanted_inside = text[:1] == "@"
    text = text.removeprefix("@")
    low, high = text.split(":") if ":" in text else ("0", text)
    above = low == "~" or not value < float(low)
    below = high == "" or not value > float(high)
    return (above and below) is wanted_inside


@st.composite
def range_texts(draw: st.DrawFn) -> str:
    low, high = sorted((draw(small), draw(small)))
    forms = [f"{low}:", f"~:{high}", f"{low}:{high}", "~:", f"{low - 0.5}:{high}"]
    if high >= 0:
        forms.append(f"{high}")
    return draw(st.sampled_from(["", "@"])) + draw(st.sampled_from(forms))


@given(range_texts(), st.one_of(small, st.floats(-40, 40)))
def test_a_range_alerts_as_the_guidelines_say(text: str, value: float) -> None:
    assert parse_range(text).alerts(value) is oracle(text, value)


@pytest.mark.parametrize(
    ("text", "quiet", "loud"),
    [
        ("10", (0, 5, 10), (-1, 10.01)),
        ("10:", (10, 1e9), (9.99, -1)),
        ("~:10", (-1e9, 10), (10.01,)),
        ("10:20", (10, 20), (9.99, 20.01)),
        ("@10:20", (9.99, 20.01), (10, 15, 20)),
        ("@10", (-0.1, 10.1), (0, 10)),
        ("~:", (-1e300, 1e300), ()),
        ("-5:-1", (-5, -1), (0, -6)),
    ],
)
def test_the_examples_of_the_guidelines_hold(text: str, quiet: tuple[float, ...], loud: tuple[float, ...]) -> None:
    found = parse_range(text)
    assert not any(map(found.alerts, quiet))
    assert all(map(found.alerts, loud))


@pytest.mark.parametrize("text", ["10", "10:", "~:10", "10:20", "@10:20", "@~:"])
def test_no_range_is_content_with_nan(text: str) -> None:
    assert parse_range(text).alerts(math.nan)


@given(range_texts())
def test_a_range_is_written_as_it_is_read(text: str) -> None:
    found = parse_range(text)
    assert parse_range(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a range"),
        ("@", "expected a range"),
        ("~", "expected a range"),
        (":", "expected a range"),
        (":10", "~:10"),
        ("1e3", "expected a range"),
        ("10%", "expected a range"),
        ("10:20:30", "expected a range"),
        ("nan", "expected a range"),
        ("20:10", "is above the end"),
        ("-5", '"~:-5"'),
        ("@-5", '"@~:-5"'),
        (" 10", "expected a range"),
        ("٣", "expected a range"),
        ("9" * 400 + ":", "too large"),
    ],
)
def test_what_is_no_range_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"range|above|large") as refused:
        parse_range(text)
    assert words in str(refused.value)


@given(texts)
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        found = parse_range(text)
    except ValueError:
        return
    assert found.start <= found.end


COMPARISONS = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@given(st.sampled_from(sorted(COMPARISONS)), numbers, numbers)
def test_a_comparison_has_a_range_that_alerts_where_it_holds(op: str, limit: float, value: float) -> None:
    found = range_of(op, limit)
    for one in (value, limit):
        assert found.alerts(one) is COMPARISONS[op](one, limit)
        assert parse_range(str(found)).alerts(one) is found.alerts(one)


@pytest.mark.parametrize(("op", "limit"), [("=~", 1.0), (">", math.inf), ("<", math.nan)])
def test_what_no_range_can_say_is_refused(op: str, limit: float) -> None:
    with pytest.raises(ValueError, match="no range"):
        range_of(op, limit)


@given(numbers)
def test_numbers_are_exact_and_without_exponent(value: float) -> None:
    text = decimal(value)
    assert set(text) <= set("-0123456789.")
    assert float(text) == value


def test_whole_numbers_have_no_point() -> None:
    assert [decimal(one) for one in (0.0, -0.0, 10.0, 1e22, 1.5e-7)] == [
        "0",
        "0",
        "10",
        "1" + "0" * 22,
        "0.00000015",
    ]


ranges = st.none() | range_texts().map(parse_range)
perfs = st.builds(
    Perf,
    texts,
    st.floats(),
    st.sampled_from(["", "s", "B", "%", "c"]),
    ranges,
    ranges,
    st.none() | st.floats(),
    st.none() | st.floats(),
)


@given(perfs)
def test_a_strict_reader_gets_every_value_back(perf: Perf) -> None:
    (found,) = parse_perfdata(str(perf))
    if math.isfinite(perf.value):
        assert (found.value, found.unit) == (perf.value, perf.unit)
    else:
        assert math.isnan(found.value)
    assert (found.warn, found.crit) == tuple("" if one is None else str(one) for one in (perf.warn, perf.crit))
    for ours, theirs in ((perf.minimum, found.minimum), (perf.maximum, found.maximum)):
        assert theirs == (ours if ours is not None and math.isfinite(ours) else None)


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("time", "time"),
        ("/var/lib", "/var/lib"),
        ("C:\\ drive", "'C:\\ drive'"),
        ("it's", "'it''s'"),
        ("a=b", "a_b"),
        ("a|b\nc", "'a/b c'"),
        ("größe", "'größe'"),
        ("  ", "value"),
        ("a;b", "'a;b'"),
    ],
)
def test_a_label_is_cleaned_and_quoted(label: str, written: str) -> None:
    assert str(Perf(label, 1)) == f"{written}=1"


def test_the_fields_behind_the_value_are_left_out_from_the_end() -> None:
    assert str(Perf("t", 0.5, "s")) == "t=0.5s"
    assert str(Perf("t", 0.5, "s", None, Range(0, 2), 0)) == "t=0.5s;;2;0"
    assert str(Perf("t", math.inf, "s", Range(1), None, 0, 10)) == "t=U;1:;;0;10"


@given(texts, st.sampled_from(Status), st.lists(texts, max_size=4), st.lists(perfs, max_size=30))
def test_whatever_is_said_a_strict_reader_understands_it(
    headline: str, status: Status, long: list[str], values: list[Perf]
) -> None:
    named = [Perf(f"v{at} {one.label}", one.value, one.unit, one.warn, one.crit) for at, one in enumerate(values)]
    found = parse_output(plugin_output("TCP", status, f"x{headline}", long, named) + "\n")
    assert (found.word, found.status, found.code) == ("TCP", status.name, int(status))
    assert len(found.values) == len(values)
    assert len(found.long) <= len(long) + 1


def test_the_first_line_stays_short_and_the_rest_of_the_values_come_behind_the_long_output() -> None:
    values = [Perf(f"value number {at}", at) for at in range(200)]
    printed = plugin_output("HOST", Status.OK, "all is well " * 100, ["one", "two"], values)
    lines = printed.split("\n")
    assert all(len(line) <= LINE + 10 for line in lines)
    assert lines[1] == "one"
    assert lines[2].startswith("two | 'value number ")
    assert [one.value for one in parse_output(printed + "\n").values] == list(range(200))


def test_without_long_output_there_is_a_line_to_put_more_values_behind() -> None:
    values = [Perf(f"value number {at}", at) for at in range(100)]
    found = parse_output(plugin_output("HOST", Status.OK, "fine", (), values) + "\n")
    assert len(found.values) == 100
    assert found.long == ("more values",)


def test_the_worst_is_what_is_broken_then_what_is_unknown() -> None:
    assert worst([]) is Status.OK
    assert worst([Status.OK, Status.UNKNOWN, Status.WARNING]) is Status.UNKNOWN
    assert worst([Status.UNKNOWN, Status.CRITICAL, Status.OK]) is Status.CRITICAL


def test_what_is_graver_to_rules_is_graver_to_monitoring_servers() -> None:
    statuses = [Status(EXIT_CODES[one]) for one in STATUSES]
    assert statuses == sorted(statuses, key=GRAVITY.index)
    assert set(statuses) == set(GRAVITY)


@pytest.mark.parametrize(
    "printed",
    [
        "fine\n",
        "TCP OK: fine",
        "TCP OK: fine|a=1\n",
        "TCP OK: fine | a=1e3\n",
        "TCP OK: fine | a b=1\n",
        "TCP OK: fine | a=1ns\n",
        "TCP OK: fine | a=1;2;3;4;5;6\n",
        "TCP OK: fine | 'a=1\n",
        "TCP OK: fine |\n",
        "TCP OK: fine | a=1 a=2\n",
        "TCP FINE: fine\n",
    ],
)
def test_the_reader_is_strict(printed: str) -> None:
    with pytest.raises(Malformed):
        parse_output(printed)
