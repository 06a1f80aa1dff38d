"""A provider's echo of the key is struck out, wherever the message is cut."""

from __future__ import annotations

import httpx2
import pytest

from argo_mw.plugin import Secret
from argo_mw_llm.providers.failures import from_status, never_sent

KEY = "sk-canary-0123456789abcdef-0123456789"


@pytest.mark.parametrize("padding", range(200, 310, 5))
def test_a_key_where_a_message_is_cut_is_struck_out(padding: int) -> None:
    Secret(KEY)
    body = {"error": {"type": "authentication_error", "message": "x" * padding + KEY}}
    shown = str(from_status("claude", 401, body, {}))
    assert [] == [n for n in range(6, len(KEY)) if KEY[:n] in shown]


def test_a_cause_that_goes_round_in_circles_was_sent() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert not never_sent(one)
    other.__cause__ = httpx2.ConnectError("refused")
    assert never_sent(one)
