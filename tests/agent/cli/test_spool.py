"""`nightjar spool` on a state directory that no agent holds; with a running agent: tests/process."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli import nightjar
from agent.model import Delivered, MetricBatch, Rejected, Request, Series, SeriesSet
from agent.spool import RejectedBatch, Settlement, Spool, encode
from exporters.file import File


def batch(at: int) -> MetricBatch:
    series = SeriesSet([Series("m", "gauge", "Help.", "", (("i", str(i)),)) for i in range(10)])
    return MetricBatch("test", 1_700_000_000_000 + at * 1000, series, [at + i / 4 for i in range(10)])


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration whose spool holds three batches, of which one has gone and one was refused."""

    async def fill() -> None:
        spool = Spool(tmp_path / "state")
        await spool.open()
        await spool.attach([("file", "metrics")])
        await spool.append([batch(0), batch(1), batch(2), batch(3)])
        stored = encode(batch(1))
        letter = RejectedBatch(
            "file", "metrics", stored.time_ms, 10, "bad_request", "no such thing", stored.series, stored.payload
        )
        await spool.settle(Settlement("file", "metrics", 2, 20, delivered=10, rejected=(letter,)))
        await spool.close()

    asyncio.run(fill())
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[agent]\nstate_dir = "{tmp_path / "state"}"\n[exporters.file]\npath = "{tmp_path / "out.jsonl"}"\n'
    )
    return str(path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(nightjar, ["spool", *arguments], catch_exceptions=False)


def document(*arguments: str) -> object:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_stat_shows_the_ledger(config: str) -> None:
    (entry,) = document("stat", "--json", "-c", config)["ledger"]
    assert (entry["accepted"], entry["delivered"], entry["pending"]) == (40, 10, 20)
    assert entry["rejected"] == {"bad_request": 10}
    assert entry["balanced"]
    assert "10 bad_request" in call("stat", "-c", config).stdout


def test_list_and_show_tell_what_waits_and_for_whom(config: str) -> None:
    found = document("list", "--json", "-c", config)
    assert [(one["seq"], one["items"], one["waiting"]) for one in found] == [(3, 10, ["file"]), (4, 10, ["file"])]
    shown = document("show", "3", "-c", config)
    assert shown["samples"][2] == {"name": "m", "labels": {"i": "2"}, "type": "gauge", "value": 2.5}
    assert "there is no batch 99" in call("show", "99", "-c", config).stderr


def test_the_dead_letters_keep_the_servers_words(config: str) -> None:
    (letter,) = document("list", "--rejected", "--json", "-c", config)
    assert (letter["reason"], letter["message"]) == ("bad_request", "no such thing")
    shown = document("show", "--rejected", str(letter["id"]), "-c", config)
    assert shown["samples"][0]["value"] == 1.0


def test_verify_says_sound_and_finds_damage(config: str, tmp_path: Path) -> None:
    assert call("verify", "-c", config).stdout == "sound\n"
    with (tmp_path / "state/spool.db").open("r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * 60_000)
    result = call("verify", "-c", config)
    assert result.exit_code == 1
    assert result.stdout.strip()


def test_purge_asks_first_and_counts_what_it_gives_up(config: str) -> None:
    assert call("purge", "--exporter", "file", "-c", config).exit_code == 1
    assert "gave up 20 items" in call("purge", "--exporter", "file", "--yes", "-c", config).stdout
    (entry,) = document("stat", "--json", "-c", config)["ledger"]
    assert (entry["pending"], entry["dropped"]) == (0, {"purged": 20})
    assert entry["balanced"]


def test_purge_without_a_wish_is_a_usage_error(config: str) -> None:
    assert call("purge", "--yes", "-c", config).exit_code == 2


def test_replay_sends_what_waits_once_more(config: str, tmp_path: Path) -> None:
    assert "20 items delivered, 0 refused" in call("replay", "--to", "file", "-c", config).stdout
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["value"] for line in lines[:2]] == [2.0, 2.25]
    (entry,) = document("stat", "--json", "-c", config)["ledger"]
    assert entry["pending"] == 20, "a replay is not the delivery"


def test_replayed_dead_letters_are_forgotten(config: str, tmp_path: Path) -> None:
    assert "10 items delivered" in call("replay", "--rejected", "--to", "file", "-c", config).stdout
    assert document("list", "--rejected", "--json", "-c", config) == []


def test_dead_letters_that_are_refused_again_are_kept_and_the_others_forgotten(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def picky(self: File, request: Request) -> Delivered:
        if b"1.25" in request.body:
            raise Rejected("still no", reason="bad_request")
        return Delivered()

    async def refuse_more() -> None:
        spool = Spool(Path(config).parent / "state")
        await spool.open()
        stored = encode(batch(7))
        letter = RejectedBatch(
            "file", "metrics", stored.time_ms, 10, "bad_request", "nor this", stored.series, stored.payload
        )
        await spool.settle(Settlement("file", "metrics", 3, 30, rejected=(letter,)))
        await spool.close()

    asyncio.run(refuse_more())
    monkeypatch.setattr(File, "send", picky)
    result = call("replay", "--rejected", "--to", "file", "-c", config)
    assert (result.exit_code, result.stderr) == (1, "refused: still no\n")
    (left,) = document("list", "--rejected", "--json", "-c", config)
    assert left["message"] == "no such thing"


@pytest.mark.parametrize(("content", "fault"), [(b"a-host\n", "is no spool"), (b"", "is empty")])
def test_a_file_that_is_no_spool_cannot_be_replayed(config: str, tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "other").write_bytes(content)
    result = call("replay", "--to", "file", "-c", config, str(tmp_path / "other"))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"nightjar: {tmp_path}/other {fault}\n")


def test_config_check_tells_what_waits_and_changes_nothing(config: str, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    result = CliRunner().invoke(nightjar, ["config", "check", "-c", config], catch_exceptions=False)
    assert re.search(r"waiting there: 20 items for file, the oldest stored \d+ s ago; ", result.stdout)
    assert result.stderr == ""
    assert {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()} == before


@pytest.mark.parametrize("at", [0, 3 * 8192])
def test_config_check_says_that_the_spool_is_damaged(config: str, tmp_path: Path, at: int) -> None:
    with (tmp_path / "state/spool.db").open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 60_000)
    result = CliRunner().invoke(nightjar, ["config", "check", "-c", config], catch_exceptions=False)
    assert result.exit_code == 0, "the configuration is sound"
    assert result.stderr.startswith(f"trouble: {tmp_path}/state/spool.db is ")
    assert result.stderr.endswith("; starting the agent saves what is sound\n")


def test_a_file_set_aside_can_be_replayed(config: str, tmp_path: Path) -> None:
    aside = tmp_path / "spool.db.corrupt-20260101T000000Z"
    aside.write_bytes((tmp_path / "state/spool.db").read_bytes())
    os.truncate(aside, aside.stat().st_size - 100)
    result = call("replay", "--to", "file", "-c", config, str(aside))
    assert result.exit_code == 0, result.output
    assert "items delivered" in result.stdout


def test_an_unknown_exporter_is_named_with_those_there_are(config: str) -> None:
    result = call("replay", "--to", "fiel", "-c", config)
    assert result.exit_code == 2
    assert "there are: file" in result.stderr


@pytest.mark.parametrize(
    "command", [("stat",), ("list",), ("show", "3"), ("verify",), ("purge", "--rejected", "--yes")]
)
def test_with_a_state_directory_the_configuration_is_not_read(
    config: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    Path(config).write_text("= broken")
    without = call(*command, "-c", config)
    assert without.exit_code == 78
    assert without.stderr.startswith(f"{config}:1:1: ")
    assert "--state-dir DIR" in without.stderr
    result = call(*command, "-c", config, "--state-dir", str(tmp_path / "state"))
    assert result.exit_code == 0, result.output


def test_replay_needs_the_configuration_and_promises_no_way_round_it(config: str) -> None:
    Path(config).write_text("= broken")
    result = call("replay", "--to", "file", "-c", config)
    assert result.exit_code == 78
    assert "--state-dir" not in result.stderr


def test_without_a_spool_the_message_says_where_it_looked(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nstate_dir = "{tmp_path / "nothing"}"\n')
    result = call("stat", "-c", str(path))
    assert result.exit_code == 1
    assert str(tmp_path / "nothing") in result.stderr
