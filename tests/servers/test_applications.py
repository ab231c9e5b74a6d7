"""docs/applications.md, run: the application, the agent, and the queries of its table."""

from __future__ import annotations

import re
import sys
import urllib.request
from pathlib import Path

import pytest

from collectors.scrape.client import REASONS
from tests.conftest import ROOT, free_port
from tests.daemon import NIGHTJAR, Process, get, query, within
from tests.servers.scrape_servers import Scraper

DOCUMENT = (ROOT / "docs" / "applications.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return str(found)


def table(heading: str) -> dict[str, str]:
    rows = DOCUMENT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ", 1)] for row in rows]
    return {left.strip("`"): right[1:-1] if right.startswith("`") else right for left, right in cells}


def test_the_reasons_are_those_of_the_code() -> None:
    assert table("reason") == REASONS


@pytest.mark.servers
def test_the_application_s_metrics_arrive(scraper: Scraper, tmp_path: Path) -> None:
    keeper, port = scraper(), free_port()
    (tmp_path / "shop.py").write_text(block("python").replace("shop.db", f"/{tmp_path / 'shop.db'}"))
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--app-dir", str(tmp_path), "--port", str(port)]
    config = block("toml").replace("https://metrics.example.com", keeper).replace(":8000", f":{port}")
    (tmp_path / "agent.toml").write_text(
        f'[agent]\ninterval = "1s"\nlisten = ""\nstate_dir = "{tmp_path / "state"}"\n{config}'
    )
    with Process(command, tmp_path / "shop.log") as shop:
        within(30, lambda: get(f"http://127.0.0.1:{port}/metrics")[0] == 200, f"the shop answers: {shop.output}")
        with Process([NIGHTJAR, "run", "-c", str(tmp_path / "agent.toml")], tmp_path / "agent.log") as agent:
            post(port, "express", times=3)
            within(20, lambda: value(keeper, 'shop_orders_total{lane="express"}') == 3.0, f"orders: {agent.output}")
            post(port, "express", times=2)
            within(20, lambda: value(keeper, 'shop_orders_total{lane="express"}') == 5.0, "more orders")
            (up,) = query(keeper, 'up{job="shop"}')
            assert up["value"][1] == "1"
            assert up["metric"]["instance"] == f"127.0.0.1:{port}"
            assert value(keeper, "db_pool_size") == 5.0
            assert value(keeper, 'http_request_duration_seconds_count{route="/orders/{lane}",status="200"}') == 5.0
            for question, expression in table("question").items():
                if "status=~" not in expression:
                    within(10, lambda: query(keeper, expression), question)  # noqa: B023  # asked at once


def post(port: int, lane: str, *, times: int) -> None:
    for _ in range(times):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/orders/{lane}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


def value(base: str, expression: str) -> float | None:
    found = query(base, expression)
    return float(found[0]["value"][1]) if found else None
