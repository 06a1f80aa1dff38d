"""Refuses requests that we would read in one way and their provider in another."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from argo_mw.plugin import BadParameter, WebRequest
from argo_mw_llm.wires import is_free, wire_of

_CHARSET: Final = re.compile(r"charset\s*+=\s*+\"?+\s*+([^\";\s]++)", re.IGNORECASE)
_UTF8: Final = frozenset(["utf-8", "utf8", "us-ascii", "ascii"])
_PARAMETERS: Final = re.compile(r";[^/]*")


def check_encoding(request: WebRequest) -> None:
    """Check that the headers of *request* declare its body as UTF-8 and not compressed.

    Raises:
        ValueError: They declare something else.
    """
    encoding = request.header("content-encoding") or "identity"
    if encoding.strip().lower() != "identity":
        msg = f"its content-encoding is {encoding[:40]!r}"
        raise ValueError(msg)
    charset = _CHARSET.search(request.header("content-type") or "")
    if charset is not None and charset[1].lower() not in _UTF8:
        msg = f"its charset is {charset[1][:40]!r}, and JSON is UTF-8"
        raise ValueError(msg)


def check_path(method: str, path: str) -> None:
    """Check that a request by *method* to *path*, which is passed on unread, asks for no answer.

    Raises:
        BadParameter: A server that decodes the path, or ignores case, would answer it, and nothing
            would count the cost.
    """
    if is_free(method, ""):
        return
    plain, before = unquote(path), path
    while plain != before:
        plain, before = unquote(plain), plain
    plain = _PARAMETERS.sub("", plain.replace("\\", "/")).strip().lower()
    if wire_of(plain) is not None:
        msg = f"{path[:200]!r} reads like {plain[:200]!r}: ask that, with POST"
        raise BadParameter(msg)


def models_in(body: object) -> set[str]:
    """Return all names of models in *body*, including those in the requests of a batch."""
    found, left = set(), [body]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            model = part.get("model")
            if isinstance(model, str):
                found.add(model)
            left += part.values()
        elif isinstance(part, list):
            left += part
    return found
