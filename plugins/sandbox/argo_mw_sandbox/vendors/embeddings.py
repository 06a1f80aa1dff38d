"""Embeddings: vectors that depend on the text alone."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from array import array
from collections.abc import Sequence

from argo_mw_sandbox.vendors.language import as_int, count_tokens, read_body
from argo_mw_sandbox.vendors.protocol import Answer, Usage, VendorRequest

_DIMENSIONS = 64
"""The length of a vector if the request names none; real ones are longer."""


def embed(request: VendorRequest) -> Answer | None:
    """Return the vectors that *request* asks for, or ``None`` if it asks for none."""
    body = read_body(request)
    model, given = body.get("model"), body.get("input")
    if not isinstance(model, str) or not given:
        return None
    texts = _texts(given)
    size = as_int(body.get("dimensions"), _DIMENSIONS)
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _shown(vector(text, size), packed)}
        for index, text in enumerate(texts)
    ]
    tokens = sum(map(count_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return Answer(json.dumps(answer).encode(), usage=Usage(tokens))


def vector(text: str, size: int) -> list[float]:
    """Return a unit vector that is unique to *text*."""
    seed = hashlib.shake_256(text.encode()).digest(size)
    raw = [byte / 127.5 - 1.0 for byte in seed]
    length = math.sqrt(sum(number * number for number in raw)) or 1.0
    return [number / length for number in raw]


def _texts(given: object) -> Sequence[str]:
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        return given
    return [json.dumps(given)]


def _shown(numbers: list[float], packed: bool) -> object:
    return base64.b64encode(array("f", numbers).tobytes()).decode() if packed else numbers
