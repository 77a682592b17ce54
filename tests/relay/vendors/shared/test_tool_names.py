"""Names that a vendor refuses, there and back."""

import re

import pytest

from relay.vendors.shared.tool_names import ToolNames

LETTER_FIRST = "[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"


@pytest.mark.parametrize("name", ["1st", "-x", "mcp.tool/x", "世界", "", "x" * 200, "a b"])
@pytest.mark.parametrize("pattern", [LETTER_FIRST, "[a-zA-Z0-9_-]{1,64}"])
def test_whatever_a_tool_is_called_the_vendor_takes_it(name: str, pattern: str) -> None:
    names = ToolNames(pattern)
    sent = names.send(name)
    assert re.fullmatch(pattern, sent)
    assert names.changed.get(sent, sent) == name


def test_names_that_would_look_the_same_stay_apart() -> None:
    names = ToolNames("[a-zA-Z0-9_-]{1,64}")
    assert len({names.send(name) for name in ("a b", "a.b", "a/b", "a_b")}) == 4


def test_a_name_is_changed_the_same_way_every_time() -> None:
    assert ToolNames(LETTER_FIRST).send("1") == ToolNames(LETTER_FIRST).send("1")
