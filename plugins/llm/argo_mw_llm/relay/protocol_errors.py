"""Errors of ours, in the protocols of the providers' clients."""

from __future__ import annotations

import json
from collections.abc import Mapping

from argo_mw.plugin import WebResponse

_ANTHROPIC: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI: Mapping[int, tuple[str, str]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("invalid_request_error", "not_permitted"),
    404: ("invalid_request_error", "not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
    504: ("server_error", "timeout"),
}


def anthropic_error(status: int, message: str) -> WebResponse:
    """Return an error with *status* as Anthropic's API sends it."""
    kind = _ANTHROPIC.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return _error(status, {"type": "error", "error": {"type": kind, "message": message}})


def openai_error(status: int, message: str) -> WebResponse:
    """Return an error with *status* as OpenAI's API and compatible ones send it."""
    other = ("server_error", "server_error") if status >= 500 else ("invalid_request_error", None)
    kind, code = _OPENAI.get(status, other)
    error = {"message": message, "type": kind, "param": None, "code": code}
    return _error(status, {"error": error})


def _error(status: int, content: object) -> WebResponse:
    return WebResponse(
        status, (("content-type", "application/json"),), json.dumps(content).encode()
    )
