"""Wires: the protocols of answers, by the path that a request for one goes to.

Clouds put the model into the path: Bedrock's ``/model/NAME/invoke`` and Vertex's
``/models/NAME:rawPredict`` answer as Anthropic's messages do.
"""

from __future__ import annotations

import re

from attrs import frozen

_CLOUDS = re.compile(
    r"/models?/(?P<model>[^/]+?)"
    r"(?:/invoke|:rawPredict|(?P<streamed>/invoke-with-response-stream|:streamRawPredict))$"
)


@frozen
class Wire:
    """How an answer is asked for and comes.

    Attributes:
        name: Its protocol: ``claude`` or ``chat``.
        stated: What the path says in place of the body.
    """

    name: str
    stated: tuple[tuple[str, object], ...] = ()


_BY_PATH = {"/v1/messages": Wire("claude"), "/chat/completions": Wire("chat")}


def wire_of(path: str) -> Wire | None:
    """Return how what is asked for at *path* comes, or ``None`` if that is no answer."""
    path = path.rstrip("/")
    for end, wire in _BY_PATH.items():
        if path.endswith(end):
            return wire
    found = _CLOUDS.search(path)
    if found is None:
        return None
    stated = ("model", found["model"]), ("stream", found["streamed"] is not None)
    return Wire("claude", stated)
