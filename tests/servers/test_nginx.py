"""HTTP probes of a real nginx, and beside them the real blackbox_exporter on the same targets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.fanout import FanOut
from collectors.probes.http import Http
from tests.collectors.probes.http_proxy import proxying
from tests.collectors.probes.test_http import book, probed, reason
from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, within
from tests.servers.nginx_servers import FILES, LOGIN, Nginx
from tests.servers.test_probes import Blackbox, differences, ours

pytestmark = pytest.mark.servers


def ca(web: Nginx) -> dict[str, Any]:
    return {"ca_file": str(web.certificates.authority), "family": "ip4"}


def client(web: Nginx) -> dict[str, Any]:
    web.certificates.leaf("client")
    at = web.certificates.folder / "client"
    return {"cert_file": f"{at}.pem", "key_file": f"{at}.key"}


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("hello", {"expect_body": "^hello$"}, ""),
        ("hello", {"method": "HEAD", "expect_headers": {"Server": "nginx"}}, ""),
        ("none", {}, "status"),
        ("none", {"expect_status": (404,)}, ""),
        ("down", {}, "status"),
        ("to-other-path", {"expect_body": "^hello$"}, ""),
        ("to-other-path", {"follow_redirects": False, "expect_status": (302,)}, ""),
        ("around", {}, "redirect"),
        ("cookie", {"expect_body": "^welcome$"}, ""),
        ("posted", {"method": "POST", "body": "ping", "expect_body": "^4$"}, ""),
        ("login", {}, "status"),
        ("login", {"username": "user", "password": "word"}, ""),
        ("hello", {"expect_version": ("HTTP/1.0",)}, "version"),
        ("hello", {"headers": {"Connection": "keep-alive"}}, ""),
        ("health.json", {"expect_json": ("status == 'ok'", "length(nodes[?up]) == `2`")}, ""),
        ("health.json", {"expect_json": ("length(nodes) > `2`",)}, "body"),
        ("long", {"body_limit": 100}, "too_large"),
    ],
)
async def test_what_nginx_answers(web: Nginx, path: str, options: dict[str, Any], expected: str) -> None:
    if "password" in options:
        from config import Secret

        options = {**options, "password": Secret(options["password"])}
    found = await probed(f"http://127.0.0.1:{web.plain}/{path}", **options)
    assert reason(found) == expected
    assert found["probe_http_version"] == 1.1


async def test_a_file_has_a_length_and_an_age(web: Nginx) -> None:
    found = await probed(f"http://127.0.0.1:{web.plain}/hello")
    written = (web.folder / "root" / "hello").stat().st_mtime
    assert found["probe_http_last_modified_timestamp_seconds"] == int(written)
    assert found["probe_http_content_length"] == 5.0


async def test_compression_is_seen_through_when_it_was_asked_for(web: Nginx) -> None:
    url = f"http://127.0.0.1:{web.plain}/compressed/long"
    plain = await probed(url, reject_headers={"Content-Encoding": "."})
    found = await probed(
        url, headers={"Accept-Encoding": "gzip"}, expect_headers={"Content-Encoding": "gzip"}, expect_body="again"
    )
    assert (reason(plain), reason(found)) == ("", "")
    whole = float(len(FILES["long"]))
    assert plain["probe_http_content_length"] == plain["probe_http_uncompressed_body_length"] == whole
    assert (found["probe_http_content_length"], found["probe_http_uncompressed_body_length"]) == (-1.0, whole)


async def test_redirects_lead_into_tls_and_out_of_it(web: Nginx) -> None:
    into = await probed(f"http://localhost:{web.plain}/to-tls", expect_tls=True, **ca(web))
    out = await probed(f"https://localhost:{web.tls}/to-plain", expect_tls=True, **ca(web))
    assert (reason(into), into["probe_http_ssl"], into["probe_ssl_verified"]) == ("", 1.0, 1.0)
    assert (reason(out), out["probe_http_ssl"], out["probe_http_redirects"]) == ("tls", 0.0, 1.0)


async def test_a_demanded_client_certificate(web: Nginx) -> None:
    url = f"https://localhost:{web.locked}/who"
    shown = await probed(url, expect_body="CN=client", **ca(web), **client(web))
    missed = await probed(url, **ca(web))
    assert (reason(shown), shown["probe_http_status_code"]) == ("", 200.0)
    assert (reason(missed), missed["probe_http_status_code"]) == ("status", 400.0), "nginx says it in HTTP"
    assert missed["probe_ssl_earliest_cert_expiry"] > 0


async def test_unix_sockets(web: Nginx) -> None:
    plain = await probed("http://app.example/hello", socket=web.socket, expect_body="^hello$")
    secured = await probed("https://localhost/hello", socket=web.tls_socket, **ca(web))
    assert (reason(plain), reason(secured), secured["probe_http_ssl"]) == ("", "", 1.0)
    assert web.noted('host="app.example"')


async def test_a_proxy_of_plain_http(web: Nginx) -> None:
    url = f"http://me:mine@127.0.0.1:{web.plain}/hello?through=proxy"
    found = await probed(url, proxy=web.proxy_url, expect_body="^hello$")
    refused = await probed(url, proxy=f"http://127.0.0.1:{web.proxy}")
    assert (reason(found), reason(refused)) == ("", "proxy")
    assert (found["probe_http_status_code"], refused["probe_http_status_code"]) == (200.0, 407.0)
    (line,) = web.noted('/hello?through=proxy HTTP/1.0"')  # as nginx asks where it proxies
    assert line.startswith(f"{web.plain} ")
    assert 'login="Basic bWU6bWluZQ=="' in line
    assert 'proxy="-"' in line


async def test_a_proxy_of_https(web: Nginx) -> None:
    url = f"https://localhost:{web.locked}/who?through=tunnel"
    options = {**ca(web), **client(web), "expect_body": "CN=client"}
    async with proxying(LOGIN) as proxy:
        place = f"127.0.0.1:{proxy.port}"
        found = await probed(url, proxy=f"http://{LOGIN}@{place}", **options)
        refused = await probed(url, proxy=f"http://{place}", **ca(web))
    assert (reason(found), found["probe_http_ssl"], found["probe_ssl_verified"]) == ("", 1.0, 1.0)
    assert (reason(refused), refused["probe_http_status_code"]) == ("proxy", 0.0)
    assert {head.split("\r\n")[0] for head in proxy.heads} == {f"CONNECT localhost:{web.locked} HTTP/1.1"}
    (line,) = web.noted("through=tunnel")
    assert 'proxy="-"' in line


async def test_many_targets_of_one_server(web: Nginx) -> None:
    urls = tuple(f"http://127.0.0.1:{web.plain}/hello?number={at}" for at in range(200))
    prober = Http(Http.Options(urls=urls))
    found = list(await FanOut(prober, 10.0).collect())
    await prober.close()
    assert sum(one.value for one in found if one.family.name == "probe_success") == 200.0  # type: ignore[misc]  # floats


# -- beside blackbox_exporter -------------------------------------------------------------------------------------

CEL = "probe_failed_due_to_cel"
LEFT_OUT = {
    ("not_followed", "probe_http_uncompressed_body_length"): "blackbox_exporter leaves the body of a redirect unread",
}
# name -> what its module says, the options of ours, which server, which path
BESIDE: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "plain": ({}, {}, "plain", "hello"),
    "gone": ({}, {}, "plain", "none"),
    "redirected": ({}, {}, "plain", "to-other-path"),
    "into_tls": ({"fail_if_not_ssl": True}, {"expect_tls": True}, "plain", "to-tls"),
    "no_tls": ({"fail_if_not_ssl": True}, {"expect_tls": True}, "plain", "hello"),
    "unwanted_tls": ({"fail_if_ssl": True}, {"expect_tls": False}, "tls", "hello"),
    "not_followed": ({"follow_redirects": False}, {"follow_redirects": False}, "plain", "to-other-path"),
    "cookie": ({}, {}, "plain", "cookie"),
    "long": ({}, {}, "plain", "compressed/long"),
    "gzip": (
        {"compression": "gzip", "headers": {"Accept-Encoding": "gzip"}},
        {"headers": {"Accept-Encoding": "gzip"}, "expect_headers": {"Content-Encoding": "gzip"}},
        "plain",
        "compressed/long",
    ),
    "header": (
        {"fail_if_header_matches": [{"header": "Server", "regexp": "nginx"}]},
        {"reject_headers": {"Server": "nginx"}},
        "plain",
        "hello",
    ),
    "bodies": (
        {"fail_if_body_not_matches_regexp": ["hel", "llo"], "fail_if_body_matches_regexp": ["never"]},
        {"expect_body": ("hel", "llo"), "reject_body": ("never",)},
        "plain",
        "hello",
    ),
    "json": (
        {"fail_if_body_json_not_matches_cel": "body.status == 'ok' && size(body.nodes) > 1"},
        {"expect_json": ("status == 'ok'", "length(nodes) > `1`")},
        "plain",
        "health.json",
    ),
    "other_json": (
        {"fail_if_body_json_not_matches_cel": "size(body.nodes) > 5"},
        {"expect_json": ("length(nodes) > `5`",)},
        "plain",
        "health.json",
    ),
    "no_json": (
        {"fail_if_body_json_matches_cel": "body.status == 'bad'"},
        {"expect_json": ("status != 'bad'",)},
        "plain",
        "hello",
    ),
    "method": ({"method": "POST", "body": "ping"}, {"method": "POST", "body": "ping"}, "plain", "posted"),
    "old": ({"valid_http_versions": ["HTTP/1.0"]}, {"expect_version": ("HTTP/1.0",)}, "plain", "hello"),
    "proxied": ({"proxy_url": "{proxy}"}, {"proxy": "{proxy}"}, "plain", "hello"),
    "proxied_elsewhere": ({"proxy_url": "{proxy}"}, {"proxy": "{proxy}"}, "plain", "to-other-path"),
    "proxied_refused": ({"proxy_url": "{open_proxy}"}, {"proxy": "{open_proxy}"}, "plain", "hello"),
    "tunnel_refused": ({"proxy_url": "{open_tunnel}"}, {"proxy": "{open_tunnel}"}, "tls", "hello"),
    "nobody": ({"proxy_url": "http://127.0.0.1:1"}, {"proxy": "http://127.0.0.1:1"}, "plain", "hello"),
    "tunnelled": ({"proxy_url": "{tunnel}"}, {"proxy": "{tunnel}"}, "tls", "hello"),
    "client": (
        {"tls_config": {"cert_file": "{client}.pem", "key_file": "{client}.key"}},
        {"cert_file": "{client}.pem", "key_file": "{client}.key"},
        "locked",
        "who",
    ),
    "no_client": ({}, {}, "locked", "who"),
}


def filled(value: Any, facts: dict[str, str]) -> Any:
    """With the places of this run."""
    if isinstance(value, dict):
        return {name: filled(one, facts) for name, one in value.items()}
    return value.format(**facts) if isinstance(value, str) and "{" in value else value


class Side:
    """What runs beside: the exporter, and what the options of both need to know."""

    def __init__(self, blackbox: Blackbox, facts: dict[str, str]) -> None:
        self.blackbox, self.facts = blackbox, facts


@pytest.fixture
async def side(tmp_path: Path, web: Nginx) -> AsyncIterator[Side]:
    client(web)
    async with proxying(LOGIN) as proxy:
        tunnel, place = f"http://{LOGIN}@127.0.0.1:{proxy.port}", str(web.certificates.folder / "client")
        facts = {"proxy": web.proxy_url, "tunnel": tunnel, "client": place}
        facts |= {f"open_{name}": facts[name].replace(f"{LOGIN}@", "") for name in ("proxy", "tunnel")}
        modules = {}
        for name, (options, *_) in BESIDE.items():
            http = filled(options, facts)
            http["tls_config"] = {"ca_file": str(web.certificates.authority), **http.get("tls_config", {})}
            modules[name] = {"prober": "http", "timeout": "5s", "http": {"preferred_ip_protocol": "ip4", **http}}
        file, port = tmp_path / "blackbox.yml", free_port()
        file.write_text(json.dumps({"modules": modules}))  # JSON is YAML
        command = [need_peer("prometheus-blackbox-exporter"), f"--config.file={file}"]
        with Process([*command, f"--web.listen-address=127.0.0.1:{port}"], tmp_path / "blackbox.log") as process:
            up = f"http://127.0.0.1:{port}/-/healthy"
            within(20, lambda: get(up)[0] == 200, f"blackbox_exporter is up; it printed {process.output[-500:]}")
            yield Side(Blackbox(port), facts)


async def test_names_and_values_are_those_of_blackbox_exporter(web: Nginx, side: Side) -> None:
    faults: list[str] = []
    families: set[str] = set()
    for module, (_, options, server, path) in BESIDE.items():
        scheme, port = ("http" if server == "plain" else "https"), getattr(web, server)
        host = "127.0.0.1" if module.startswith("proxied") else "localhost"  # this proxy looks no name up
        url = f"{scheme}://{host}:{port}/{path}"
        theirs = await side.blackbox.series(module, url)
        prober = Http(Http.Options(url=url, **{**ca(web), **filled(options, side.facts)}))
        mine = ours(await FanOut(prober, 5.0).collect())
        await prober.close()
        theirs = {name: series for name, series in theirs.items() if (module, name) not in LEFT_OUT}
        families |= set(theirs)
        faults += [f"{module}: {one}" for one in differences(theirs, mine)]
        if theirs.get(CEL, {}) != mine.get(CEL, {}):  # which the other tests leave out
            faults.append(f"{module}: {CEL}: {mine.get(CEL)}")
    print(f"{len(BESIDE)} modules, {len(families)} families of blackbox_exporter, {len(faults)} faults")
    assert not faults, "\n".join(faults)


async def test_a_client_that_goes_away_leaves_nothing_behind(web: Nginx) -> None:
    """A round that is cut off right at its beginning ends its connections; the next one is whole."""
    prober = Http(Http.Options(urls=tuple(f"http://127.0.0.1:{web.plain}/hello?cut={at}" for at in range(50))))
    round_ = asyncio.create_task(FanOut(prober, 5.0).collect())  # type: ignore[arg-type]  # a coroutine
    while not any(task.get_name() == "probe" for task in asyncio.all_tasks()):
        await asyncio.sleep(0)
    round_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await round_
    found = list(await FanOut(prober, 5.0).collect())
    await prober.close()
    assert sum(one.value for one in found if one.family.name == "probe_success") == 50.0  # type: ignore[misc]  # floats
    assert book(found)["probe_success"] == 1.0
