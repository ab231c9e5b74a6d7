from __future__ import annotations

import pytest
import tomli
from hypothesis import example, given
from hypothesis import strategies as st

from config.positions import DEEPEST, Path, TooDeep, scan

ALPHABET = [
    *"ab.=[]{},\"'#\\ \n\t1-:T_\0é",
    '"""',
    "'''",
    "[[",
    "]]",
    "a = ",
    "\n[a]\n",
    "\n[[a]]\n",
    "{ a = ",
    "b.a = 1\n",
]

soup = st.lists(st.sampled_from(ALPHABET), max_size=40).map("".join)

key_part = st.one_of(
    st.sampled_from(["a", "b", "c-d", "1", '"a b"', "'x.y'", '"q\\"\\u00e9"', '"]"', "'#'", '"\\x61"']),
)
blank = st.sampled_from(["", " ", "\t"])
gap = st.sampled_from(["", " ", "\n", " # no [ ] { } = , ' \" here\n", "\n\n\t"])
scalar = st.sampled_from(
    [
        "1",
        "+1_000",
        "0xff",
        "1.5e-3",
        "inf",
        "-nan",
        "true",
        "1979-05-27 07:32:00",
        "1979-05-27T07:32:00.5Z",
        "07:32",
        '"text"',
        "'lit # eral'",
        '"a \\" ] b"',
        '""',
        "''",
        '"""\nmany\n[a]\nb = 1 "" \\\n   x"""',
        "'''''two'''''",
        '"""""q"""""',
        "'''\n[[a]]\n'''",
        '"""\\""""""',
        '""""""',
    ]
)


@st.composite
def dotted(draw: st.DrawFn) -> str:
    parts = draw(st.lists(key_part, min_size=1, max_size=3))
    return (draw(blank) + "." + draw(blank)).join(parts)


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    @st.composite
    def build(draw: st.DrawFn) -> str:
        elements = draw(st.lists(inner, max_size=3))
        comma = "," if elements and bool(draw(st.booleans())) else ""
        return "[" + draw(gap) + (draw(gap) + "," + draw(gap)).join(elements) + draw(gap) + comma + draw(gap) + "]"

    return build()


def tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    @st.composite
    def build(draw: st.DrawFn) -> str:
        pairs = [f"{draw(dotted())}{draw(blank)}={draw(blank)}{draw(inner)}" for _ in range(draw(st.integers(0, 3)))]
        comma = "," if pairs and bool(draw(st.booleans())) else ""
        return "{" + draw(gap) + (draw(gap) + "," + draw(gap)).join(pairs) + draw(gap) + comma + draw(gap) + "}"

    return build()


value = st.recursive(scalar, lambda inner: arrays(inner) | tables(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for kind in draw(st.lists(st.sampled_from(["pair", "pair", "table", "array", "comment"]), max_size=8)):
        key = draw(dotted())
        if kind == "pair":
            lines.append(f"{draw(blank)}{key}{draw(blank)}={draw(blank)}{draw(value)}{draw(blank)}")
        elif kind == "comment":
            lines.append("# [x] = ' \" {")
        else:
            left, right = ("[", "]") if kind == "table" else ("[[", "]]")
            lines.append(f"{draw(blank)}{left}{draw(blank)}{key}{draw(blank)}{right} # end")
    return "\n".join(lines)


def paths_of(value: object, path: Path = ()) -> set[Path]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)  # type: ignore[assignment]  # keys of a list are its indices
    else:
        return {path}
    return {path}.union(*(paths_of(inner, (*path, key)) for key, inner in items))


def check(text: str) -> bool:
    try:
        expected = paths_of(tomli.loads(text)) - {()}
    except (tomli.TOMLDecodeError, ValueError):
        scan(text)
        return False
    keys, values = scan(text)
    assert set(keys) == expected
    assert set(values) <= expected
    return True


@given(documents())
@example("a.b = 1\n[[x.y]]\n[x.y.z]\n[[x.y.w]]\nq.r={a=[{b=1},[2]],}\n[[x.y]]\n[[x.y.w]]\n[[x.y.w]]\n")
@example("[a.b]\n[a]\nc = 1\n")
def test_every_path_of_a_document_has_a_position_and_nothing_else_has(text: str) -> None:
    check(text)


@given(soup)
@example("a = '''\n'")
@example('"""a""" = 1')
@example("= 1")
@example("[a]]\n")
@example("a = [1 2]")
def test_soup_never_crashes_the_scanner(text: str) -> None:
    check(text)


@given(st.text(max_size=200))
def test_any_text_never_crashes_the_scanner(text: str) -> None:
    check(text.replace("\r\n", "\n"))


def test_a_position_is_where_the_key_begins() -> None:
    text = "x = 1\n[a . 'b c']\n  deep.key = [ 10,\n 20 ]\n[[t]]\n[[t]]\ny = { z = 1 }\n"
    positions, _ = scan(text)
    assert {path: text[offset : offset + 3] for path, offset in positions.items()} == {
        ("x",): "x =",
        ("a",): "a .",
        ("a", "b c"): "'b ",
        ("a", "b c", "deep"): "dee",
        ("a", "b c", "deep", "key"): "key",
        ("a", "b c", "deep", "key", 0): "10,",
        ("a", "b c", "deep", "key", 1): "20 ",
        ("t",): "t]]",
        ("t", 0): "t]]",
        ("t", 1): "t]]",
        ("t", 1, "y"): "y =",
        ("t", 1, "y", "z"): "z =",
    }
    assert positions["t", 1] > positions["t", 0]


def test_a_value_is_where_it_begins_behind_its_key() -> None:
    text = "x = 1\n[a]\n  deep.key = [ 10 ]\n[[t]]\ny = { z = 'q' }\n"
    _, values = scan(text)
    assert {path: text[offset : offset + 3] for path, offset in values.items()} == {
        ("x",): "1\n[",
        ("a", "deep", "key"): "[ 1",
        ("t", 0, "y"): "{ z",
        ("t", 0, "y", "z"): "'q'",
    }


def test_a_table_stands_at_its_own_header_even_when_a_subtable_came_first() -> None:
    text = "[a.b]\n[a]\n"
    assert scan(text)[0]["a",] == text.index("[a]") + 1


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 1_000_000, "a = " + "{a=" * 1000, ".".join("a" * 1000) + "=1", "[" + ".".join("a" * 99)]
)
def test_nesting_beyond_the_limit_is_refused_at_its_place(text: str) -> None:
    with pytest.raises(TooDeep) as caught:
        scan(text)
    assert 0 < caught.value.offset <= 6 * DEEPEST
