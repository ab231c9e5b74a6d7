"""What an answer of a remote write receiver means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from multidict import CIMultiDict

from agent.model import Delivered, Reencode, Rejected, Request, Retry, TooLarge
from exporters.http_client import Answer, retry_after, words
from exporters.remote_write import WRITTEN, Speech, verdict

REQUEST = Request(b"", samples=10, histograms=2)
OLD = Speech("1.0", may_change=True)
ONLY_OLD = Speech("1.0")
NEW = Speech("2.0", may_change=True)
PROVEN = Speech("2.0", may_change=True, proven=True)
ONLY_NEW = Speech("2.0")


def answer(status: int, written: tuple[int, int, int] | None = None, body: bytes = b"", **headers: str) -> Answer:
    counts = dict(zip(WRITTEN, map(str, written), strict=True)) if written else {}
    return Answer(status, CIMultiDict({**counts, **{k.replace("_", "-"): v for k, v in headers.items()}}), body)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_version_1_is_delivered_by_any_success(status: int) -> None:
    assert verdict(answer(status), REQUEST, OLD) == Delivered()


def test_version_2_is_delivered_when_all_was_written() -> None:
    assert verdict(answer(204, (10, 2, 0)), REQUEST, NEW) == Delivered()


@pytest.mark.parametrize(("written", "missing"), [((9, 2, 0), 1), ((0, 0, 0), 12)])
def test_version_2_counts_what_a_success_left_out(written: tuple[int, int, int], missing: int) -> None:
    assert verdict(answer(200, written), REQUEST, NEW) == Delivered({"partial_write": missing})


def test_a_receiver_that_counts_more_than_was_sent_took_all() -> None:
    assert verdict(answer(200, (99, 2, 0)), REQUEST, NEW) == Delivered()


def test_success_without_counts_means_that_version_2_was_not_understood() -> None:
    with pytest.raises(Reencode):
        verdict(answer(200), REQUEST, NEW)


@pytest.mark.parametrize("speech", [ONLY_NEW, PROVEN])
def test_success_without_counts_keeps_the_data_where_version_2_is_demanded_or_was_spoken(speech: Speech) -> None:
    with pytest.raises(Retry, match="without saying what it wrote") as caught:
        verdict(answer(200), REQUEST, speech)
    assert (caught.value.kind, caught.value.after) == ("protocol", 60.0)


@pytest.mark.parametrize("speech", [NEW, PROVEN, OLD])
def test_415_asks_for_the_other_version(speech: Speech) -> None:
    with pytest.raises(Reencode):
        verdict(answer(415), REQUEST, speech)


@pytest.mark.parametrize("speech", [ONLY_OLD, ONLY_NEW])
def test_415_keeps_the_data_where_no_other_version_may_be_tried(speech: Speech) -> None:
    with pytest.raises(Retry) as caught:
        verdict(answer(415), REQUEST, speech)
    assert caught.value.kind == "protocol"


def test_400_of_an_unknown_receiver_is_tried_as_version_1_first() -> None:
    with pytest.raises(Reencode):
        verdict(answer(400), REQUEST, NEW)


@pytest.mark.parametrize("speech", [OLD, PROVEN, ONLY_NEW])
def test_400_rejects_and_leaves_the_search_for_the_bad_item(speech: Speech) -> None:
    with pytest.raises(Rejected, match="the server answered 400: out of order sample") as caught:
        verdict(answer(400, body=b"out of order\nsample\n"), REQUEST, speech)
    assert (caught.value.reason, caught.value.whole) == ("bad_request", False)


def test_400_that_counts_nothing_as_written_refuses_all() -> None:
    with pytest.raises(Rejected) as caught:
        verdict(answer(400, (0, 0, 0)), REQUEST, NEW)
    assert caught.value.whole


@pytest.mark.parametrize(("written", "missing"), [((1, 0, 0), 11), ((9, 2, 0), 1), ((0, 1, 0), 11)])
def test_400_that_counts_something_as_written_is_never_sent_again(written: tuple[int, int, int], missing: int) -> None:
    delivered = verdict(answer(400, written, b"out of order"), REQUEST, NEW)
    assert delivered.rejected == {"bad_request": missing}
    assert "out of order" in delivered.message


@pytest.mark.parametrize(("status", "reason"), [(409, "conflict"), (422, "unprocessable")])
def test_other_refusals_of_the_data_reject(status: int, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        verdict(answer(status), REQUEST, OLD)
    assert caught.value.reason == reason


@pytest.mark.parametrize("speech", [OLD, NEW, PROVEN, ONLY_NEW])
def test_413_asks_for_less(speech: Speech) -> None:
    with pytest.raises(TooLarge, match="413"):
        verdict(answer(413), REQUEST, speech)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_retried_slowly(status: int) -> None:
    with pytest.raises(Retry) as caught:
        verdict(answer(status), REQUEST, NEW)
    assert (caught.value.kind, caught.value.auth) == ("auth", True)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "429"), (500, "5xx"), (501, "5xx"), (502, "5xx"), (503, "5xx"), (504, "5xx"), (599, "5xx"), (999, "5xx")],
)
def test_what_passes_is_retried_when_the_server_asks(status: int, kind: str) -> None:
    with pytest.raises(Retry) as caught:
        verdict(answer(status, Retry_After="7"), REQUEST, NEW)
    assert (caught.value.kind, caught.value.after, caught.value.auth) == (kind, 7.0, False)


@pytest.mark.parametrize("status", [408, 425])
def test_a_request_that_came_at_a_bad_time_is_retried(status: int) -> None:
    with pytest.raises(Retry) as caught:
        verdict(answer(status), REQUEST, NEW)
    assert (caught.value.kind, caught.value.after) == ("4xx", None)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308, 402, 404, 405, 406, 407, 410, 411, 414, 418, 431, 451])
def test_a_wrong_configuration_keeps_the_data(status: int) -> None:
    with pytest.raises(Retry) as caught:
        verdict(answer(status), REQUEST, NEW)
    assert (caught.value.kind, caught.value.after) == (f"{status // 100}xx", 60.0)


@pytest.mark.parametrize("garbage", ["", "-1", "1.5", "many", "\u0661", "1" * 5000])
def test_counts_that_are_no_numbers_are_not_believed(garbage: str) -> None:
    broken = Answer(200, CIMultiDict({WRITTEN[0]: garbage}))
    if garbage.startswith("11"):
        assert verdict(broken, REQUEST, NEW) == Delivered()
    else:
        with pytest.raises(Reencode):
            verdict(broken, REQUEST, NEW)


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("99999999999999", 300.0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Fri, 02 Jan 2026 03:04:15 -0000", 10.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300.0),
        ("soon", None),
        ("-5", None),
        ("\u0663", None),
        ("", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(CIMultiDict({"Retry-After": text}), NOW) == seconds


def test_a_servers_words_are_one_short_printable_line() -> None:
    assert words(b"") == ""
    assert words(b" \n\t") == ""
    assert words(b"one\r\ntwo\x1b[31m\x00\xff") == ": one two?[31m?\ufffd"
    assert len(words(b"x" * 100_000)) == 302
