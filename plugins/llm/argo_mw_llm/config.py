"""The table ``[plugins.llm]``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from attrs import field, frozen, validators

from argo_mw.plugin import Shown
from argo_mw_llm.providers.profiles import Profile, ProviderTable, profiles_of

MAX_USD = 9e6
"""The most that a counter can hold, in US dollars."""

_Older = Annotated[ProviderTable | None, "older"]
"""The type of a provider's table at its former place."""


@frozen
class Budget:
    """An entry of ``[[plugins.llm.budgets]]``: a limit of spending.

    Attributes:
        usd: US dollars, at most 9 million.
        per: The period after which it begins again: a UTC ``day`` or ``month``, or ``ever`` for
            never.
        tenant: The tenant; "" for all tenants together, "*" for each of them.
        model: The model; a vendor, such as ``claude``, for all of its models together; "" for all
            models together, "*" for each of them.
        then: What happens when it is used up: ``refuse`` calls, or only ``warn``.
    """

    usd: float = field(default=0.0, validator=[validators.ge(0), validators.le(MAX_USD)])
    per: Literal["day", "month", "ever"] = "day"
    tenant: Shown = ""
    model: Shown = ""
    then: Literal["refuse", "warn"] = "refuse"


@frozen
class LlmConfig:
    """The table ``[plugins.llm]``.

    Attributes:
        providers: The providers, by name: changes to those that come with the plugin, and others.
        claude: The former place of ``providers.claude``.
        glm: The former place of ``providers.glm``.
        deepseek: The former place of ``providers.deepseek``.
        qwen: The former place of ``providers.qwen``.
        prices: A price table to use instead of the plugin's own.
        more_prices: The source of prices that the table lacks: ``genai-prices``, a package that
            must then be installed. By default none.
        update_prices: Whether that package fetches newer prices over the network, each hour.
        ask_model: The model that ``argo-mw ask`` asks by default; if it is not given, the model of
            ``providers.claude`` if its key is set, else that of the first provider that answers.
        budgets: Limits of spending.
        prepare: The steps of prompt preparation: ``whitespace``, ``prompt_cache``.
        voices: Voices to add to signals, with their weights: ``panel`` (GLM, DeepSeek and Qwen)
            and ``claude``. None by default, because they cost money.
        max_tokens: The most tokens of an answer, for calls that do not say.
        max_decoded_bytes: The most bytes of an answer, decompressed, whole or as a stream; reading
            a larger one fails. It also holds for clients of the SDKs with the chain in between.
    """

    providers: Mapping[str, ProviderTable] = field(factory=dict)
    claude: _Older = None
    glm: _Older = None
    deepseek: _Older = None
    qwen: _Older = None
    prices: Path | None = None
    more_prices: Literal["", "genai-prices"] = ""
    update_prices: bool = False
    ask_model: Shown = ""
    budgets: tuple[Budget, ...] = ()
    prepare: tuple[Literal["whitespace", "prompt_cache"], ...] = ("whitespace", "prompt_cache")
    voices: Mapping[str, float] = field(factory=dict)
    max_tokens: int = field(default=4096, validator=validators.gt(0))
    max_decoded_bytes: int = field(default=64 * 2**20, validator=validators.gt(0))

    def __attrs_post_init__(self) -> None:
        """Check that the values fit each other.

        Raises:
            ValueError: A provider lacks something, or a voice does not exist.
        """
        if self.update_prices and not self.more_prices:
            msg = "update_prices: there is nothing to update without more_prices"
            raise ValueError(msg)
        known = dict.fromkeys(one.opinion for one in self.profiles.values() if one.opinion)
        unknown = sorted(self.voices.keys() - known)
        if unknown:
            msg = f"voices: {', '.join(map(repr, unknown))} is none; there are {', '.join(known)}"
            raise ValueError(msg)

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """The providers, by name, with their tables completed."""
        older = {"claude": self.claude, "glm": self.glm}
        older |= {"deepseek": self.deepseek, "qwen": self.qwen}
        return profiles_of(self.providers, {n: t for n, t in older.items() if t is not None})
