"""What was seen, held against an expression."""

from __future__ import annotations

from agent.cli.nagios import Status, parse_range
from agent.cli.outcome import Outcome, Wish
from agent.cli.probed import Expression, Seen, judged
from agent.model import MetricBatch, Series, SeriesSet
from agent.promql import parse_query


def asked(text: str, values: dict[str, float], *, once: bool = False, **ranges: str) -> Outcome:
    """What an expression makes of a family `x` with these values by their label; `once`: time was short."""
    series = SeriesSet([Series("x", "gauge", "", "", (("at", name),)) for name in values])
    batch = MetricBatch("host", 1_000, series, [*values.values()])
    expression = Expression(parse_query(text))
    if once:
        expression.give_up_ranges()
    expression.look(1.0, [batch])
    limits = {name: parse_range(one) for name, one in ranges.items()}
    wish = Wish("host", "", 10.0, query=parse_query(text), **limits)
    return judged(Seen(batch, (), 0.1, expression), wish)


def test_the_value_is_one_that_is_wrong_whatever_the_names_are() -> None:
    outcome = asked("x", {"a": 1.0, "a is b": 9.0}, warning="5")
    assert (outcome.status, outcome.value) == (Status.WARNING, 9.0)


def test_the_value_and_the_words_are_of_the_worst() -> None:
    outcome = asked("x", {"a": 6.0, "b": 20.0}, warning="5", critical="10")
    assert (outcome.status, outcome.value) == (Status.CRITICAL, 20.0)
    assert outcome.message == "b is 20, outside 10; a is 6, outside 5"


def test_without_a_second_look_a_rate_has_no_answer() -> None:
    outcome = asked("rate(x[5m]) > 5", {"a": 6.0}, once=True)
    assert (outcome.status, outcome.value) == (Status.UNKNOWN, None)
    assert outcome.message == "the expression has no answer: there was no time for a second look"
