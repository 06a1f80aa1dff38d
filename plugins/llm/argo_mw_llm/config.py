"""The table ``[plugins.llm]``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, validators

from argo_mw.plugin import Secret, Shown

_MOST_USD = 9e6
"""What a counter can hold, in billionths."""


def _keeps_the_key_safe(_: object, attribute: Attribute[str], url: str) -> None:
    parts = urlsplit(url)
    if (parts.scheme == "https" and parts.hostname) or (
        parts.scheme == "http" and _is_loopback(parts.hostname or "")
    ):
        return
    msg = f"url {url!r} would send the key in the clear; use https://, or http:// to 127.0.0.1"
    raise ValueError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@frozen
class ProviderConfig:
    """A provider's table, such as ``[plugins.llm.claude]``.

    Attributes:
        url: Where its API is.
        model: The model that is asked where none is named.
        key: The key; by default an environment variable of the provider.
    """

    url: str = field(validator=_keeps_the_key_safe)
    model: Shown
    key: Secret | None = None


@frozen
class ClaudeConfig(ProviderConfig):
    """The table ``[plugins.llm.claude]``."""

    url: str = field(default="https://api.anthropic.com", validator=_keeps_the_key_safe)
    model: Shown = "claude-sonnet-5-5"
    key: Secret | None = None


@frozen
class GlmConfig(ProviderConfig):
    """The table ``[plugins.llm.glm]``."""

    url: str = field(default="https://api.z.ai/api/paas/v4", validator=_keeps_the_key_safe)
    model: Shown = "glm-5.3"
    key: Secret | None = None


@frozen
class DeepSeekConfig(ProviderConfig):
    """The table ``[plugins.llm.deepseek]``."""

    url: str = field(default="https://api.deepseek.com", validator=_keeps_the_key_safe)
    model: Shown = "deepseek-v4-pro"
    key: Secret | None = None


@frozen
class QwenConfig(ProviderConfig):
    """The table ``[plugins.llm.qwen]``."""

    url: str = field(
        default="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        validator=_keeps_the_key_safe,
    )
    model: Shown = "qwen3.8-max"
    key: Secret | None = None


@frozen
class Budget:
    """An entry of ``[[plugins.llm.budgets]]``: a limit of spending.

    Attributes:
        usd: US dollars, 9 millions at most.
        per: The time after which it begins anew: a UTC ``day`` or ``month``, or ``ever`` for
            never.
        tenant: The tenant it is for; "" for all of them together, "*" for each of them.
        model: The model it is for; a vendor, such as ``claude``, for all of its models together;
            "" for all of them together, "*" for each of them.
        then: What happens when it is used up: ``refuse`` the call, or only ``warn``.
    """

    usd: float = field(default=0.0, validator=[validators.ge(0), validators.le(_MOST_USD)])
    per: Literal["day", "month", "ever"] = "day"
    tenant: Shown = ""
    model: Shown = ""
    then: Literal["refuse", "warn"] = "refuse"


@frozen
class LlmConfig:
    """The table ``[plugins.llm]``.

    Attributes:
        claude: How to reach Claude.
        glm: How to reach GLM.
        deepseek: How to reach DeepSeek.
        qwen: How to reach Qwen.
        prices: A price table to use instead of the plugin's own.
        budgets: Limits of spending.
        prepare: The steps of prompt preparation: ``whitespace``, ``prompt_cache``.
        voices: Voices to add to signals, with their weights: ``panel`` (GLM, DeepSeek and Qwen)
            and ``claude``. None by default, because they cost money.
        max_tokens: The length of an answer in tokens, at most, where a call does not say.
        max_decoded_bytes: Bytes of an answer at most, decompressed, whether it comes whole or as a
            stream; a larger one is refused while it comes in. Also for clients of the SDKs that
            have the chain in between.
    """

    claude: ClaudeConfig = field(factory=ClaudeConfig)
    glm: GlmConfig = field(factory=GlmConfig)
    deepseek: DeepSeekConfig = field(factory=DeepSeekConfig)
    qwen: QwenConfig = field(factory=QwenConfig)
    prices: Path | None = None
    budgets: tuple[Budget, ...] = ()
    prepare: tuple[Literal["whitespace", "prompt_cache"], ...] = ("whitespace", "prompt_cache")
    voices: Mapping[Literal["panel", "claude"], float] = field(factory=dict)
    max_tokens: int = field(default=4096, validator=validators.gt(0))
    max_decoded_bytes: int = field(default=64 * 2**20, validator=validators.gt(0))
