"""Patterns cost linear time and bounded memory, whatever they are and whatever they are searched in."""

from __future__ import annotations

import time

import pytest

from agent.patterns import compile_pattern, expander


@pytest.mark.parametrize("pattern", ["a.*b.*c", "(a+)+$", "(a|aa)*b", ".*.*=.*", "(.*){2}b"])
def test_hostile_text_cannot_hold_up_the_agent(pattern: str) -> None:
    began = time.process_time()
    compile_pattern(pattern).search("a" * 500_000 + "!")
    assert time.process_time() - began < 2.0  # with `re` they take minutes at least


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(", "missing )"),
        ("(?=a)", "invalid perl operator"),
        (r"\1", "invalid escape sequence"),
        ("a{1001}", "invalid repetition size"),
        ("(((a{60}){60}){60})", "repetition size|too large"),
        (b"[z-a]", "invalid character class range"),
    ],
)
def test_what_is_no_pattern_is_refused_in_words(pattern: str | bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault.replace(")", r"\)") if fault.endswith(")") else fault):
        compile_pattern(pattern)


def test_bytes_are_read_as_they_are_and_text_as_letters() -> None:
    assert compile_pattern(b"a.c\xff").search(b"\x00abc\xff")
    assert compile_pattern("^caf.$").search("café")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$1-$n-${1}-${n}", "a-a-a-a"),
        ("$0$2$$1$", "ab$1$"),
        ("$3|$10|$1x|$n_|$01|$é", "|||||"),
        ("$1é|$1\u0663|$né", "||"),
        ("$1\u00b2", "a\u00b2"),
        ("${1}é${é}", "aé"),
        ("${1$-${}${ 1}", "${1$-${}${ 1}"),
        ("$4294967297$99999999999999999999", ""),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_groups_are_filled_in_as_go_does(template: str, text: str) -> None:
    """Go takes the longest name of letters, digits and underscores, and what is no name for text."""
    assert expander(template)(compile_pattern("(?P<n>a)(z)?b").fullmatch("ab")) == text


def test_a_group_may_be_named_by_digits() -> None:
    match = compile_pattern("(?P<2>a)(?P<01>b)(?P<1000000000>c)").fullmatch("abc")
    assert expander("$1$2$01$1000000000")(match) == "abbc"
