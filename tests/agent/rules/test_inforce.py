"""Which rules count, whoever wrote them."""

from __future__ import annotations

from agent.rules.inforce import InForce, rules_in_force
from config import Config, Duration, Place
from config.rules import Recording, Rule, rule

DOWN = rule("Down", "up == 0", severity="critical", summary="down", hold="1m")
SLOW = rule("Slow", "slow > 1", severity="warning", summary="slow")
EXPIRY = rule("Expiry", "days < 14", severity="warning", summary="soon")
EXPIRED = rule("Expiry", "days < 3", severity="critical", summary="very soon")
DEFAULTS = {"redis": (DOWN, SLOW)}


def in_force(*rules: Rule | Recording, **defaults: tuple[Rule, ...]) -> list[InForce]:
    places = {("rules", str(number)): Place("agent.toml", number + 1, 1) for number in range(len(rules))}
    return rules_in_force(Config(rules=rules, places=places), defaults or DEFAULTS)


def with_file(*rules: Rule | Recording, own: tuple[Rule, ...] = ()) -> list[InForce]:
    """Some rules of a rule file, beside one's own."""
    places = {("rules", str(number)): Place("agent.toml", number + 1, 1) for number in range(len(own))}
    places |= {("rules", str(len(own) + number)): Place("a.yml", number + 1, 1) for number in range(len(rules))}
    return rules_in_force(Config(rules=(*own, *rules), rule_files=("a.yml",), places=places), DEFAULTS)


def test_a_rule_of_a_file_stands_beside_the_default_of_its_name() -> None:
    found = with_file(Rule(alert="Down", expr="gone == 1"))
    assert [(one.origin, one.rule.expr) for one in found] == [
        ("default of redis", "up == 0"),
        ("default of redis", "slow > 1"),
        ("a.yml:1", "gone == 1"),
    ]


def test_a_rule_is_switched_off_wherever_it_stands() -> None:
    found = with_file(
        Rule(alert="Down", expr="gone == 1"),
        Rule(alert="Other", expr="x == 1"),
        own=(Rule(alert="Down", enabled=False), Rule(alert="Other", enabled=False)),
    )
    assert [one.rule.expr for one in found if one.enabled] == ["slow > 1"]


def test_a_rule_with_an_expression_stands_beside_that_of_a_file() -> None:
    found = with_file(Rule(alert="Other", expr="x == 1"), own=(Rule(alert="Other", expr="y == 1"),))
    assert [one.rule.expr for one in found[2:]] == ["y == 1", "x == 1"]


def test_without_rules_of_ones_own_the_defaults_count() -> None:
    assert in_force() == [InForce(rule=one, origin="default of redis", kind="redis") for one in (DOWN, SLOW)]


def test_a_rule_changes_the_default_of_its_name_in_what_it_sets_and_where_that_stands() -> None:
    found = in_force(Rule(alert="Down", hold=Duration("5m"), labels={"team": "x"}, annotations={"summary": "gone"}))
    assert [one.rule.alert for one in found if isinstance(one.rule, Rule)] == ["Down", "Slow"]
    assert found[0] == InForce(
        rule=Rule(
            alert="Down",
            expr="up == 0",
            hold=Duration("5m"),
            labels={"severity": "critical", "team": "x"},
            annotations={"summary": "gone"},
        ),
        origin="agent.toml:1",
        kind="redis",
    )


def test_a_default_is_switched_off_by_its_name() -> None:
    found = in_force(Rule(alert="Slow", enabled=False))
    assert [(one.origin, one.enabled) for one in found] == [("default of redis", True), ("agent.toml:1", False)]
    assert found[1].rule.expr == "slow > 1"


def test_several_rules_with_the_name_of_a_default_all_take_its_place() -> None:
    found = in_force(Rule(alert="Down", expr="up < 1"), Rule(alert="Down", expr="up < 2"))
    assert [one.rule.expr for one in found] == ["up < 1", "up < 2", "slow > 1"]


def test_ones_own_rules_follow_in_their_order_with_every_field_filled() -> None:
    own = (
        Rule(alert="Mine", expr="a > 1"),
        Rule(alert="Off", expr="b", enabled=False),
        Recording(record="a:b", expr="a"),
    )
    found = in_force(*own)[2:]
    assert [(one.origin, one.kind, one.enabled) for one in found] == [
        ("agent.toml:1", "", True),
        ("agent.toml:2", "", False),
        ("agent.toml:3", "", True),
    ]
    assert found[0].rule == Rule(alert="Mine", expr="a > 1", hold=Duration("0s"))


def test_a_rule_about_a_collector_that_is_not_configured_counts_for_nothing() -> None:
    assert in_force(Rule(alert="PostgresDown", enabled=False)) == in_force()


def test_of_defaults_with_one_name_the_one_of_the_same_severity_is_replaced() -> None:
    found = in_force(Rule(alert="Expiry", expr="days < 7", labels={"severity": "critical"}), tls=(EXPIRY, EXPIRED))
    assert [one.rule.expr for one in found] == ["days < 14", "days < 7"]


def test_of_defaults_with_one_name_all_are_switched_off_by_a_rule_that_names_no_severity() -> None:
    assert not any(one.enabled for one in in_force(Rule(alert="Expiry", enabled=False), tls=(EXPIRY, EXPIRED)))


def test_a_default_that_two_collectors_share_counts_once_and_is_replaced_once() -> None:
    found = in_force(tcp=(DOWN,), http=(SLOW, DOWN))
    assert [(one.kind, one.also, one.origin) for one in found] == [
        ("tcp", ("http",), "default of tcp, http"),
        ("http", (), "default of http"),
    ]
    found = in_force(Rule(alert="Down", hold=Duration("9m")), tcp=(DOWN,), http=(DOWN,))
    assert [(one.kind, one.also, one.origin) for one in found] == [("tcp", ("http",), "agent.toml:1")]


def test_defaults_of_one_name_that_differ_are_replaced_each() -> None:
    found = in_force(Rule(alert="Expiry", hold=Duration("9m")), tcp=(EXPIRY,), http=(EXPIRED,))
    assert [(one.kind, one.rule.expr) for one in found] == [("tcp", "days < 14"), ("http", "days < 3")]
