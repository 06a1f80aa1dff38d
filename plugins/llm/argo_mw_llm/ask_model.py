"""Which model ``argo-mw ask`` asks by default, and why there may be none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from argo_mw.plugin import AllUpstreamsFailed, Unsupported, suggest
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.providers.profiles import Profile

_FIRST: Final = "claude"
"""The default provider, if its key is set."""
_SEE: Final = "`argo-mw models` lists them"


def default_model(config: LlmConfig, environ: Mapping[str, str]) -> str:
    """Return the model to ask by default; "" for that of the first provider that answers.

    Args:
        config: The configuration, which may name a model.
        environ: The environment, which may hold a provider's key.
    """
    if config.ask_model:
        return config.ask_model
    first = config.profiles.get(_FIRST)
    return first.model if first is not None and has_key(first, environ) else ""


def has_key(profile: Profile, environ: Mapping[str, str]) -> bool:
    """Return whether the provider of *profile* has a key, or needs none."""
    known = bool(profile.key) or any(environ.get(name) for name in profile.key_from)
    return known or not profile.needs_key


def why_unasked(
    error: AllUpstreamsFailed,
    model: str,
    config: LlmConfig,
    known: Iterable[str],
    environ: Mapping[str, str],
) -> str | None:
    """Return why no provider was asked for *model*, or ``None`` if one was.

    Args:
        error: The error of the call.
        model: The model, or "".
        config: The configuration.
        known: The names of models that have a price.
        environ: The environment.
    """
    if not all(isinstance(one, Unsupported) for one in error.causes):
        return None
    profiles = config.profiles.values()
    able = [one for one in profiles if not model or one.has(model)]
    if not able:
        models = {*known, *(one.model for one in profiles)}
        return f"no provider has the model {model!r}: {suggest(model, models)}; {_SEE}"
    if any(has_key(one, environ) for one in able):
        return None
    variables = " or ".join(one.key_from[0] for one in able if one.key_from)
    asked = f"the model {model!r}" if model else "any model"
    return f"there is no key for {asked}: set {variables}; {_SEE}"
