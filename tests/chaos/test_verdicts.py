"""What becomes of a batch, verdict by verdict: the real daemon before a receiver that answers in every bad way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from agent.ledger import Entry
from agent.spool.offline import Offline
from tests import plugins, receiver
from tests.receiver import Answer, Labels, Receiver, taken
from tests.running import Running, eventually

pytestmark = pytest.mark.chaos

CONFIG = """
[agent]
interval = "200ms"
[spool]
min_free = "0%"
[collectors.numbers]
series = 20
poison = true
[exporters.remote_write]
url = "{url}"
timeout = "400ms"
{more}
"""


@pytest.fixture
def to() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture
def agent(tmp_path: Path, to: Receiver) -> Iterator[Running]:
    with Running(tmp_path, CONFIG.format(url=to.url, more=""), plugins=plugins.install(tmp_path / "plugins")) as one:
        yield one


def statuses(to: Receiver) -> list[int]:
    return [seen.status for seen in to.requests]


def end(agent: Running, to: Receiver) -> Entry:
    """Let the receiver take everything, stop the agent, and hold its account against what arrived."""
    to.default = taken if to.default is not POISONED else POISONED
    eventually(lambda: agent.ledger()["pending"] < 200, "catching up")
    assert agent.stop() == 0
    with Offline(agent.state) as spool:
        (entry,) = spool.entries()
    assert entry.balanced
    assert (entry.pending, entry.dropped) == (0, {})
    assert to.items == entry.delivered
    assert (to.conflicts, to.disorder) == ([], [])
    return entry


def is_poison(labels: Labels) -> bool:
    return ("__name__", "poison") in labels


POISONED = receiver.poisoned(is_poison)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (receiver.status(500), "5xx"),
        (receiver.status(503), "5xx"),
        (receiver.status(429), "429"),
        (receiver.status(404), "4xx"),
        (receiver.status(301, Location="http://127.0.0.1:1/"), "3xx"),
        (receiver.reset(), "reset"),
        (receiver.hang(5.0), "timeout"),
        (receiver.truncated(), "reset"),
        (receiver.endless(500), "5xx"),
    ],
    ids=["500", "503", "429", "404", "301", "reset", "hang", "truncated", "endless"],
)
def test_what_was_not_taken_is_sent_again_until_it_is(agent: Running, to: Receiver, bad: Answer, kind: str) -> None:
    to.script.append(bad)
    agent.start()
    to.wait(lambda: len(to.requests) >= 1)
    requests = agent.status()["exporters"][0]["requests"]
    if kind in ("3xx", "4xx"):  # waits for the configuration to be mended
        eventually(lambda: kind in agent.status()["exporters"][0]["requests"], "the verdict")
        assert not agent.status()["ready"]
        assert agent.stop() == 0
        agent.start()
    else:
        to.wait(lambda: len(to.record) > 0)
        eventually(lambda: agent.status()["exporters"][0]["requests"].get(kind) == 1, f"{kind} counted; {requests}")
    assert end(agent, to).rejected == {}


@pytest.mark.parametrize(
    "bad",
    [receiver.reset(keep=True), receiver.hang(5.0, keep=True), receiver.truncated(keep=True)],
    ids=["reset", "hang", "truncated"],
)
def test_what_was_stored_without_an_answer_comes_again_identical(agent: Running, to: Receiver, bad: Answer) -> None:
    to.script.append(bad)
    agent.start()
    to.wait(lambda: to.duplicates > 0)
    end(agent, to)


def test_a_success_is_believed_although_its_body_never_ends(agent: Running, to: Receiver) -> None:
    to.script.append(receiver.endless(200))
    agent.start()
    to.wait(lambda: len(to.requests) >= 3)
    assert to.duplicates == 0
    end(agent, to)


@pytest.mark.parametrize(
    ("after", "least"),
    [
        (lambda: "2", 2.0),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True), 1.0),
    ],
    ids=["seconds", "date"],
)
def test_the_wait_that_the_server_asks_for_is_kept(
    agent: Running, to: Receiver, after: Callable[[], str], least: float
) -> None:
    to.script.append(receiver.status(429, Retry_After=after()))
    agent.start()
    to.wait(lambda: len(to.requests) >= 2)
    first, second = to.requests[:2]
    assert least <= second.at - first.at <= least + 3.0
    assert end(agent, to).rejected == {}


def test_one_poisoned_series_goes_to_the_dead_letters_and_nothing_else_does(agent: Running, to: Receiver) -> None:
    to.default = POISONED
    agent.start()
    to.wait(lambda: statuses(to).count(204) >= 6)
    assert agent.status()["ready"]
    entry = end(agent, to)
    rounds = len(to.series("number", at="0"))
    assert entry.rejected == {"bad_request": rounds}
    assert not any(map(is_poison, to.record))
    with Offline(agent.state) as spool:
        dead = spool.rejected()
    assert len(dead) == rounds
    assert all("invalid series" in one.message for one in dead)


def test_known_poison_is_sent_apart_from_all_else(agent: Running, to: Receiver) -> None:
    to.default = POISONED
    agent.start()
    to.wait(lambda: statuses(to).count(400) >= 25)
    refused = [seen.samples for seen in to.requests if seen.status == 400][-10:]
    assert max(refused) <= 5  # the poison of a chunk alone
    end(agent, to)


def test_requests_that_are_too_large_are_halved(agent: Running, to: Receiver) -> None:
    to.default = receiver.small(30)
    agent.start()
    to.wait(lambda: statuses(to).count(413) >= 3 and len(to.record) > 0)
    assert max(seen.samples for seen in to.requests if seen.status == 204) <= 30
    assert end(agent, to).rejected == {}


@pytest.mark.parametrize(
    ("receiver_of_1", "refusal"), [(receiver.old(), 415), (receiver.speechless, 200)], ids=["415", "silence"]
)
def test_an_unknown_content_type_means_the_older_one_from_then_on(
    agent: Running, to: Receiver, receiver_of_1: Answer, refusal: int
) -> None:
    to.default = receiver_of_1
    agent.start()
    to.wait(lambda: [seen.version for seen in to.requests].count("1.0") >= 3)
    assert [seen.version for seen in to.requests][:2] == ["2.0", "1.0"]
    assert to.requests[0].status == refusal
    assert {seen.version for seen in to.requests[1:]} == {"1.0"}
    assert end(agent, to).rejected == {}


def test_a_new_secret_in_its_file_is_taken_when_the_old_one_is_refused(
    agent: Running, to: Receiver, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("first")
    agent.configure(CONFIG.format(url=to.url, more=f'bearer_token = "${{file:{secret}}}"'))
    to.default = receiver.guarded("first")
    agent.start()
    to.wait(lambda: len(to.record) > 0)
    secret.write_text("second")
    to.default = receiver.guarded("second")
    to.wait(lambda: statuses(to)[-3:].count(204) == 3 and 401 in statuses(to), what="the new token")
    assert statuses(to).count(401) == 1
    assert end(agent, to).rejected == {}


def test_refused_credentials_keep_the_data_and_turn_readiness_red(agent: Running, to: Receiver) -> None:
    to.default = receiver.guarded("another")
    agent.start()
    eventually(lambda: "refuses the credentials" in agent.ask("/readyz")[1].decode(), "red readiness")
    assert agent.ask("/readyz")[0] == 503
    assert agent.ledger()["pending"] > 0
    before = len(to.requests)
    assert before == 1  # retried slowly
    assert agent.stop() == 0
    agent.start()
    assert end(agent, to).rejected == {}


def test_an_outage_is_caught_up_with_in_order(agent: Running, to: Receiver) -> None:
    agent.start()
    to.wait(lambda: len(to.requests) >= 2)
    to.down()
    eventually(lambda: agent.ledger()["pending"] > 300, "a backlog")
    to.up()
    to.wait(lambda: statuses(to).count(204) >= 5)
    entry = end(agent, to)
    assert to.duplicates == 0
    assert entry.delivered == entry.accepted


def test_a_refusal_of_everything_turns_readiness_red_until_something_is_taken(agent: Running, to: Receiver) -> None:
    to.default = receiver.poisoned(lambda labels: True)
    agent.start()
    eventually(lambda: "refuses all" in agent.ask("/readyz")[1].decode(), "red readiness", 30)
    assert agent.ledger()["rejected"]["bad_request"] > 0
    to.default = taken
    eventually(lambda: agent.ask("/readyz")[0] == 200, "green readiness")
    start = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - start < 10
