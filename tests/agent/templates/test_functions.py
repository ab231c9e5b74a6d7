"""The functions of templates where Python and Go have different thoughts."""

from __future__ import annotations

import pytest

from agent.templates.functions import replace_all


@pytest.mark.parametrize(("replacement", "text"), [("<$1>", "<a><b>"), ("$1é", ""), ("$01", ""), ("${1}é", "aébé")])
def test_groups_are_filled_in_as_go_does(replacement: str, text: str) -> None:
    assert replace_all("(.)", replacement, "ab") == text
