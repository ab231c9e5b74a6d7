from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable

import msgspec
import orjson
import pytest
import rich.console
import rich.traceback

from config import ClientOptions, Referenced, Secret, reveal

WORD = "open-sesame"


def rich_text(value: object) -> str:
    out = io.StringIO()
    console = rich.console.Console(file=out, width=200)
    console.print(value, {"a": value}, [value])
    rich.inspect(value, console=console, all=True)
    return out.getvalue()


def traceback_text(value: Secret) -> str:
    def fail(secret: Secret, revealed: Callable[[], str] = value.reveal) -> None:
        headers = {"x": secret}
        raise RuntimeError(f"{secret} {headers}")

    out = io.StringIO()
    try:
        fail(value)
    except RuntimeError as error:
        rich.console.Console(file=out, width=200).print(
            rich.traceback.Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        )
        captured = traceback.TracebackException.from_exception(error, capture_locals=True)
        return out.getvalue() + "".join(captured.format())
    raise AssertionError


def logged(value: Secret) -> str:
    out = io.StringIO()
    logger = logging.Logger("secret")
    logger.addHandler(logging.StreamHandler(out))
    logger.warning("token %s %r", value, value)
    return out.getvalue()


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        format,
        "{:>20}".format,
        "%s".__mod__,
        json.dumps,
        pprint.pformat,
        lambda value: json.dumps({"a": [value]}),
        lambda value: orjson.dumps(value).decode(),
        lambda value: msgspec.json.encode(value, enc_hook=str).decode(),
        lambda value: msgspec.json.encode(ClientOptions(bearer_token=value), enc_hook=str).decode(),
        lambda value: repr(ClientOptions(bearer_token=value, headers={"x": value})),
        lambda value: str(msgspec.structs.asdict(ClientOptions(bearer_token=value))),
        lambda value: pickle.dumps(value).decode("latin-1"),
        lambda value: str(pickle.loads(pickle.dumps(value)).reveal()),  # noqa: S301  our own bytes
        lambda value: "".join(["a", value]),
        lambda value: value.encode().decode(),
        lambda value: value[:],
        rich_text,
        traceback_text,
        logged,
    ],
)
def test_whatever_shows_a_secret_shows_three_stars(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(WORD))
    assert WORD not in shown
    assert "***" in shown


def test_msgspec_without_a_hook_refuses_a_secret_and_does_not_say_it() -> None:
    with pytest.raises(TypeError) as caught:
        msgspec.json.encode(Secret(WORD))
    assert WORD not in str(caught.value)


def test_reveal_gives_the_value() -> None:
    assert Secret(WORD).reveal() == WORD
    assert reveal(Secret(WORD)) == reveal(WORD) == WORD


def test_secrets_are_equal_by_value_and_to_no_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("***") != "***"
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")
    assert copy.deepcopy(Secret(WORD)) == Secret(WORD)


def test_reread_asks_the_source_again_and_says_whether_it_changed() -> None:
    answers = iter(["one", "two"])
    secret = Secret("one", lambda: next(answers))
    assert (secret.reread(), secret.reveal()) == (False, "one")
    assert (secret.reread(), secret.reveal()) == (True, "two")
    assert Secret("x").reread() is False


def test_a_source_that_fails_leaves_the_value() -> None:
    def fail() -> str:
        raise FileNotFoundError

    secret = Secret("one", fail)
    assert (secret.reread(), secret.reveal()) == (False, "one")


def test_referenced_text_is_the_text_and_its_repr_the_reference() -> None:
    text = Referenced("db.internal", "${env:HOST}")
    assert f"{text}" == str(text) == "db.internal" == text
    assert repr(text) == "'${env:HOST}'"
    assert pickle.loads(pickle.dumps(text)).template == "${env:HOST}"  # noqa: S301  our own bytes
    assert json.dumps(text) == '"db.internal"'


@pytest.mark.parametrize(
    ("spans", "start", "shown"),
    [
        (None, 0, "***"),
        (None, 3, "***"),
        ((), 2, "cdef"),
        (((2, 4),), 0, "ab***ef"),
        (((2, 4),), 3, "***ef"),
        (((2, 4),), 4, "ef"),
        (((0, 2), (2, 2), (4, 6)), 0, "******cd***"),
        (((2, 2),), 2, "***cdef"),
        (((2, 2),), 3, "def"),
    ],
)
def test_what_references_gave_is_masked_by_its_place(
    spans: tuple[tuple[int, int], ...] | None, start: int, shown: str
) -> None:
    text = Referenced("abcdef", "${env:X}", spans)
    assert text.masked(start) == shown
    assert pickle.loads(pickle.dumps(text)).masked(start) == shown  # noqa: S301  our own bytes
