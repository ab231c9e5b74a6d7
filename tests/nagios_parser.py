"""A strict reader of what plugins print, written from the Monitoring Plugins Development Guidelines alone."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

UNITS = {"", "s", "us", "ms", "%", "B", "KB", "MB", "TB", "c"}
FIRST = re.compile(r"(?P<word>[A-Z0-9][A-Z0-9 _-]*) (?P<status>OK|WARNING|CRITICAL|UNKNOWN): (?P<text>.+)")
NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?)")
RANGE = re.compile(r"@?(?:(?:~|-?[0-9.]+):)?(?:-?[0-9.]+)?")
CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


class Malformed(AssertionError):
    """The output breaks a rule."""


@dataclass(frozen=True)
class Value:
    """One of the performance data; `value` is NaN for an unknown one."""

    label: str
    value: float
    unit: str
    warn: str = ""
    crit: str = ""
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Output:
    """What a plugin said."""

    word: str
    status: str
    text: str
    long: tuple[str, ...]
    values: tuple[Value, ...]

    @property
    def code(self) -> int:
        """The exit code that belongs to it."""
        return CODES[self.status]

    def value(self, label: str) -> Value:
        """The one of that label."""
        (found,) = [one for one in self.values if one.label == label]
        return found


def need(condition: object, what: str) -> None:
    if not condition:
        raise Malformed(what)


def parse_output(printed: str) -> Output:
    """The whole of standard output; raises Malformed."""
    need(printed.endswith("\n"), "the last line ends")
    need(not printed.endswith("\n\n"), "no empty line at the end")
    body = printed[:-1]
    need(all(char.isprintable() or char == "\n" for char in body), "no control characters")
    first, *others = body.split("\n")
    text, bar, perfdata = first.partition("|")
    values = parse_perfdata(perfdata) if bar else []
    need(not bar or text.endswith(" "), "a blank before |")
    found = FIRST.fullmatch(text.rstrip(" "))
    need(found, f"WORD STATUS: text, not {text!r}")
    long: list[str] = []
    behind = False  # the second |
    for line in others:
        if behind:
            values += parse_perfdata(line)
            continue
        words, behind_bar, perfdata = line.partition("|")
        long.append(words.rstrip(" "))
        if behind_bar:
            behind = True
            values += parse_perfdata(perfdata)
    labels = [one.label for one in values]
    need(len(labels) == len(set(labels)), f"labels are unique: {labels}")
    assert found is not None
    return Output(found["word"], found["status"], found["text"], tuple(long), tuple(values))


def parse_perfdata(text: str) -> list[Value]:
    """The values of one stretch of performance data."""
    text = text.strip(" ")
    need(text, "something behind |")
    found = []
    while text:
        label, text = _label(text)
        one, _, text = text.partition(" ")
        found.append(_value(label, one))
        text = text.lstrip(" ")
    return found


def _label(text: str) -> tuple[str, str]:
    """The label, and what is behind its `=`."""
    if not text.startswith("'"):
        label, equals, rest = text.partition("=")
        need(equals and label, f"label=value, not {text!r}")
        need(not set(label) & set(" '"), f"a bare label {label!r}")
        return label, rest
    at, label = 1, ""
    while True:
        need(at < len(text), f"a quotation that ends: {text!r}")
        if text[at : at + 2] == "''":
            label, at = label + "'", at + 2
        elif text[at] == "'":
            break
        else:
            label, at = label + text[at], at + 1
    need(label, "a label")
    need("=" not in label, f"no = in {label!r}")
    need(text[at + 1 : at + 2] == "=", f"= behind {label!r}")
    return label, text[at + 2 :]


def _value(label: str, text: str) -> Value:
    fields = text.split(";")
    need(len(fields) <= 5, f"at most five fields: {text!r}")
    value, warn, crit, low, high = [*fields, *[""] * (5 - len(fields))]
    number, unit = math.nan, ""
    if value != "U":
        found = NUMBER.match(value)
        need(found, f"a number: {value!r}")
        assert found is not None
        number, unit = float(found[0]), value[found.end() :]
    need(unit in UNITS, f"a unit: {unit!r}")
    for one in (warn, crit):
        need(RANGE.fullmatch(one) and one != "@", f"a range: {one!r}")
    return Value(label, number, unit, warn, crit, _end(low), _end(high))


def _end(text: str) -> float | None:
    if not text:
        return None
    need(NUMBER.fullmatch(text), f"a number: {text!r}")
    return float(text)
