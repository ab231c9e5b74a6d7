from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.urls import masked, masked_template, secrets_of, without_secrets

WORD = "open-sesame"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:hunter2@host/write?apikey=hunter3", "https://***@host/write?***"),
        ("http://user@host", "http://***@host"),
        ("http://user:p@ss@host/x", "http://***@host/x"),
        ("redis://:a password@host", "redis://***@host"),
        ("http://host/?token=a b", "http://host/?***"),
        ("http://host/?a=1#token=b", "http://host/?***"),
        ("http://host/#token", "http://host/#***"),
        ("at http://u:p@host/?q and what?", "at http://***@host/?*** and what?"),
        ("http://host/write", "http://host/write"),
        ("redis:me:p@ss@host", "redis:***@host"),
        ("redis:///me:password@host", "redis://***@host"),
        ("me:password@host:25", "me:***@host:25"),
        ("host:25", "host:25"),
        ("me@host", "me@host"),
        ("is this a ?question", "is this a ?question"),
        ("^https?://[^/]+(a|b)?$", "^https?://[^/]+(a|b)?$"),
        ("${x}", "$${x}"),
    ],
)
def test_of_a_literal_url_no_login_and_no_query_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("http://h/?token=${file:t}", "http://h/?token=${file:t}"),
        ("http://h/?token=${file:t}&b=literal", "http://h/?token=${file:t}&***"),
        ("http://h/?token=a${file:t}", "http://h/?***"),
        ("redis://me:${file:/run/pass@word}@h", "redis://me:${file:/run/pass@word}@h"),
        ("redis://${env:USER}:${file:/p}@h", "redis://${env:USER}:${file:/p}@h"),
        ("redis://me:literal${file:/run/p}@h", "redis://***@h"),
        ("redis://literal@${env:HOST}", "redis://***@${env:HOST}"),
        ("http://u:$${literal}@${env:HOST}", "http://***@${env:HOST}"),
        ("${env:BASE}?token=literal", "${env:BASE}?***"),
        ("${env:BASE}:literal@host", "${env:BASE}***@host"),
        ("${env:SCHEME}://u:literal@host", "${env:SCHEME}://***@host"),
        ("${env:A}/$${b}", "${env:A}/$${b}"),
        ("me:${env:A}@host", "me:${env:A}@host"),
        ("me:a${env:A}@host", "me:***@host"),
        ("http://u:\U000f0000literal@${env:HOST}", "***"),
    ],
)
def test_references_are_shown_and_the_secrets_beside_them_are_not(template: str, shown: str) -> None:
    assert masked_template(template) == shown


@pytest.mark.parametrize(
    "name",
    [
        *("token", "access_token", "accessToken", "X-Auth-Token", "key", "apikey", "api_key", "api-key", "x-api-key"),
        *("secret", "client_secret", "password", "passwd", "passphrase", "pwd", "pass", "sig", "signature", "code"),
        *("X-Amz-Signature", "X-Amz-Credential", "AWSAccessKeyId", "auth", "authorization", "credential", "jwt"),
        *("session", "sid", "otp", "pin", "bearer", "PASSWORD", "%74oken", "to%6ben", "api+key", "token[]"),
    ],
)
def test_values_that_are_secret_by_their_name_are_hidden(name: str) -> None:
    assert without_secrets(f"http://h/x?a=1&{name}={WORD}&b=2") == f"http://h/x?a=1&{name}=***&b=2"


@pytest.mark.parametrize("name", ["q", "page", "keyword", "status_code", "author", "spin", "format", "", "target"])
def test_other_values_are_shown(name: str) -> None:
    assert without_secrets(f"http://h/x?{name}={WORD}") == f"http://h/x?{name}={WORD}"


@pytest.mark.parametrize(
    "query",
    [
        f"next=http://h/?token={WORD}",
        f"next=http%3A%2F%2Fh%2F%3Ftoken%3D{WORD}",
        f"next=http%253A%252F%252Fh%253Ftoken%253D{WORD}",
        f"a=1;token={WORD}",
        f"token=a={WORD}",
        f"token=?{WORD}",
        f"?token={WORD}",
    ],
)
def test_a_secret_within_a_value_is_hidden(query: str) -> None:
    assert WORD not in without_secrets(f"http://h/x?{query}")


@pytest.mark.parametrize(
    "text", ["http://h", "http://h/", "http://h/?", "http://h/?q", "http://h/?token", "http://h/?=&&"]
)
def test_a_url_without_secrets_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_the_secrets_of_a_url_are_found_as_they_are_written_and_as_they_are_meant() -> None:
    assert set(secrets_of("http://me:a%20b@h/?token=c+d&page=2")) == {"a%20b", "a b", "c+d", "c d"}
    assert not any(secrets_of("postgres://nightjar@h/"))
    assert set(secrets_of("me:word@h:1")) == {"word"}


def test_a_long_text_takes_no_time() -> None:
    """Quadratic it would be hours."""
    for text in (
        "http://h/?a=" + "b" * 1_000_000,
        "http://h/" + "a:" * 500_000,
        "x:" * 500_000,
        "h://?a=" + "%3d" * 300_000,
    ):
        assert WORD not in masked(text) + "".join(secrets_of(text)) + without_secrets(text)


@given(
    st.text(),
    st.sampled_from(["http://u:", "redis://", "http://h/?", "http://h/?token=", "http://h/#", "a://b?c=d&e="]),
)
def test_no_text_in_the_place_of_a_secret_is_shown(text: str, before: str) -> None:
    after = "" if "?" in before or "#" in before else "@h"
    secret = f"{WORD}{text}"
    if after and any(mark in secret for mark in "/?#"):
        return  # then it ends the login
    assert WORD not in masked(before + secret + after)
