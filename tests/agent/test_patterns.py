"""Patterns cost linear time and bounded memory, whatever they are and whatever they are searched in."""

from __future__ import annotations

import time

import pytest

from agent.patterns import compile_pattern


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
