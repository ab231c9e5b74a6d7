from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from config import ConfigError, Duration, Secret, Size
from config.loading import loads


class Inner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    some_key: int = 0


class Bounded(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: Annotated[Secret, Meta(min_length=8, pattern="^k")] | None = None
    wait: Annotated[Duration, Meta(ge=1, le=60)] = Duration("1s")
    size: Annotated[Size, Meta(gt=1024, multiple_of=1024)] = Size("2KiB")
    ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    words: Annotated[list[Annotated[str, Meta(max_length=3)]], Meta(min_length=1, max_length=2)] | str = "all"
    port: int | str = 0
    inner: Inner | None = None
    color: Literal["red", "green"] = "red"
    several: bool = False
    group: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.several:
            raise ValueError("wait: is wrong", "port: is, too", "nothing fits: so\nit is", "inner: bad")


def options(text: str) -> Any:
    return loads(f"[collectors.x]\n{text}", collectors={"x": lambda: Bounded}, exporters={}).collectors[0].options


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('key = "k23"', "2:7: collectors.x.key: must have at least 8 characters"),
        ('key = "x2345678"', "2:7: collectors.x.key: expected a string that matches ^k"),
        ('wait = "2m"', "2:8: collectors.x.wait: must be at most 1m"),
        ('wait = "999ms"', "2:8: collectors.x.wait: must be at least 1s"),
        ('size = "1KiB"', "2:8: collectors.x.size: must be more than 1KiB"),
        ('size = "1025B"', "2:8: collectors.x.size: must be a multiple of 1KiB"),
        ("ratio = 1", "2:9: collectors.x.ratio: must be less than 1"),
        ("ratio = 0.0", "2:9: collectors.x.ratio: must be more than 0"),
        ("ratio = nan", "2:9: collectors.x.ratio: expected a number, got nan"),
        ("words = []", "2:9: collectors.x.words: must not be empty"),
        ('words = ["a", "b", "c"]', "2:9: collectors.x.words: must have at most 2 entries"),
        ('words = ["abcd"]', "2:10: collectors.x.words[0]: must have at most 3 characters"),
        ("words = 7", "2:9: collectors.x.words: expected a string, got 7"),
        ("words = { a = 1 }", "2:9: collectors.x.words: expected an array or a string, got a table"),
        ("port = true", "2:8: collectors.x.port: expected a whole number or a string, got true"),
        ("port = 1.5", "2:8: collectors.x.port: expected a whole number or a string, got 1.5"),
        ("port = 0x" + "f" * 5000, "2:8: collectors.x.port: expected a whole number or a string, got a number"),
        ("inner.some_key = 1", '2:7: collectors.x.inner.some_key: no such option; did you mean "some-key"?'),
        ('"é\\n" = 1', '2:1: collectors.x."\\u00e9\\n": no such option'),
        ('color = "gren"', '2:9: collectors.x.color: no such choice; did you mean "green"?'),
        ('color = "mauve"', '2:9: collectors.x.color: expected one of "red", "green", got another string'),
        ("several = true", "1:13: collectors.x: nothing fits: so it is"),
        (
            "wait = 1979-05-27",
            '2:8: collectors.x.wait: expected a duration such as "15s" or "1m30s", got a date or time',
        ),
    ],
)
def test_a_broken_bound_is_told_in_the_units_of_its_option(line: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(line)
    assert str(caught.value).splitlines()[0] == f"agent.toml:{fault}"


def test_what_keeps_its_bounds_is_taken() -> None:
    assert options('key = "k2345678"').key == Secret("k2345678")
    assert options('port = "http"').port == "http"
    assert options("port = 80").port == 80
    assert options('words = ["a"]').words == ["a"]
    assert options('words = "none"').words == "none"
    assert options("inner.some-key = 1").inner == Inner(some_key=1)
    assert options("group = [1, 2, 1]").group == frozenset({1, 2})
    assert type(options("ratio = 0.25").ratio) is float


def test_a_plugin_may_say_several_things_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        options('several = true\nport = 1\nwait = "2s"')
    assert [(fault.line, fault.path, fault.message) for fault in caught.value.faults] == [
        (1, "collectors.x", "nothing fits: so it is"),
        (1, "collectors.x.inner", "bad"),
        (3, "collectors.x.port", "is, too"),
        (4, "collectors.x.wait", "is wrong"),
    ]


def test_twenty_thousand_wrong_keys_are_all_told_in_a_moment() -> None:
    with pytest.raises(ConfigError) as caught:
        options("".join(f"porl{number} = 1\n" for number in range(20_000)))
    assert len(caught.value.faults) == 20_000
    assert 'did you mean "port"?' in caught.value.faults[0].message
