"""Wires: the protocols of requests for answers, each with its counts, events and bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from argo_mw_llm.wires.chat import Chat, Completions
from argo_mw_llm.wires.embeddings import Embeddings
from argo_mw_llm.wires.messages import Messages
from argo_mw_llm.wires.responses import Responses
from argo_mw_llm.wires.wire import Read, Wire

__all__ = [
    "CHAT",
    "EMBEDDINGS",
    "MESSAGES",
    "RESPONSES",
    "Read",
    "Wire",
    "is_free",
    "stated_at",
    "wire_named",
    "wire_of",
]

MESSAGES, CHAT, RESPONSES, EMBEDDINGS = Messages(), Chat(), Responses(), Embeddings()

# The longer path first: the shorter one is its end.
_WIRES: Sequence[Wire] = (MESSAGES, CHAT, RESPONSES, EMBEDDINGS, Completions())
_NAMED: Mapping[str, Wire] = {wire.name: wire for wire in _WIRES}

_CLOUDS = re.compile(
    r"/models?/(?P<model>[^/]+?)"
    r"(?:/invoke|:rawPredict|(?P<streamed>/invoke-with-response-stream|:streamRawPredict))$"
)
_FREE_METHODS = ("GET", "HEAD", "OPTIONS", "DELETE")
_FREE = ("/count_tokens", "/input_tokens", "/moderations", "/files", "/cancel")
"""The ends of paths of requests that providers do not charge for."""


def is_free(method: str, path: str) -> bool:
    """Return whether no provider charges for a request by *method* to *path*."""
    return method.upper() in _FREE_METHODS or path.rstrip("/").endswith(_FREE)


@lru_cache(1024)  # called several times for each request, mostly with the same few paths
def wire_of(path: str) -> Wire | None:
    """Return the wire of requests to *path* that ask for an answer, or ``None``.

    Clouds put the model into the path: Bedrock's ``/model/NAME/invoke`` and Vertex's
    ``/models/NAME:rawPredict`` answer as Anthropic's messages do.
    """
    path = path.rstrip("/")
    found = next((wire for wire in _WIRES if path.endswith(wire.path)), None)
    return MESSAGES if found is None and _CLOUDS.search(path) else found


@lru_cache(1024)
def stated_at(path: str) -> Mapping[str, object]:
    """Return the fields of a request that are in *path* instead of its body."""
    found = _CLOUDS.search(path.rstrip("/"))
    if found is None:
        return {}
    return {"model": found["model"], "stream": found["streamed"] is not None}


def wire_named(name: str) -> Wire:
    """Return the wire called *name*.

    Raises:
        KeyError: There is none.
    """
    return _NAMED[name]
