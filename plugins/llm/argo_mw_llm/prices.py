"""Prices: a dated table, and what tokens cost by it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import cattrs
from attrs import field, frozen

from argo_mw.plugin import ConfigError
from argo_mw_llm.answers import Usage

_MILLION = 1_000_000
_DATED = re.compile(r"-20\d{6}$")
_HOUR, _DAY = 3_600, 86_400
_THURSDAY, _SATURDAY = 3, 5  # the epoch began on a Thursday


@frozen
class Above:
    """Prices of a prompt that is longer than *tokens*; caching scales with *input*."""

    tokens: int
    input: float
    output: float


@frozen
class Price:
    """What a model's tokens cost, in US dollars per million.

    Attributes:
        input: Prompt tokens.
        output: Tokens of the answer.
        write_5m: Prompt tokens written to the cache for five minutes; by default as *input*.
        write_1h: The same for an hour; by default as *write_5m*.
        read: Prompt tokens read from the cache; by default as *input*.
        above: The prices of long prompts.
        off_peak: The share of the price that holds outside of *peak_hours*.
        peak_hours: Hours of UTC from Monday to Friday, from and until.
        batch: The share of the price that holds for batches.
        least_cached: Prompt tokens below which the provider caches nothing.
    """

    input: float
    output: float
    write_5m: float | None = None
    write_1h: float | None = None
    read: float | None = None
    above: Above | None = None
    off_peak: float = 1.0
    peak_hours: tuple[tuple[int, int], ...] = ()
    batch: float = 1.0
    least_cached: int | None = None

    def usd(self, usage: Usage, at: float, *, batch: bool = False) -> float:
        """Return what *usage* costs at *at*, in seconds since the epoch."""
        scale, output = 1.0, self.output
        if self.above is not None and usage.prompt > self.above.tokens:
            scale, output = self.above.input / self.input, self.above.output
        short = self.input if self.write_5m is None else self.write_5m
        long = short if self.write_1h is None else self.write_1h
        read = self.input if self.read is None else self.read
        prompt = (
            usage.input * self.input
            + usage.write_5m * short
            + usage.write_1h * long
            + usage.read * read
        )
        total = (prompt * scale + usage.output * output) / _MILLION
        return total * self._factor(at) * (self.batch if batch else 1.0)

    def _factor(self, at: float) -> float:
        if not self.peak_hours:
            return 1.0
        day, second = divmod(int(at), _DAY)
        hour = second // _HOUR
        working = (day + _THURSDAY) % 7 < _SATURDAY
        peak = working and any(start <= hour < end for start, end in self.peak_hours)
        return 1.0 if peak else self.off_peak


@frozen
class Prices:
    """A price table.

    Attributes:
        as_of: The day for which it holds.
        source: Where it was read.
        models: The prices, by model.
    """

    as_of: str
    source: str
    models: Mapping[str, Price] = field(factory=dict)

    def of(self, model: str) -> Price | None:
        """Return the price of *model*, or ``None``: an unknown price is never zero."""
        price = self.models.get(model)
        return price if price is not None else self.models.get(_DATED.sub("", model))

    def usd(self, model: str, usage: Usage, at: float) -> float | None:
        """Return what *usage* of *model* costs at *at*, or ``None`` when its price is not known."""
        price = self.of(model)
        return None if price is None else price.usd(usage, at)


def load_prices(path: Path | None = None) -> Prices:
    """Return the table in the file *path*, or the one that comes with the plugin.

    Raises:
        ConfigError: The file cannot be read, or is no price table.
    """
    name = str(path) if path else "prices.toml"
    try:
        text = (
            path.read_text("utf-8")
            if path
            else resources.files("argo_mw_llm").joinpath("prices.toml").read_text("utf-8")
        )
        converter = cattrs.Converter(forbid_extra_keys=True)
        return converter.structure(tomllib.loads(text), Prices)
    except (OSError, tomllib.TOMLDecodeError, cattrs.BaseValidationError) as error:
        problem = (
            "; ".join(cattrs.transform_error(error))
            if isinstance(error, cattrs.BaseValidationError)
            else str(error)
        )
        msg = f"the price table {name} cannot be used: {problem}"
        raise ConfigError(msg) from None
