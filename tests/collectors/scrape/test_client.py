"""What the client of the scraper makes of headers and of compressed bodies."""

from __future__ import annotations

import gzip

import pytest

from collectors.scrape.client import Failed, Unzipper, media_type


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("text/plain", "text/plain"),
        ('Text/Plain; Version=0.0.4; charset="utf-8";', "text/plain"),
        ("application/openmetrics-text;version=1.0.0 ; escaping=allow-utf-8", "application/openmetrics-text"),
        ("text/plain; charset", ""),
        ("text", ""),
        ("", ""),
    ],
)
def test_media_types(given: str, read: str) -> None:
    assert media_type(given) == read


def test_the_end_of_a_gzip_stream_is_known() -> None:
    packed = gzip.compress(b"abc" * 1000)
    unzipper = Unzipper(10_000)
    assert b"".join([unzipper.feed(packed[at : at + 1]) for at in range(len(packed))]) == b"abc" * 1000
    assert unzipper.whole
    with pytest.raises(Failed, match="too_large"):
        Unzipper(2_999).feed(packed)
