from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Duration, Share, Size

microseconds = st.integers(0, 36_500 * 86_400 * 10**6)


@given(microseconds)
def test_a_duration_survives_its_own_text(count: int) -> None:
    duration = Duration(f"{count}us")
    assert round(duration * 1_000_000) == count
    assert Duration(str(duration)) == duration
    assert re.fullmatch(Duration.pattern, str(duration))


@given(st.integers(0, 2**63 - 1))
def test_a_size_survives_its_own_text(count: int) -> None:
    size = Size(f"{count}B")
    assert size == count
    assert Size(str(size)) == size
    assert re.fullmatch(Size.pattern, str(size))


@given(st.decimals(0, 100, places=3).map(lambda percent: f"{percent}%") | st.integers(0, 2**40).map("{}B".format))
def test_a_share_survives_its_own_text(text: str) -> None:
    assert Share(str(Share(text))) == Share(text)


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("15s", 15, "15s"),
        ("1m30s", 90, "1m30s"),
        ("500ms", 0.5, "500ms"),
        ("2h", 7200, "2h"),
        ("7d", 604800, "7d"),
        ("1w", 604800, "7d"),
        ("72h", 259200, "3d"),
        ("1.5s", 1.5, "1s500ms"),
        ("0s", 0, "0s"),
        ("90s", 90, "1m30s"),
        ("100us", 0.0001, "100us"),
    ],
)
def test_a_duration_is_read_and_shown_with_units(text: str, seconds: float, shown: str) -> None:
    assert Duration(text) == seconds
    assert str(Duration(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "15",
        "9" * 99 + "s",
        "inf",
        "nan",
        "-1s",
        "+1s",
        "1",
        "s",
        "1 s",
        "1S",
        "1s1m",
        "1s1s",
        "1.s",
        ".5s",
        "1e3s",
        "\u0661s",
        "36501d",
        "0.1us",
        "1s\n",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Duration(text)


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [
        ("512MiB", 512 << 20, "512MiB"),
        ("4KiB", 4096, "4KiB"),
        ("1GB", 10**9, "1GB"),
        ("1.5GiB", 3 << 29, "1536MiB"),
        ("0B", 0, "0B"),
        ("1000B", 1000, "1KB"),
        ("7kB", 7000, "7KB"),
    ],
)
def test_a_size_is_read_and_shown_with_units(text: str, count: int, shown: str) -> None:
    assert Size(text) == count
    assert str(Size(text)) == shown


@pytest.mark.parametrize("text", ["", "512", "512M", "-1B", "1.5B", "1 GiB", "1gib", "9999PiB", "1GiB\n", "0.1KiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Size(text)


def test_a_share_is_part_of_a_total_or_a_size() -> None:
    assert Share("5%").of(2000) == 100
    assert Share("2.5%").of(1000) == 25
    assert Share("1KiB").of(5) == 1024
    assert (str(Share("5.50%")), str(Share("100%")), str(Share("0%")), str(Share("1GiB"))) == (
        "5.5%",
        "100%",
        "0%",
        "1GiB",
    )
    assert Share("5%") == Share("5.0%") != Share("1GiB")
    assert len({Share("5%"), Share("5.0%")}) == 1


@pytest.mark.parametrize("text", ["", "5", "101%", "-1%", "%", "5 %", "1e1%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Share(text)


@pytest.mark.parametrize("value", [Duration("1m30s"), Size("3KiB"), Share("5%"), Share("2GB")])
def test_values_pickle_and_copy_as_themselves(value: object) -> None:
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):  # noqa: S301  our own bytes
        assert again == value
        assert type(again) is type(value)
        assert repr(again) == repr(value)


def test_a_duration_of_seconds_is_rounded_to_the_microsecond() -> None:
    assert Duration.of(0.1 + 0.2) == Duration("300ms")
    with pytest.raises(ValueError, match="duration"):
        Duration.of(-1)
