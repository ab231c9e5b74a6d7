"""How the targets of the http prober are called: no secret is in a label, and no target goes missing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from agent.fanout import FanOut
from collectors.probes.http import Http
from collectors.probes.http_options import HttpOptions, numbered, shown
from config import ConfigError, Referenced, Section, effective, loads
from tests.collectors.probes.test_http import OK
from tests.collectors.probes.zoo import says, serving

WORD = "open sesame/ü?&#%2e"


def options(text: str, **environ: str) -> Any:
    """The options of a section, as the agent reads them."""
    config = loads(
        f"[collectors.http]\n{text}", collectors={"http": lambda: HttpOptions}, exporters={}, environ=environ
    )
    (section,) = config.collectors
    assert isinstance(section, Section)
    return section.options


def named(url: str, **environ: str) -> str:
    """How a URL is shown."""
    return shown(options(f'url = "{url}"', **environ).url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://me:word@h/x?a=1&token=word#word", "http://h/x?a=1&token=***"),
        ("http://h/hello?token=${env:T}", "http://h/hello?token=***"),
        ("http://h/hello?q=${env:T}&page=2", "http://h/hello?q=***&page=2"),
        ("http://h/hooks/${env:T}/status", "http://h/hooks/***/status"),
        ("http://me:${env:T}@h/status", "http://h/status"),
        ("http://${env:T}@h/status", "http://h/status"),
        ("http://h/x?token=literal&q=${env:T}", "http://h/x?token=***&q=***"),
        ("http://h/x#${env:T}", "http://h/x"),
    ],
)
@pytest.mark.parametrize("word", ["word", "h", "x", "", "status", "***", "%77ord", "w ö+rd"])
def test_what_came_by_reference_is_hidden_by_its_place_whatever_it_says(url: str, name: str, word: str) -> None:
    if word or "//${" not in url:
        assert named(url, T=word) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/x/${env:T}/y", "http://h/x/***/y"),
        ("http://h/x?token=${env:T}&page=2", "http://h/x?token=***&page=2"),
        ("http://h${env:S}", "http://h"),
        ("http://h${env:S}/y?page=2", "http://h/***/y?page=2"),
    ],
)
def test_a_reference_that_brings_the_signs_of_a_url_is_hidden_whole(url: str, name: str) -> None:
    assert named(url, T=WORD, S=f"/{WORD}") == name


@pytest.mark.parametrize(
    ("url", "name", "value"),
    [
        ("${env:U}", "http://h:8080", "http://me:word@h:8080/word?token=word#word"),
        ("${env:U}", "http://h", "  http://h\n/wo\trd"),
        ("${env:U}/health", "http://h:8080/health", "http://h:8080"),
        ("${env:U}/health", "http://h:8080/***/health", "http://h:8080/word"),
        ("http://${env:U}/health", "http://db.internal/health", "db.internal"),
        ("http://${env:U}/health", "http://db.internal:81/health", "me:word@DB.internal:81"),
        ("http://${env:U}:80/health", "http://db.internal/health", "db.internal"),
        ("http://me${env:U}/health", "http://db.internal/***/health", ":word@db.internal/word?word"),
        ("http://[${env:U}]/health", "http://[::1]/health", "::1"),
    ],
)
def test_the_host_is_shown_wherever_it_came_from(url: str, name: str, value: str) -> None:
    assert named(url, U=value) == name


@given(
    st.text(),
    st.sampled_from(
        ["http://h/${env:T}", "http://h/a/${env:T}/b?c=${env:T}", "http://h/?${env:T}", "http://u:${env:T}@h/"]
    ),
    st.sampled_from(["", "/", "?", "#", "@h/", "/../"]),
)
def test_whatever_a_reference_brings_is_not_shown(text: str, url: str, sign: str) -> None:
    try:
        name = named(url, T=f"sesame{sign}sesame{text}")
    except ConfigError as error:
        name = str(error)
    host = name.partition("://")[2].partition("/")[0]
    assert "sesame" not in name.replace(host, "", 1)


def test_a_reference_of_which_the_place_is_not_known_leaves_the_host_alone() -> None:
    assert shown(Referenced("http://h/word?q=1", "http://h/${env:T}?q=1")) == "http://h"


@pytest.mark.parametrize("url", ["http://h", "http://h/", "http://h/a b?c=d e", "https://h:444/ü?x", "http://[::1]:8/"])
def test_a_url_without_secrets_is_shown_as_it_is_asked_for(url: str) -> None:
    assert named(url) == str(URL(url))


def test_names_that_are_alike_are_numbered_in_their_order() -> None:
    assert numbered({"a": "x", "b": "y", "c": "x", "d": "x"}) == {"a": "x", "b": "y", "c": "x#2", "d": "x#3"}


def instances(samples: list[Any], family: str) -> dict[str, float]:
    return {sample.labels[0]: sample.value for sample in samples if sample.family.name == family}


async def test_targets_that_look_the_same_are_all_there(tmp_path: Path) -> None:
    """Nothing listens at the second; the third is told from the first by a token alone, which nobody sees."""
    file = tmp_path / "urls"
    async with serving(says(OK)) as port:
        base = f"http://127.0.0.1:{port}/x?token="
        file.write_text(f"{base}third\nhttp://127.0.0.1:{port}/y\n")
        urls = f'urls = ["{base}${{env:A}}", "http://me:${{env:B}}@127.0.0.1:1/", "{base}second"]\nurls_file = "{file}"'
        prober = Http(options(urls, A="first", B="word"))
        fan_out = FanOut(prober, 5.0)
        found = instances([*await fan_out.collect()], "probe_success")
        assert found == {
            f"{base}***": 1.0,
            "http://127.0.0.1:1/": 0.0,
            f"{base}***#2": 1.0,
            f"{base}***#3": 1.0,
            f"http://127.0.0.1:{port}/y": 1.0,
        }
        file.write_text("")
        assert len(instances([*await fan_out.collect()], "probe_success")) == 3
        await prober.close()


@pytest.mark.parametrize("line", ['body = "user=me&password=w0rd"', 'body = "${env:BODY}"'])
async def test_a_body_is_sent_and_not_shown(line: str) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.append(await reader.readexactly(21))
        writer.write(OK)

    async with serving(talk) as port:
        text = f'[collectors.http]\nurl = "http://127.0.0.1:{port}/"\nmethod = "POST"\n{line}\n'
        environ = {"BODY": "user=me&password=w0rd"}
        config = loads(text, collectors={"http": lambda: HttpOptions}, exporters={}, environ=environ)
        given: Any = config.collectors[0].options
        prober = Http(given)
        assert instances([*await FanOut(prober, 5.0).collect()], "probe_success") == {f"http://127.0.0.1:{port}/": 1.0}
        await prober.close()
    assert heard == [b"user=me&password=w0rd"]
    assert "w0rd" not in repr(given) + str(effective(config))
