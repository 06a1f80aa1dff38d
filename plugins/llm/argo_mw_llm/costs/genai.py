"""Prices of the package genai-prices, for models that the price table does not have.

Only the package's documented interface is used: it computes the cost of amounts of tokens, from
which prices follow. If a price depends on the hour, the highest of the day counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from argo_mw.plugin import Clock, ConfigError
from argo_mw_llm.costs.prices import Above, Price

_FEW = 1_000
_MANY = 4_000_000
"""The tokens of a short prompt, and of one longer than any model accepts."""
_MILLION = 1_000_000
_HOURS = 24
_LIFETIME = 3600.0
"""Seconds after which a price is looked up again, since the package may have a newer one."""
_MAX_MODELS = 4_096
_TIERS = ("flex", "priority")


class GenaiPrices:
    """The prices of genai-prices, looked up when they are needed.

    Args:
        clock: The clock.
        urls: The URLs of the providers' APIs, by name; the package identifies providers by URL.
        update: Whether newer prices are fetched over the network, each hour.

    Raises:
        ConfigError: The package is not installed.
    """

    def __init__(self, clock: Clock, urls: Mapping[str, str], *, update: bool) -> None:
        try:
            import genai_prices
        except ImportError:
            msg = (
                "[plugins.llm] more_prices names genai-prices, which is not installed: run "
                "`pip install genai-prices`, or leave it out"
            )
            raise ConfigError(msg) from None
        self._package: Any = genai_prices
        self._clock = clock
        self._urls = urls
        self._updates: Any = genai_prices.UpdatePrices() if update else None
        self._known: dict[tuple[str, str], tuple[float, Price | None]] = {}

    def start(self) -> None:
        """Start fetching newer prices, in the package's own thread."""
        if self._updates is not None:
            self._updates.start()

    def stop(self) -> None:
        """Stop fetching newer prices."""
        updates, self._updates = self._updates, None
        if updates is not None:
            updates.stop()

    def __call__(self, model: str, provider: str) -> Price | None:
        """Return the price of *model*, asked of *provider*, or ``None``."""
        now = self._clock.monotonic()
        known = self._known.get((model, provider))
        if known is None or now - known[0] > _LIFETIME:
            if len(self._known) >= _MAX_MODELS:
                self._known.clear()
            known = self._known[model, provider] = (now, self._find(model, provider))
        return known[1]

    def _find(self, model: str, provider: str) -> Price | None:
        # Never by the model alone, since providers charge different prices for one model.
        named = [{"provider_id": provider}] if provider else []
        if provider in self._urls:
            named.insert(0, {"provider_api_url": self._urls[provider]})
        for names in named:
            try:
                return _Asked(self._package, model, names, self._clock.time()).price()
            except (LookupError, ValueError):
                continue
        return None


class _Asked:
    """Reads the prices of one model from genai-prices.

    Args:
        package: The package.
        model: The model.
        names: The arguments that identify the provider.
        time: Seconds since the epoch.
    """

    def __init__(self, package: Any, model: str, names: Mapping[str, str], time: float) -> None:
        self._package = package
        self._model = model
        self._names = names
        hours = [datetime.fromtimestamp(time, UTC) + timedelta(hours=n) for n in range(_HOURS)]
        self._at = hours[0]
        self._at = max(hours, key=self._total_at)

    def price(self) -> Price | None:
        """Return the price, or ``None`` if it is zero: a free model must be configured.

        Raises:
            LookupError: The package does not know the model or the provider.
            ValueError: It cannot compute a price.
        """
        prompt, output = self._each(input_tokens=_FEW), self._each(output_tokens=_FEW)
        if not prompt and not output:
            return None
        write = self._each(input_tokens=_FEW, cache_write_tokens=_FEW)
        long = self._each(input_tokens=_FEW, cache_write_tokens=_FEW, cache_write_1h_tokens=_FEW)
        sound = self._each(input_tokens=_FEW, input_audio_tokens=_FEW)
        spoken = self._each(output_tokens=_FEW, output_audio_tokens=_FEW)
        return Price(
            prompt,
            output,
            # If the package has no price for a part, it applies the price of the whole.
            write_5m=write,
            write_1h=long if long != write else None,
            read=self._each(input_tokens=_FEW, cache_read_tokens=_FEW),
            above=self._above(prompt),
            tiers=self._tiers(prompt + output),
            audio_in=sound if sound != prompt else None,
            audio_out=spoken if spoken != output else None,
            search=self._search(),
        )

    def _total(self, **usage: int) -> float:
        return self._of(usage, None)

    def _of(self, usage: Mapping[str, int], context: Mapping[str, str] | None) -> float:
        answer = self._package.calc_price(
            self._package.Usage(**usage),
            self._model,
            genai_request_timestamp=self._at,
            price_context=context,
            **self._names,
        )
        return float(answer.total_price)

    def _total_at(self, moment: datetime) -> float:
        self._at = moment
        return self._total(input_tokens=_FEW, output_tokens=_FEW)

    def _each(self, **usage: int) -> float:
        """Return the price per million tokens of *usage*, in which each part is a thousand."""
        return round(self._total(**usage) / _FEW * _MILLION, 9)

    def _above(self, prompt: float) -> Above | None:
        """Return the price of long prompts, if it differs, and from how many tokens on it holds."""
        if round(self._of_prompt(_MANY), 6) == round(prompt, 6):
            return None
        short, long = _FEW, _MANY
        while long - short > 1:
            middle = (short + long) // 2
            if round(self._of_prompt(middle), 6) == round(prompt, 6):
                short = middle
            else:
                long = middle
        answered = self._total(input_tokens=_MANY, output_tokens=_FEW)
        output = (answered - self._total(input_tokens=_MANY)) / _FEW * _MILLION
        return Above(short, round(self._of_prompt(_MANY), 9), round(output, 9))

    def _of_prompt(self, tokens: int) -> float:
        return self._total(input_tokens=tokens) / tokens * _MILLION

    def _tiers(self, usual: float) -> Mapping[str, float]:
        shares: dict[str, float] = {}
        for tier in _TIERS:
            usage = {"input_tokens": _FEW, "output_tokens": _FEW}
            total = self._of(usage, {"service_tier": tier})
            share = round(total / _FEW * _MILLION / usual, 6)
            if share != 1.0:
                shares[tier] = share
        return shares

    def _search(self) -> float | None:
        try:
            return self._total(web_searches=_FEW) or None
        except ValueError:
            return None
