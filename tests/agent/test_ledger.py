"""accepted = delivered + pending + dropped + rejected, whatever is booked in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.ledger import DROPPED, Account, Gap, State


def taken(items: int, *exporters: str, signal: str = "metrics", size: int = 10) -> State:
    """A state in which batches of ten items were accepted for some exporters."""
    state = State()
    for name in exporters or ("one",):
        state.attach(name, signal)
    for _ in range(items // size):
        state.accept(signal, size)
    return state


def balanced(state: State) -> bool:
    return all(entry.balanced for entry in state.entries())


def test_items_without_a_verdict_are_booked_as_corrupt():
    state = taken(100)
    assert state.settle("one", "metrics", 5, 50, delivered=42) == 8
    entry = state.entry("one", "metrics")
    assert (entry.delivered, entry.pending, entry.dropped) == (42, 50, {"corrupt": 8})
    assert entry.balanced


def test_a_new_exporter_owes_nothing_of_the_past():
    state = taken(100)
    state.attach("late", "metrics")
    assert state.entry("late", "metrics").accepted == 0
    state.accept("metrics", 7)
    assert state.entry("late", "metrics").pending == 7


def test_attaching_again_changes_nothing():
    state = taken(100)
    state.settle("one", "metrics", 5, 50, delivered=50)
    state.attach("one", "metrics")
    assert state.entry("one", "metrics").pending == 50


def test_a_cursor_never_goes_back_nor_beyond_the_head():
    state = taken(100)
    state.settle("one", "metrics", 5, 50, delivered=50)
    state.settle("one", "metrics", 3, 30, delivered=30)
    state.settle("one", "metrics", 6, 40, delivered=30)
    assert state.entry("one", "metrics").delivered == 50
    state.settle("one", "metrics", 999, 9990, delivered=9940)
    assert state.entry("one", "metrics").delivered == 100
    assert balanced(state)


def test_a_verdict_over_what_was_given_up_meanwhile_is_cut_to_what_was_left():
    state = taken(100)
    state.give_up_to("metrics", 3, 30, "size")
    state.settle("one", "metrics", 5, 50, delivered=40, rejected={"bad": 10})
    entry = state.entry("one", "metrics")
    assert (entry.delivered, entry.rejected, entry.dropped) == (10, {"bad": 10}, {"size": 30})
    assert entry.balanced


def test_a_verdict_that_is_all_refusals_is_cut_as_well():
    state = taken(100)
    state.give_up_to("metrics", 3, 30, "size")
    state.settle("one", "metrics", 5, 50, rejected={"bad": 50})
    entry = state.entry("one", "metrics")
    assert (entry.dropped, entry.rejected) == ({"size": 30}, {"bad": 20})
    assert balanced(state)


def test_giving_up_touches_only_exporters_that_had_not_read_it():
    state = taken(100, "near", "far")
    state.settle("near", "metrics", 8, 80, delivered=80)
    assert state.give_up_to("metrics", 5, 50, "age") == 50
    assert state.entry("near", "metrics").dropped == {}
    assert state.entry("far", "metrics").dropped == {"age": 50}


def test_a_gap_at_the_cursor_is_booked_at_once():
    state = taken(100)
    state.give_up_between("metrics", 0, 20, 2, "memory")
    assert state.entry("one", "metrics").dropped == {"memory": 20}
    assert state.gaps == {}


def test_a_gap_behind_what_is_still_to_be_read_is_booked_when_it_is_passed():
    state = taken(100, "near", "far")
    state.settle("near", "metrics", 3, 30, delivered=30)
    state.give_up_between("metrics", 30, 50, 5, "memory")
    assert state.entry("near", "metrics").dropped == {"memory": 20}
    assert state.entry("far", "metrics").dropped == {}
    assert state.settle("far", "metrics", 6, 60, delivered=40) == 0
    assert state.entry("far", "metrics").dropped == {"memory": 20}
    assert state.gaps == {}
    assert balanced(state)


def test_neighbouring_gaps_are_one():
    state = taken(100)
    for at in range(3, 8):
        state.give_up_between("metrics", at * 10, at * 10 + 10, at + 1, "memory")
    assert state.gaps == {"metrics": [Gap(30, 80, 8, "memory")]}


def test_signals_share_numbers_and_nothing_else():
    state = State()
    state.attach("one", "metrics")
    state.attach("one", "logs")
    assert [state.accept(signal, 5).seq for signal in ("metrics", "logs", "metrics")] == [1, 2, 3]
    assert state.done() == {"metrics": 0, "logs": 0}
    state.settle("one", "logs", 2, 5, delivered=5)
    assert state.passed() == 0
    state.settle("one", "metrics", 1, 5, delivered=5)
    assert state.passed() == 1


def test_what_nobody_follows_is_done():
    state = taken(100)
    del state.accounts["one"]
    assert state.done() == {"metrics": 10}


def test_batches_found_without_an_account_wait_for_whoever_comes():
    state = taken(100)
    state.accounts.clear()
    state.orphaned = True
    assert state.done() == {}
    assert state.passed() == 0


def test_a_copy_is_independent():
    state = taken(100)
    copy = state.copy()
    copy.settle("one", "metrics", 5, 50, delivered=50)
    assert state.entry("one", "metrics").delivered == 0


def test_looking_at_a_signal_never_seen_changes_nothing():
    state = State()
    assert state.head("logs").items == 0
    assert state.heads == {}


def test_every_reason_is_explained():
    assert {"age", "size", "space", "memory", "corrupt", "purged"} == set(DROPPED)


amounts = st.integers(0, 150)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(0, 20)),
        st.tuples(st.just("settle"), st.sampled_from("ab"), amounts, amounts, amounts),
        st.tuples(st.just("evict"), amounts),
        st.tuples(st.just("gap"), amounts, amounts),
    ),
    max_size=30,
)


@given(moves)
def test_the_account_balances_whatever_happens(steps):
    state = State()
    for name in "ab":
        state.attach(name, "metrics")
    batches = [(0, 0)]
    for step in steps:
        match step:
            case ("accept", items):
                head = state.accept("metrics", items)
                batches.append((head.seq, head.items))
            case ("settle", name, at, delivered, rejected):
                seq, items = batches[at % len(batches)]
                state.settle(name, "metrics", seq, items, delivered=delivered, rejected={"bad": rejected})
            case ("evict", at):
                state.give_up_to("metrics", *batches[at % len(batches)], "size")
            case ("gap", at, width):
                first = at % len(batches)
                last = min(first + width, len(batches) - 1)
                if not state.gaps.get("metrics") or state.gaps["metrics"][-1].stop <= batches[first][1]:
                    state.give_up_between("metrics", batches[first][1], batches[last][1], batches[last][0], "memory")
        assert balanced(state)
    for name in "ab":
        state.settle(name, "metrics", *batches[-1])
    assert balanced(state)
    assert state.gaps == {}
    assert all(entry.pending == 0 for entry in state.entries())


def test_moving_an_account_backwards_books_nothing():
    account = Account(seq=5, items=50)
    assert account.move(4, 60, delivered=10) == 0
    assert account.booked == 0


def test_an_exporter_that_is_no_longer_configured_takes_nothing_new() -> None:
    state = State()
    for exporter in ("old", "new"):
        state.attach(exporter, "metrics")
    first = state.accept("metrics", 10)
    assert state.retire(["new"]) == {"old": 10}
    assert state.retire(["new"]) == {}, "once"
    state.accept("metrics", 5)
    old, new = state.entry("old", "metrics"), state.entry("new", "metrics")
    assert (old.accepted, old.pending, new.accepted) == (10, 10, 15)
    assert state.done() == {"metrics": 0}, "what came before still waits"
    state.settle("old", "metrics", 99, 99, reason="purged")
    state.settle("new", "metrics", first.seq, first.items, delivered=10)
    assert state.entry("old", "metrics").dropped == {"purged": 10}
    assert state.done() == {"metrics": first.seq}, "a finished account holds nothing up"
    assert all(entry.balanced for entry in state.entries())


def test_an_exporter_that_comes_back_finds_what_waited_and_all_that_is_still_there() -> None:
    state = State()
    state.attach("mine", "metrics")
    state.accept("metrics", 10)
    state.retire([])
    state.accept("metrics", 5)
    state.attach("mine", "metrics")
    assert (state.entry("mine", "metrics").accepted, state.entry("mine", "metrics").pending) == (15, 15)


def test_an_exporter_that_comes_back_owes_nothing_of_what_went_by() -> None:
    state = State()
    state.attach("mine", "metrics")
    head = state.accept("metrics", 10)
    state.settle("mine", "metrics", head.seq, head.items, delivered=10)
    state.retire([])
    assert not state.wanted("metrics")
    state.accept("metrics", 5)
    state.attach("mine", "metrics")
    entry = state.entry("mine", "metrics")
    assert (entry.accepted, entry.delivered, entry.pending) == (10, 10, 0)
    assert entry.balanced
