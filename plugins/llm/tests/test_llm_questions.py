"""Questions that cannot be asked as they stand are refused before anybody is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from argo_mw import BadParameter
from argo_mw_sandbox import Sandbox

from .conftest import OpenArgo

ASK = {"role": "user", "content": "RSI 30?"}
TURN = SimpleNamespace(role="assistant", content="BUY")
"""A message as an SDK returns it, which is no mapping."""


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"messages": [ASK, TURN, ASK]}, r"messages\[1\] is a SimpleNamespace; give a mapping"),
        ({"messages": ["RSI 30?"]}, r"messages\[0\] is a str; give a mapping"),
        ({"messages": b"RSI 30?"}, "messages is a bytes; give a list"),
        *(({"messages": empty}, "there is nothing to ask") for empty in ("", " \n", [], ())),
        ({"tools": [TURN]}, r"tools\[0\] is a SimpleNamespace; give a mapping"),
        *(
            ({name: wrong}, f"{name} is .*; give a number that is not negative")
            for name in ("temperature", "top_p")
            for wrong in (float("nan"), float("inf"), -0.1, "hot", True)
        ),
    ],
    ids=str,
)
async def test_what_cannot_be_asked_as_it_stands_is_refused(
    sandbox: Sandbox, open_argo: OpenArgo, wrong: dict[str, Any], why: str
) -> None:
    async with open_argo() as argo:
        with pytest.raises(BadParameter, match=why):
            await argo.call("complete", **{"messages": [ASK], **wrong})
    assert 0 == sandbox.counts_of("glm").requests


@pytest.mark.parametrize("temperature", [0, 0.5, np.float32(0.5), None])
async def test_any_temperature_will_do(open_argo: OpenArgo, temperature: object) -> None:
    async with open_argo() as argo:
        assert await argo.call("complete", messages=[ASK], temperature=temperature)
