"""What docs/databases.md and docs/probes.md say is what the collectors do."""

from __future__ import annotations

import re
from importlib import import_module
from typing import get_args

import pytest

from agent.plugins import COLLECTORS
from collectors.mysql.errors import TROUBLES as OF_MYSQL
from collectors.postgres.errors import TROUBLES as OF_POSTGRES
from collectors.redis.link import Why
from tests.conftest import ROOT

DATABASES = (ROOT / "docs/databases.md").read_text()
PROBES = (ROOT / "docs/probes.md").read_text()
CLASSES = {
    "redis": set(get_args(Why)),
    "postgres": set(OF_POSTGRES),
    "pgbouncer": set(OF_POSTGRES),
    "mysql": set(OF_MYSQL),
}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of a table."""
    table = text.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_table_of_error_classes_is_that_of_the_code(kind: str) -> None:
    told = {first.strip("`") for first, by, *_ in rows(DATABASES, "class") if by == "all" or kind in by.split(", ")}
    assert told == CLASSES[kind]


def test_every_class_has_a_meaning_and_a_cure() -> None:
    table = rows(DATABASES, "class")
    assert all(len(row) == 4 and all(row) for row in table)
    assert len({row[0] for row in table}) == len(table)


def test_the_metrics_that_the_document_names_are_there() -> None:
    for kind, _exporter, up, why, _extra in rows(DATABASES, "collector"):
        family, label = re.fullmatch(r"`(\w+)\{(\w+)\}`", why).groups()  # type: ignore[union-attr]  # it must match
        declared = {
            one.name: one.labels for one in import_module(COLLECTORS.builtin[kind.strip("`")].partition(":")[0]).METRICS
        }
        assert declared[up.strip("`")] == ("instance",)
        assert declared[family] == ("instance", label)


def test_the_readme_links_to_it() -> None:
    assert "(docs/databases.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", ["tcp", "dns", "icmp"])
def test_the_options_that_a_table_of_modules_names_are_there(kind: str) -> None:
    table = rows(PROBES, f"option of `{kind}` | here, in `[[collectors.{kind}]]`")
    known = set(COLLECTORS.plugin(kind).Options.__struct_fields__)
    named = {name for _, ours in table for name in re.findall(r"`([a-z]\w+)(?: =[^`]*)?`", ours)} - {"http", "tcp"}
    assert named
    assert named <= known
