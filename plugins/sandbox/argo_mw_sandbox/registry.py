"""The vendors that the sandbox plays."""

from __future__ import annotations

from collections.abc import Callable

from argo_mw_sandbox.vendors.alpaca import Alpaca
from argo_mw_sandbox.vendors.alphavantage import AlphaVantage
from argo_mw_sandbox.vendors.claude import Claude
from argo_mw_sandbox.vendors.massive import Massive
from argo_mw_sandbox.vendors.openai import openai
from argo_mw_sandbox.vendors.openai_compatible import deepseek, glm, qwen
from argo_mw_sandbox.vendors.protocol import Vendor, World

VENDORS: tuple[Callable[[World], Vendor], ...] = (
    Alpaca,
    Massive,
    AlphaVantage,
    Claude,
    deepseek,
    qwen,
    glm,
    openai,
)
