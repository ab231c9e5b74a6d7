"""Flags from Options: every option of every collector has one, and means what it means in a file."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner
from msgspec import Meta, Struct

from agent.cli.flags import build_options, flag, flags_of, given
from agent.plugins import COLLECTORS
from config import Duration, Secret, Size


class Inner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of its own."""

    word: str
    count: int = 0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One option of every sort."""

    text: str = ""
    maybe: str | None = None
    secret: Secret | None = None
    either: str | Secret = ""
    whole: Annotated[int, Meta(ge=1)] = 1
    number: float = 0.0
    switch: bool = False
    three: bool | None = None
    choice: Literal["a", "b"] = "a"
    wait: Duration = Duration("1s")
    size: Size = Size("1B")
    texts: tuple[str, ...] = ()
    mixed: tuple[int | str, ...] = ()
    several: str | tuple[str, ...] = ()
    table: dict[str, str] = {}
    secrets: dict[str, str | Secret] = {}
    inner: Inner = Inner(word="")
    inners: tuple[Inner, ...] = ()

    def __post_init__(self) -> None:
        if self.text == "bad":
            raise ValueError("text: is bad", "all of it is")


def called(*arguments: str) -> Any:
    """The options of a command line."""
    found: list[Any] = []

    def run(**values: Any) -> None:
        found.append(build_options(Options, given(values), {"text": "TARGET"}))

    result = CliRunner().invoke(click.Command("it", callback=run, params=[*flags_of(Options)]), arguments)
    if isinstance(result.exception, ValueError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return found[0]


def test_without_a_flag_every_option_has_its_default() -> None:
    assert called() == Options()


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (("--text", "x y"), "text", "x y"),
        (("--text", "12"), "text", "12"),
        (("--maybe", "x"), "maybe", "x"),
        (("--secret", "x"), "secret", Secret("x")),
        (("--either", "x"), "either", Secret("x")),
        (("--whole", "12"), "whole", 12),
        (("--number", "1.5"), "number", 1.5),
        (("--number", "-2"), "number", -2.0),
        (("--switch",), "switch", True),
        (("--switch", "--no-switch"), "switch", False),
        (("--three",), "three", True),
        (("--no-three",), "three", False),
        (("--choice", "b"), "choice", "b"),
        (("--wait", "1m30s"), "wait", 90.0),
        (("--size", "4KiB"), "size", 4096),
        (("--texts", "a", "--texts", "1"), "texts", ("a", "1")),
        (("--mixed", "200", "--mixed", "2xx"), "mixed", (200, "2xx")),
        (("--several", "a"), "several", ("a",)),
        (("--table", "a=1=2", "--table", "b="), "table", {"a": "1=2", "b": ""}),
        (("--secrets", "a=b"), "secrets", {"a": Secret("b")}),
        (("--inner", '{"word": "x", "count": 2}'), "inner", Inner(word="x", count=2)),
        (("--inners", '{"word": "x"}', "--inners", '{"word": "y"}'), "inners", (Inner(word="x"), Inner(word="y"))),
    ],
)
def test_a_flag_sets_its_option(arguments: tuple[str, ...], key: str, value: Any) -> None:
    found = getattr(called(*arguments), key)
    assert found == value
    assert type(found) is type(value) or isinstance(found, float | int)


def test_references_are_followed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_TESTS", "7")
    (tmp_path / "file").write_text("inside\n")
    found = called("--whole", "${env:OF_TESTS}", "--secret", f"${{file:{tmp_path}/file}}")
    assert found.whole == 7
    assert found.secret.reveal() == "inside"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--whole", "0"), "--whole: "),
        (("--whole", "x"), "--whole: expected a whole number"),
        (("--whole", "9" * 30), "--whole: expected a whole number"),
        (("--number", "nan"), "--number: expected a number"),
        (("--choice", "c"), '--choice: expected one of "a", "b"'),
        (("--wait", "5"), "--wait: expected a duration"),
        (("--table", "=x"), "--table: expected KEY=VALUE"),
        (("--inner", "[1]"), "--inner: expected a table"),
        (("--inner", "nonsense"), "--inner: is no JSON"),
        (("--inner", "[" * 100_000), "--inner: "),
        (("--inner", '{"word": 1}'), "--inner.word: expected a string"),
        (("--inners", '{"wrod": ""}'), "--inners[0].wrod: no such option"),
        (("--text", "bad"), "TARGET: is bad"),
        (("--secret", "${env:}"), "--secret: not a reference"),
    ],
)
def test_what_is_wrong_is_told_at_its_flag(arguments: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        called(*arguments)
    assert any(str(one).startswith(fault) for one in refused.value.args), refused.value.args


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        called("--whole", "x", "--size", "x", "--table", "x")
    assert [str(one).partition(":")[0] for one in refused.value.args] == ["--table", "--whole", "--size"]
    with pytest.raises(ValueError, match=r".") as refused:
        called("--text", "bad")
    assert set(refused.value.args) == {"TARGET: is bad", "all of it is"}


@pytest.mark.parametrize("kind", COLLECTORS.builtin)
def test_every_option_of_every_collector_has_a_flag(kind: str) -> None:
    options = COLLECTORS[kind]()
    found = {name for one in flags_of(options) for name in (*one.opts, *one.secondary_opts)}
    assert {flag(key) for key in options.__struct_encode_fields__} <= found
    assert not found & {"--timeout", "--warning", "--critical", "--hostname", "--port", "--expr", "--json", "--help"}


def test_json_of_any_shape_is_taken_or_refused() -> None:
    for value in (None, True, 1.5, "x", [None], {"word": None}, {"word": [1]}):
        with pytest.raises(ValueError, match="inner"):
            called("--inner", json.dumps(value))
