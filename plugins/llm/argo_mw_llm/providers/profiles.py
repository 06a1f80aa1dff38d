"""Profiles: what the plugin knows about each provider, all of it as data.

``providers.toml`` has those that come with the plugin; tables in the configuration change them and
add others.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import translate
from functools import cache
from importlib import resources
from typing import Any, Literal
from urllib.parse import urlsplit

import cattrs
from attrs import Attribute, evolve, field, fields, frozen

from argo_mw.plugin import Action, Limits, Secret, Shown, is_loopback
from argo_mw_llm.costs.bounds import Limiting
from argo_mw_llm.costs.prices import Price
from argo_mw_llm.wires import Wire, wire_named

WireName = Literal["anthropic", "chat", "responses"]
Thinking = Literal["", "type", "enable_thinking", "reasoning_effort"]
_DEFAULT = "default"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@frozen
class Errors:
    """The table ``errors`` of a provider: the meaning of errors whose status is misleading.

    Each entry is a code or a part of a message, in any case.

    Attributes:
        switch: This provider will not answer, but another may: no money, no such model.
        retry: The same provider may answer if it is asked again.
        stop: The question is wrong, so no provider will answer it.
    """

    switch: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    def action(self, code: str, message: str) -> Action | None:
        """Return what to do about an error with *code* and *message*.

        ``None`` if its status decides.
        """
        said = [_plain(code), _plain(message)]
        for action, rules in (
            (Action.SWITCH, self.switch),
            (Action.STOP, self.stop),
            (Action.RETRY, self.retry),
        ):
            if any(_names(_plain(rule), said) for rule in rules):
                return action
        return None


def _names(rule: str, said: Sequence[str]) -> bool:
    # A number may stand in any message.
    return rule == said[0] if rule.isdigit() else any(rule in text for text in said)


def _plain(text: str) -> str:
    return text.lower().replace("_", " ")


def _keeps_the_key_safe(table: ProviderTable, _: Attribute[Any], url: Any) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    if (parts.scheme == "https" and host) or (
        parts.scheme == "http" and (is_loopback(host) or (host and table.has_no_key))
    ):
        return
    msg = (
        f"url {url!r} would send the key in the clear; use https://, or http:// to 127.0.0.1, or "
        "say that there is no key: key_from = []"
    )
    raise ValueError(msg)


def _is_above_zero(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and value <= 0:
        msg = f"{attribute.name} is {value}; give a number above zero"
        raise ValueError(msg)


@frozen
class ProviderTable:
    """The table ``[plugins.llm.providers.NAME]``.

    One that comes with the plugin keeps what its table leaves out. Another needs ``wire``, ``url``
    and ``model``.

    Attributes:
        wire: The protocol in which it is asked: ``anthropic`` (messages), ``chat`` (OpenAI's chat
            completions) or ``responses`` (OpenAI's responses).
        url: Where its API is, as its SDK takes it.
        model: The default model.
        models: Its models, as patterns with ``*``; by default only *model*.
        key: The key.
        key_from: The environment variables that may hold the key. A provider with neither these nor
            a key needs none.
        embedding_model: The model that embeds texts, or "" if it has none.
        embedding_batch: The most texts that it embeds in one request.
        opinion: The voice for which it is asked for opinions: ``panel`` for those that share one,
            a name of its own, or "" for none.
        thinking: The field that switches thinking: ``thinking`` (with a ``type``),
            ``enable_thinking`` or ``reasoning_effort``; "" if there is none.
        thinks_beyond_limit: Whether the limit of an answer excludes thinking, which
            ``thinking_budget`` limits.
        output_limit: The field that limits the answer of a chat completion.
        prompt_cache: Whether it accepts a ``cache_control`` at the top level of a request.
        reports_usage_when_asked: Whether its chat streams accept ``stream_options``, by which
            requests through a gateway ask for the usage; by default they do.
        measured_as: Its name in metrics (``gen_ai.provider.name`` in OpenTelemetry's conventions);
            by default that of its table.
        limits: How often it may be asked; ``[upstreams.NAME]`` overrides this.
        prices: The prices of its models, before those of the price table; "*" is any model.
        errors: The meaning of its errors.
    """

    wire: WireName | None = None
    url: str | None = field(default=None, validator=_keeps_the_key_safe)
    model: Shown | None = None
    models: tuple[Shown, ...] | None = None
    key: Secret | None = None
    key_from: tuple[Shown, ...] | None = None
    embedding_model: Shown | None = None
    embedding_batch: int | None = field(default=None, validator=_is_above_zero)
    opinion: Shown | None = None
    thinking: Thinking | None = None
    thinks_beyond_limit: bool | None = None
    output_limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    prompt_cache: bool | None = None
    reports_usage_when_asked: bool | None = None
    measured_as: Shown | None = None
    limits: Limits | None = None
    prices: Mapping[str, Price] = field(factory=dict)
    errors: Errors | None = None

    @property
    def has_no_key(self) -> bool:
        """Whether it declares that there is no key."""
        return self.key is None and self.key_from == ()

    def over(self, other: ProviderTable) -> ProviderTable:
        """Return this table with missing values taken from *other*."""
        taken = {
            one.name: getattr(other, one.name)
            for one in fields(ProviderTable)
            if getattr(self, one.name) is None
        }
        return evolve(self, **taken, prices={**other.prices, **self.prices})


@frozen(eq=False)
class Profile:
    """A provider's complete profile: a :class:`ProviderTable` with its defaults filled in.

    Attributes:
        name: Its name.
        wire: The protocol in which it is asked.
        url: The URL of its API.
        model: The default model.
        models: Matches the names of its models.
        key: The key, if the configuration has it.
        key_from: The environment variables that may hold the key.
        embedding_model: The model that embeds texts, or "".
        embedding_batch: The most texts that it embeds in one request.
        opinion: The voice for which it is asked for opinions, or "".
        thinking: The field that switches thinking, or "".
        limiting: How the length of its answers is limited.
        prompt_cache: Whether it accepts a ``cache_control`` at the top level of a request.
        reports_usage_when_asked: Whether its chat streams accept ``stream_options``.
        measured_as: Its name in metrics.
        limits: How often it may be asked.
        prices: The prices of its models.
        errors: The meaning of its errors.
    """

    name: str
    wire: Wire
    url: str
    model: str
    models: re.Pattern[str]
    key: Secret | None = None
    key_from: Sequence[str] = ()
    embedding_model: str = ""
    embedding_batch: int = 1
    opinion: str = ""
    thinking: Thinking = ""
    limiting: Limiting = field(factory=Limiting)
    prompt_cache: bool = False
    reports_usage_when_asked: bool = True
    measured_as: str = ""
    limits: Limits = field(factory=Limits)
    prices: Mapping[str, Price] = field(factory=dict)
    errors: Errors = field(factory=Errors)

    @property
    def needs_key(self) -> bool:
        """Whether it answers only with a key."""
        return bool(self.key_from) or self.key is not None

    @property
    def operation(self) -> str:
        """The operation that asks the provider for opinions, or ""."""
        return opinion_operation(self.opinion) if self.opinion else ""

    @property
    def host(self) -> str:
        """The host of its API, with the port where the URL has one."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2]

    def has(self, model: str) -> bool:
        """Return whether *model* is one of its models."""
        return self.models.match(model) is not None


def opinion_operation(voice: str) -> str:
    """Return the operation that asks the providers of *voice* for an opinion."""
    return "opinion" if voice == "panel" else f"opinion_{voice}"


def profiles_of(
    tables: Mapping[str, ProviderTable], older: Mapping[str, ProviderTable]
) -> Mapping[str, Profile]:
    """Return the providers of *tables* and those that come with the plugin, by name.

    Args:
        tables: The tables of the configuration.
        older: Tables at their former places.

    Raises:
        ValueError: A table lacks something, or its name is not allowed.
    """
    found = dict(shipped())
    default = found.pop(_DEFAULT)
    for some in (older, tables):
        for name, table in some.items():
            found[name] = table.over(found[name]) if name in found else table
    return {name: _profile(name, table.over(default)) for name, table in found.items()}


@cache
def shipped() -> Mapping[str, ProviderTable]:
    """Return the providers that come with the plugin, and the defaults of all others."""
    text = resources.files("argo_mw_llm").joinpath("providers.toml").read_text("utf-8")
    converter = cattrs.Converter(forbid_extra_keys=True)
    return converter.structure(tomllib.loads(text), dict[str, ProviderTable])


def _profile(name: str, table: ProviderTable) -> Profile:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not a name of a provider: use small letters, digits and _"
        raise ValueError(msg)
    wire, url, model = table.wire, table.url, table.model
    if wire is None or url is None or model is None:
        lacks = [one for one in ("wire", "url", "model") if getattr(table, one) is None]
        msg = f"the provider {name!r} lacks {', '.join(lacks)}"
        raise ValueError(msg)
    own = [model, *filter(None, [table.embedding_model])]
    patterns = [*map(translate, table.models or ()), *map(re.escape, own)]
    return Profile(
        name,
        wire_named(wire),
        url,
        model,
        re.compile("|".join(f"(?:{pattern})\\Z" for pattern in patterns)),
        table.key,
        table.key_from or (),
        table.embedding_model or "",
        table.embedding_batch or 1,
        table.opinion or "",
        table.thinking or "",
        Limiting(table.output_limit or "max_tokens", bool(table.thinks_beyond_limit)),
        bool(table.prompt_cache),
        table.reports_usage_when_asked is not False,
        table.measured_as or name,
        table.limits or Limits(),
        table.prices,
        table.errors or Errors(),
    )
