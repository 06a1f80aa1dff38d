"""Bounds of calls: the most tokens that a call may take of a provider, by its wire."""

from __future__ import annotations

from collections.abc import Mapping

from argo_mw.plugin import Call
from argo_mw_llm.costs.bounds import (
    FRAME,
    HIDDEN,
    Bound,
    Limiting,
    NoBoundError,
    count_of,
    dearest_cache,
    prompt_size,
    size_of,
)
from argo_mw_llm.providers.profiles import Profile
from argo_mw_llm.wires import wire_of

_OPINION = 2_048
"""Bytes of an opinion's instructions."""
_OPINION_OUTPUT = 300


def bound_of(profile: Profile, call: Call) -> Bound:
    """Return the most tokens that *call* may take of the provider of *profile*."""
    parameters = call.parameters
    try:
        body = parameters.get("body")
        if isinstance(body, Mapping):
            return _of_request(profile.limiting, body, str(parameters.get("endpoint", "")))
        return _of_question(profile, parameters)
    except NoBoundError as error:
        return Bound(unbounded=str(error))
    except RecursionError:
        return Bound(unbounded="it is nested too deeply")


def _of_request(limiting: Limiting, body: Mapping[str, object], endpoint: str) -> Bound:
    """Return the bound of a request of a provider's SDK."""
    wire = wire_of(endpoint)
    if wire is None:
        msg = f"it is not known what a request to {endpoint!r:.120} costs"
        raise NoBoundError(msg)
    return wire.bound(body, limiting)


def _of_question(profile: Profile, parameters: Mapping[str, object]) -> Bound:
    """Return the bound of an operation of this plugin."""
    thinking = None if profile.limiting.apart and parameters.get("thinking") is not False else 0
    limit = profile.wire.limit(profile.limiting)
    if "text" in parameters:
        return Bound(FRAME + size_of(parameters["text"]), 0)
    if "indicators" in parameters:
        prompt = FRAME + HIDDEN + _OPINION + size_of(parameters)
        return Bound(prompt, _OPINION_OUTPUT, thinking, limit=limit)
    fields = ("messages", "system", "tools", "schema", "tool_choice")
    sent = {name: parameters[name] for name in fields if parameters.get(name)}
    written = parameters.get("prompt_cache_ttl")
    return Bound(
        prompt_size(sent),
        count_of("max_tokens", parameters.get("max_tokens")),
        thinking,
        cached=dearest_cache(sent, "1h" if written == "1h" else "5m" if written else ""),
        limit=limit,
    )
