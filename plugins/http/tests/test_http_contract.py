"""The contract of operations, for routes."""

from __future__ import annotations

from argo_mw.testing import OperationConformance
from argo_mw_http import HttpAnswer, HttpPlugin

from .conftest import BARS

_ASKED = {"address": "https://api.example.com:443", "identity": "a"}
_ANSWER = HttpAnswer(200, (), b"{}")


class TestOperations(OperationConformance):
    name = "http"
    plugin = HttpPlugin
    config = {  # noqa: RUF012
        "routes": [
            BARS,
            {**BARS, "path": "/v1/quote", "name": "quote", "subject": "symbols", "scope": "public"},
        ]
    }
    parameters = {  # noqa: RUF012
        "bars_of": {"symbol": "AAPL", **_ASKED},
        "quote": {"symbols": "AAPL", **_ASKED},
    }
    public = ("quote",)
    answers = {"bars_of": _ANSWER, "quote": _ANSWER}  # noqa: RUF012
