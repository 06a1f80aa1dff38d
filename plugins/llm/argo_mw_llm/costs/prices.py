"""Prices: a dated table, and the cost of tokens by it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import cattrs
from attrs import Attribute, field, frozen, validators

from argo_mw.plugin import ConfigError
from argo_mw_llm.answers import Usage
from argo_mw_llm.costs.families import family_of

_MILLION = 1_000_000
_THOUSAND = 1_000
_HOUR, _DAY = 3_600, 86_400
_THURSDAY, _SATURDAY = 3, 5  # the epoch began on a Thursday
_SHORT, _LONG = 1.25, 2.0  # what Anthropic's cache writes cost, in prompt tokens
_MAX_PRICE = 1e6
_NOTHING = (0.0, 0.0)


def _is_price(_: object, attribute: Attribute[Any], usd: Any) -> None:
    if usd is not None and not 0 <= usd <= _MAX_PRICE:
        msg = f"{attribute.name} is {usd!r}, which is not a price"
        raise ValueError(msg)


@frozen
class Above:
    """The prices of long prompts; caching scales with *input*.

    Attributes:
        tokens: Prompts of more tokens are long.
        input: The price of prompt tokens.
        output: The price of tokens of the answer.
    """

    tokens: int
    input: float = field(validator=_is_price)
    output: float = field(validator=_is_price)


@frozen
class Price:
    """The prices of a model's tokens, in US dollars per million.

    Attributes:
        input: Prompt tokens.
        output: Tokens of the answer.
        write_5m: Prompt tokens written to the cache for five minutes; by default 1.25 times
            *input*.
        write_1h: The same for an hour; by default twice *input*.
        read: Prompt tokens read from the cache; by default as *input*.
        above: The prices of long prompts.
        off_peak: The factor of all prices outside of *peak_hours*.
        peak_hours: Hours of UTC from Monday to Friday, from and until.
        batch: The factor of all prices for batches.
        tiers: The factor of all prices for each tier that an answer may name, such as ``flex``.
        audio_in: Audio tokens of the prompt; without it, their price is unknown.
        audio_out: Audio tokens of the answer; without it, their price is unknown.
        search: A thousand web searches by the provider; without it, their price is unknown.
        least_cached: The shortest prompt that the provider caches, in tokens.
        max_output: The most tokens of an answer, with thinking, whatever a request allows.
    """

    input: float = field(validator=_is_price)
    output: float = field(validator=_is_price)
    write_5m: float | None = field(default=None, validator=_is_price)
    write_1h: float | None = field(default=None, validator=_is_price)
    read: float | None = field(default=None, validator=_is_price)
    above: Above | None = None
    off_peak: float = field(default=1.0, validator=_is_price)
    peak_hours: tuple[tuple[int, int], ...] = ()
    batch: float = field(default=1.0, validator=_is_price)
    tiers: Mapping[str, float] = field(factory=dict)
    audio_in: float | None = field(default=None, validator=_is_price)
    audio_out: float | None = field(default=None, validator=_is_price)
    search: float | None = field(default=None, validator=_is_price)
    least_cached: int | None = None
    max_output: int | None = field(
        default=None, validator=validators.optional(validators.in_(range(1, 2**31)))
    )

    def usd(self, usage: Usage, at: float, *, batch: bool = False) -> float | None:
        """Return the cost of *usage* at *at*, in seconds since the epoch.

        It excludes what other models took. ``None`` if the price of a part is unknown.
        """
        extra, tier = self._extra(usage), self._tier(usage)
        if extra is None or tier is None:
            return None
        scale, output = 1.0, self.output
        if self.above is not None and usage.prompt > self.above.tokens:
            scale = self.above.input / self.input if self.input else 1.0
            output = self.above.output
        short, long, read = self._cached()
        prompt = (
            usage.input * self.input
            + usage.write_5m * short
            + usage.write_1h * long
            + usage.read * read
        )
        total = (prompt * scale + usage.output * output + extra[0]) / _MILLION
        return total * self._factor(at) * tier * (self.batch if batch else 1.0) + extra[1]

    def _extra(self, usage: Usage) -> tuple[float, float] | None:
        """Return the surcharge for audio in millionths of a dollar, and the dollars of searches.

        ``None`` if a price is unknown.
        """
        if not (usage.audio_in or usage.audio_out or usage.searches):
            return _NOTHING
        tokens = dollars = 0.0
        for count, price, text in (
            (usage.audio_in, self.audio_in, self.input),
            (usage.audio_out, self.audio_out, self.output),
        ):
            if count:
                if price is None:
                    return None
                tokens += count * (price - text)
        if usage.searches:
            if self.search is None:
                return None
            dollars = usage.searches * self.search / _THOUSAND
        return tokens, dollars

    def unknown_part(self, usage: Usage) -> str:
        """Return the part of *usage* whose price is unknown, as text."""
        if usage.searches and self.search is None:
            return "searches"
        unknown = [tier for tier in usage.tiers if self._share(tier) is None]
        return f"the tier {unknown[0]!r:.40}" if unknown else "sound"

    def _tier(self, usage: Usage) -> float | None:
        """Return the factor of the price for the tiers of *usage*, if it is known."""
        share = 1.0
        for tier in usage.tiers:
            known = self._share(tier)
            if known is None:
                return None
            share *= known
        return share

    def _share(self, tier: str) -> float | None:
        return self.batch if tier == "batch" and self.batch != 1.0 else self.tiers.get(tier)

    def most(self, prompt: int, output: int, cached: Literal["", "5m", "1h"] = "") -> float:
        """Return the most US dollars that so many tokens cost at any time.

        Args:
            prompt: Prompt tokens.
            output: Tokens of the answer.
            cached: For how long the provider may be asked to cache the prompt, or "".
        """
        short, long, read = self._cached()
        # Some providers cache without being asked, at a price in their table.
        each = max(self.input, read, self.write_5m or 0.0, short if cached else 0.0)
        if cached == "1h":
            each = max(each, long)
        total = prompt * each + output * self.output
        if self.above is not None and prompt > self.above.tokens:
            scale = self.above.input / self.input if self.input else 1.0
            total = max(total, prompt * each * scale + output * self.above.output)
        # By the time of the bill, the peak hours may have begun.
        return total / _MILLION * max(1.0, self.off_peak)

    def _cached(self) -> tuple[float, float, float]:
        """Return the prices of short and long cache writes, and of reads."""
        return (
            self.input * _SHORT if self.write_5m is None else self.write_5m,
            self.input * _LONG if self.write_1h is None else self.write_1h,
            self.input if self.read is None else self.read,
        )

    def _factor(self, at: float) -> float:
        if not self.peak_hours:
            return 1.0
        day, second = divmod(int(at), _DAY)
        hour = second // _HOUR
        working = (day + _THURSDAY) % 7 < _SATURDAY
        peak = working and any(start <= hour < end for start, end in self.peak_hours)
        return 1.0 if peak else self.off_peak


ANY = "*"
"""The name that stands for any model in a provider's own prices."""

MorePrices = Callable[[str, str], "Price | None"]
"""Returns the price of a model of a provider from another source, or ``None``."""


def _none(model: str, provider: str) -> Price | None:
    return None


@frozen
class Prices:
    """A price table.

    Attributes:
        as_of: The day for which it holds.
        source: The file from which it was read.
        models: The prices, by model.
        providers: Providers' own prices, by provider and model; "*" is any model.
        more: Returns the price of a model that the table lacks, if another source has it.
    """

    as_of: str
    source: str
    models: Mapping[str, Price] = field(factory=dict)
    providers: Mapping[str, Mapping[str, Price]] = field(factory=dict)
    more: MorePrices = field(default=_none, repr=False, eq=False)
    _families: Mapping[str, Price] = field(init=False, repr=False, eq=False)

    @_families.default
    def _by_family(self) -> Mapping[str, Price]:
        """The prices by family; of several snapshots, the highest."""
        found: dict[str, Price] = {}
        for name, price in self.models.items():
            other = found.get(family_of(name))
            if other is None or price.most(1, 1) > other.most(1, 1):
                found[family_of(name)] = price
        return found | {name: self.models[name] for name in found if name in self.models}

    @property
    def known(self) -> set[str]:
        """The names of the models whose prices the table has."""
        own = (name for prices in self.providers.values() for name in prices if name != ANY)
        return {*self.models, *own}

    def of(self, model: str, provider: str = "") -> Price | None:
        """Return the price of *model*, or ``None`` if it is unknown, which is never zero.

        A name that the table lacks is looked up without vendors and dates.

        Args:
            model: The model.
            provider: The provider that is asked, whose own prices precede those of the table.
        """
        price = None
        if not model:
            return None
        if provider in self.providers:
            own = self.providers[provider]
            price = own.get(model) or own.get(family_of(model)) or own.get(ANY)
        price = price or self.models.get(model) or self._families.get(family_of(model))
        return price or self.more(model, provider)

    def lack(self, model: str, usage: Usage, provider: str = "") -> str:
        """Return the message what is missing to price *usage* of *model*."""
        for one, took in ((model, usage), *((o.model or model, o.usage) for o in usage.others)):
            price = self.of(one, provider)
            if price is None:
                what = f"the price of {one!r:.80}"
            elif price.usd(took, 0.0) is None:
                what = f"the price of {price.unknown_part(took)} of {one!r:.80}"
            else:
                continue
            return (
                f"{what} is not known, so its costs are recorded as unknown; add it to "
                f"[plugins.llm.providers.{provider or 'NAME'}.prices]"
            )
        return ""

    def usd(self, model: str, usage: Usage, at: float, provider: str = "") -> float | None:
        """Return the cost of *usage* of *model* at *at*, or ``None`` if its price is unknown."""
        price = self.of(model, provider)
        total = None if price is None else price.usd(usage, at)
        for other in usage.others:
            part = self.usd(other.model or model, other.usage, at, provider)
            total = None if total is None or part is None else total + part
        return total


@frozen
class _Table:
    """A price table as it is in the file."""

    as_of: str
    source: str
    models: Mapping[str, Price] = field(factory=dict)


def load_prices(path: Path | None = None) -> Prices:
    """Return the table in the file *path*, or the one that comes with the plugin.

    Raises:
        ConfigError: The file cannot be read, or is not a price table.
    """
    name = str(path) if path else "prices.toml"
    try:
        text = (
            path.read_text("utf-8-sig")
            if path
            else resources.files("argo_mw_llm").joinpath("prices.toml").read_text("utf-8")
        )
        converter = cattrs.Converter(forbid_extra_keys=True)
        table = converter.structure(tomllib.loads(text), _Table)
    except (OSError, tomllib.TOMLDecodeError, cattrs.BaseValidationError) as error:
        problem = (
            "; ".join(cattrs.transform_error(error))
            if isinstance(error, cattrs.BaseValidationError)
            else str(error)
        )
        msg = f"the price table {name} cannot be used: {problem}"
        raise ConfigError(msg) from None
    return Prices(table.as_of, table.source, table.models)
