"""Rate limits that providers report with their answers, observed before a request exceeds them.

Sources: docs.claude.com/en/api/rate-limits, platform.openai.com/docs/guides/rate-limits. Both
refill steadily, and report when a limit will be full again. A provider whose headers name neither
requests nor tokens has a window that refills at once.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from attrs import define, frozen

from argo_mw.plugin import Clock, Left
from argo_mw_llm.costs.families import family_of

Headers = tuple[tuple[str, str], ...]
"""The beginnings of the names of headers about limits."""

_PREFIXES = (b"anthropic-ratelimit-", b"x-ratelimit-")
_ANTHROPIC = re.compile(
    r"anthropic-ratelimit-(requests|input-tokens|output-tokens|tokens)-(limit|remaining|reset)"
)
_OTHERS = re.compile(r"x-ratelimit-(limit|remaining|reset)(?:-(requests|tokens))?")
_DURATION = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_REQUESTS, _PROMPT, _OUTPUT, _TOKENS = "requests", "input-tokens", "output-tokens", "tokens"
_MAX_MODELS = 1_000
_MAX_WAIT = 86_400.0
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12
"""A number above this is a time since the epoch, not a duration."""


@frozen
class Need:
    """How much of a provider's limits a request takes.

    Attributes:
        prompt: About how many prompt tokens.
        output: About how many tokens of the answer.
    """

    prompt: int = 0
    output: int = 0

    def of(self, kind: str) -> int:
        """Return how much it takes of limits of *kind*."""
        amounts = {_REQUESTS: 1, _PROMPT: self.prompt, _OUTPUT: self.output}
        return amounts.get(kind, self.prompt + self.output)


@define
class _Limit:
    """One limit as it was reported, with times in monotonic seconds."""

    remaining: float
    limit: float
    told: float
    full: float
    refills: bool

    def left(self, now: float) -> float:
        if now >= self.full:
            return self.limit
        if not self.refills:
            return self.remaining
        share = (now - self.told) / (self.full - self.told)
        return self.remaining + max(0.0, self.limit - self.remaining) * share

    def wait(self, need: float, now: float) -> float:
        """Return the seconds until *need* is left, or until the limit is full if that is less."""
        need = min(need, self.limit)
        if self.left(now) >= need:
            return 0.0
        if not self.refills or self.limit <= self.remaining:
            return self.full - now
        share = (need - self.remaining) / (self.limit - self.remaining)
        return max(0.0, self.told + share * (self.full - self.told) - now)


class LearntLimits:
    """The limits that a provider has reported, by account and model.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], dict[str, _Limit]] = OrderedDict()
        self._blocked: dict[str, float] = {}

    @property
    def told(self) -> bool:
        """Whether any limit was reported."""
        return bool(self._known or self._blocked)

    def learn(self, account: str, model: str, headers: Headers) -> None:
        """Remember the limits in the *headers* of an answer of *model* to *account*."""
        if not headers:
            return
        now = self._clock.monotonic()
        for kind, limit in _limits_in(dict(headers), now, self._clock.time()):
            key = (account, family_of(model))
            limits = self._known.setdefault(key, {})
            self._known.move_to_end(key)
            limits[kind] = limit
        while len(self._known) > _MAX_MODELS:
            self._known.popitem(last=False)

    def block(self, account: str, seconds: float) -> None:
        """Let requests of *account* wait for *seconds*."""
        if len(self._blocked) >= _MAX_MODELS:
            self._blocked.clear()
        self._blocked[account] = self._clock.monotonic() + min(seconds, _MAX_WAIT)

    def wait(self, account: str, model: str, need: Need) -> float:
        """Return the seconds until a request of *account* for *need* may be sent."""
        now = self._clock.monotonic()
        wait = self._blocked.get(account, 0.0) - now
        limits = self._known.get((account, family_of(model)), {})
        waits = [limit.wait(need.of(kind), now) for kind, limit in limits.items()]
        return max(0.0, wait, *waits)

    def standing(self, account: str = "") -> tuple[dict[str, Left], bool]:
        """Return what *account* has left, and whether it was asked to wait.

        For each kind of limit, the model with the least share left counts.
        """
        now = self._clock.monotonic()
        least: dict[str, Left] = {}
        for (whose, _), limits in self._known.items():
            for kind, limit in limits.items() if whose == account else ():
                left = Left(max(0.0, limit.left(now)), limit.limit)
                if kind not in least or _share(left) < _share(least[kind]):
                    least[kind] = left
        return least, self._blocked.get(account, 0.0) > now

    def take(self, account: str, model: str, need: Need) -> None:
        """Subtract *need* for a request that is being sent, until its answer reports limits."""
        for kind, limit in self._known.get((account, family_of(model)), {}).items():
            limit.remaining -= need.of(kind)

    def give_back(self, account: str, model: str, need: Need) -> None:
        """Undo :meth:`take`, since the request was not sent."""
        for kind, limit in self._known.get((account, family_of(model)), {}).items():
            limit.remaining = min(limit.limit, limit.remaining + need.of(kind))


def _share(left: Left) -> float:
    return left.left / left.limit if left.limit else 0.0


def limits_in(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the *headers* about limits, and ``Date``, whose clock their times are by."""
    # Compared as bytes, since this is done for every answer: decoding takes ten times as long.
    told = [one for one in headers if one[0].lower().startswith(_PREFIXES)]
    if not told:
        return ()
    told += [one for one in headers if one[0].lower() == b"date"]
    return tuple(
        [(name.lower().decode("latin-1"), value.decode("latin-1")) for name, value in told]
    )


def _limits_in(headers: Mapping[str, str], now: float, time: float) -> Iterator[tuple[str, _Limit]]:
    time = _date(headers.get("date", ""), time)
    told: dict[tuple[str, bool], dict[str, str]] = {}
    for kind, part, refills, value in _parts(headers.items()):
        told.setdefault((kind, refills), {})[part] = value
    for (kind, refills), parts in told.items():
        remaining, limit = _number(parts.get("remaining")), _number(parts.get("limit"))
        seconds = _seconds(parts.get("reset"), time)
        if remaining is not None and seconds is not None and 0.0 < seconds <= _MAX_WAIT:
            whole = remaining if limit is None else max(limit, remaining)
            yield kind, _Limit(remaining, max(whole, 1.0), now, now + seconds, refills)


def _parts(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, bool, str]]:
    for name, value in headers:
        if found := _ANTHROPIC.fullmatch(name):
            yield found[1], found[2], True, value
        elif found := _OTHERS.fullmatch(name):
            yield found[2] or _REQUESTS, found[1], found[2] is not None, value


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _date(text: str, default: float) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return default


def _seconds(text: str | None, time: float) -> float | None:
    """Return the seconds until the time in *text*, or ``None`` if it has none."""
    if text is None:
        return None
    number = _number(text)
    if number is not None:
        if number > _EPOCH_MILLISECONDS:
            return number / 1000.0 - time
        return number - time if number > _EPOCH_SECONDS else number
    parts = _DURATION.findall(text)
    if parts and _DURATION.sub("", text) == "":
        return sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    try:
        return datetime.fromisoformat(text).timestamp() - time
    except ValueError:
        return None
