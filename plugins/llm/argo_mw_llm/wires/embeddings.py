"""The wire of embeddings: https://platform.openai.com/docs/api-reference/embeddings."""

from __future__ import annotations

import re

from argo_mw_llm.answers import Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.bounds import FRAME, Bound, Limiting, check_fields, size_of
from argo_mw_llm.costs.counts import FREE, Counts
from argo_mw_llm.costs.known_fields import EMBEDDINGS
from argo_mw_llm.providers.words import word
from argo_mw_llm.wires.wire import JSON, Read, Wire

COUNTS = Counts(
    {"prompt_tokens": "input", "total_tokens": FREE, "completion_tokens": FREE},
    ("prompt_tokens",),
)


class Embeddings(Wire):
    """OpenAI's embeddings, which many providers offer."""

    name = "embeddings"
    path = "/embeddings"
    task = "embeddings"
    counts = COUNTS
    marks = ()
    last = b"[DONE]"
    last_event = re.compile(rb"(?:^|\n)data: ?\[DONE\][ \r]*\n")

    def read(self, body: JSON, content: bytes) -> Read:
        """Return usage, model and stop of the whole answer *body*; *content* is its bytes."""
        return Read(usage_of(body.get("usage")), word(body.get("model")), "end")

    def read_event(self, event: JSON, ending: Ending) -> None:
        """Do nothing: embeddings do not come as streams."""

    def limit(self, limiting: Limiting) -> str:
        """Return "", since no field limits the length of an answer."""
        return ""

    def bound(self, body: JSON, limiting: Limiting) -> Bound:
        """Return the most that the request *body* may take.

        Raises:
            NoBoundError: It has none.
        """
        check_fields(body, EMBEDDINGS)
        return Bound(FRAME + size_of(body), 0)


def usage_of(counts: object) -> Usage | None:
    """Read a ``usage``; return ``None`` if it is missing or impossible."""
    found = COUNTS.read(counts)
    return Usage(found["input"]) if found is not None and found["input"] else None
