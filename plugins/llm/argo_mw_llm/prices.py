"""Prices: a dated table, and what tokens cost by it."""

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
from argo_mw_llm.families import family_of

_MILLION = 1_000_000
_THOUSAND = 1_000
_HOUR, _DAY = 3_600, 86_400
_THURSDAY, _SATURDAY = 3, 5  # the epoch began on a Thursday
_SHORT, _LONG = 1.25, 2.0  # what Anthropic's cache writes cost, in prompt tokens
_MAX_PRICE = 1e6


def _is_price(_: object, attribute: Attribute[Any], usd: Any) -> None:
    if usd is not None and not 0 <= usd <= _MAX_PRICE:
        msg = f"{attribute.name} is {usd!r}, which is not a price"
        raise ValueError(msg)


@frozen
class Above:
    """The prices of long prompts; caching scales with *input*.

    Attributes:
        tokens: A prompt of more is long.
        input: Its tokens.
        output: Tokens of its answer.
    """

    tokens: int
    input: float = field(validator=_is_price)
    output: float = field(validator=_is_price)


@frozen
class Price:
    """What a model's tokens cost, in US dollars per million.

    Attributes:
        input: Prompt tokens.
        output: Tokens of the answer.
        write_5m: Prompt tokens written to the cache for five minutes; by default 1.25 times
            *input*.
        write_1h: The same for an hour; by default twice *input*.
        read: Prompt tokens read from the cache; by default as *input*.
        above: The prices of long prompts.
        off_peak: The share of the price that holds outside of *peak_hours*.
        peak_hours: Hours of UTC from Monday to Friday, from and until.
        batch: The share of the price that holds for batches.
        tiers: The share of the price that holds for a tier that an answer names, such as ``flex``.
        audio_in: Prompt tokens of sound; without it, their price is not known.
        audio_out: Tokens of spoken answers; without it, their price is not known.
        search: A thousand searches of the web by the provider; without it, it is not known.
        least_cached: Prompt tokens below which the provider caches nothing.
        max_output: Tokens of an answer at most, thinking included, whatever a request says.
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
        """Return what *usage* costs at *at*, in seconds since the epoch.

        What other models took is not in it. Returns ``None`` where the price of a part is not
        known.
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
        """Return what sound costs more than text, in US dollars per million, and what searches do.

        ``None``: a price is not known.
        """
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
        """Return the part of *usage* whose price is not known, for people."""
        if usage.searches and self.search is None:
            return "searches"
        unknown = [tier for tier in usage.tiers if self._share(tier) is None]
        return f"the tier {unknown[0]!r:.40}" if unknown else "sound"

    def _tier(self, usage: Usage) -> float | None:
        """Return the share of the price that holds for the tiers of *usage*, if it is known."""
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
        """Return the US dollars that so many tokens come to at most, at any time.

        Args:
            prompt: Prompt tokens.
            output: Tokens of the answer.
            cached: For how long the provider may be asked to cache the prompt, or "".
        """
        short, long, read = self._cached()
        # Some providers cache without being asked, at a price of their table.
        each = max(self.input, read, self.write_5m or 0.0, short if cached else 0.0)
        if cached == "1h":
            each = max(each, long)
        total = prompt * each + output * self.output
        if self.above is not None and prompt > self.above.tokens:
            scale = self.above.input / self.input if self.input else 1.0
            total = max(total, prompt * each * scale + output * self.above.output)
        # The bill comes later, when the peak hours may have begun.
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
"""The model in a provider's own prices that stands for any."""

MorePrices = Callable[[str, str], "Price | None"]
"""Returns the price of a model, given its provider, if it is known elsewhere."""


def _none(model: str, provider: str) -> Price | None:
    return None


@frozen
class Prices:
    """A price table.

    Attributes:
        as_of: The day for which it holds.
        source: Where it was read.
        models: The prices, by model.
        providers: The prices of providers' own, by provider and model; "*" is any model.
        more: The price of a model that the table does not have, if that is known elsewhere.
    """

    as_of: str
    source: str
    models: Mapping[str, Price] = field(factory=dict)
    providers: Mapping[str, Mapping[str, Price]] = field(factory=dict)
    more: MorePrices = field(default=_none, repr=False, eq=False)
    _families: Mapping[str, Price] = field(init=False, repr=False, eq=False)

    @_families.default
    def _by_family(self) -> Mapping[str, Price]:
        """The prices by family: of several snapshots, the dearest."""
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
        """Return the price of *model*, or ``None``: an unknown price is never zero.

        A name that the table does not have is looked up without vendors and dates.

        Args:
            model: The model.
            provider: The provider that is asked, whose own prices go before those of the table.
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
        """Return what is missing to price *usage* of *model*, for people."""
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
        """Return what *usage* of *model* costs at *at*, or ``None`` when its price is not known."""
        price = self.of(model, provider)
        total = None if price is None else price.usd(usage, at)
        for other in usage.others:
            part = self.usd(other.model or model, other.usage, at, provider)
            total = None if total is None or part is None else total + part
        return total


@frozen
class _Table:
    """A price table as it is written."""

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
