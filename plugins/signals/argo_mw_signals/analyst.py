"""The upstream that computes signals and votes from the answers of other operations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pandas as pd

from argo_mw.plugin import (
    Action,
    ArgoError,
    Call,
    Context,
    InvalidAnswer,
    Outcome,
    TimeLimitExceeded,
    Upstream,
    fail_at,
)
from argo_mw_signals.config import SignalsConfig
from argo_mw_signals.consensus import agree
from argo_mw_signals.news_sentiment import news_sentiment
from argo_mw_signals.operations import NAMES, SignalOperation
from argo_mw_signals.recent import RecentSignals
from argo_mw_signals.signal import Contribution, Missing, Signal
from argo_mw_signals.voice_registry import NEWS, PREFIX, Voice
from argo_mw_signals.voices import PRICE_VOICES
from argo_mw_signals.votes import Vote, read_vote

NAME = "signals"
_RESERVE = 0.1
"""The share of the time left that is kept for the consensus itself."""


class Analyst:
    """The answers to ``signal`` and to the voices, computed from calls through the chain."""

    def __init__(
        self, config: SignalsConfig, context: Context, recent: RecentSignals | None = None
    ) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._recent = recent or RecentSignals()

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        return Upstream(NAME, frozenset(NAMES), self.fetch, timeout=60.0, price=0.0)

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to *call*."""
        name = call.operation.name.removeprefix(PREFIX)
        if name == NEWS:
            return await self._news(call)
        if name in PRICE_VOICES:
            bars, _ = await self._bars(call)
            return Outcome(self._vote(PRICE_VOICES[name], bars))
        return await self._signal(call)

    async def _signal(self, call: Call) -> Outcome:
        # The prices come first: without them there is no signal, and with them in the cache no
        # voice needs to fetch them again.
        bars, as_of = await self._bars(call)
        heard: list[Contribution] = []
        missing: list[Missing] = []
        # Those of the call's own operation: its scope was chosen for just these.
        assert isinstance(call.operation, SignalOperation)
        voices = call.operation.voices
        async with asyncio.TaskGroup() as group:
            for voice in voices:
                listening = self._listen(call, voice, heard, missing)
                group.create_task(listening, name=f"argo-mw:voice:{voice.name}")
        place = {voice.name: position for position, voice in enumerate(voices)}
        heard.sort(key=lambda one: (-one.weight, place[one.voice]))
        missing.sort(key=lambda one: place[one.voice])
        rule = self._config
        consensus = agree(heard, missing, threshold=rule.threshold, quorum=rule.quorum)
        signal = Signal(
            symbol=call.subject,
            action=consensus.action,
            confidence=consensus.confidence,
            lean=consensus.lean,
            price=float(bars["close"].iloc[-1]),
            bar=bars.index[-1].timestamp(),
            as_of=as_of,
            contributions=tuple(heard),
            missing=tuple(missing),
        )
        self._recent.add(signal, bars, self._clock.time())
        # A voice whose answer is not a vote is missing too.
        unheard = {one.voice for one in missing}
        return Outcome(signal, lacks=frozenset(v.operation for v in voices if v.name in unheard))

    async def _listen(
        self, call: Call, voice: Voice, heard: list[Contribution], missing: list[Missing]
    ) -> None:
        """Ask *voice*; if anything goes wrong, it only counts as missing."""
        try:
            vote = read_vote(await fail_at(self._ask(call, voice), self._until(call), self._clock))
        except TimeLimitExceeded:
            missing.append(Missing(voice.name, voice.weight, "it did not answer in time"))
        except Exception as error:
            reason = _first_line(error)
            missing.append(Missing(voice.name, voice.weight, reason))
        else:
            heard.append(
                Contribution(voice.name, vote.score, vote.confidence, voice.weight, vote.reason)
            )

    async def _ask(self, call: Call, voice: Voice) -> object:
        window = _window(call) if voice.window else {}
        parameters = {"symbol": call.subject, **window, **voice.parameters}
        return (await self._context.call(call, voice.operation, **parameters)).value

    def _until(self, call: Call) -> float:
        """Return when to stop waiting for voices, in monotonic seconds."""
        now = self._clock.monotonic()
        timeout = self._config.timeout
        if call.deadline is not None:
            timeout = min(timeout, (call.deadline - now) * (1.0 - _RESERVE))
        return now + timeout

    async def _bars(self, call: Call) -> tuple[pd.DataFrame, float]:
        outcome = await self._context.call(call, "bars", symbol=call.subject, **_window(call))
        frame = outcome.value
        if not isinstance(frame, pd.DataFrame):
            msg = f"bars of {call.subject} came as a {type(frame).__name__}, not a frame"
            raise InvalidAnswer(msg, upstream=NAME, action=Action.STOP)
        as_of = outcome.as_of
        return frame, self._clock.time() if as_of is None else as_of

    async def _news(self, call: Call) -> Outcome:
        days = self._config.news_days
        outcome = await self._context.call(call, "news", symbol=call.subject, days=days)
        now = self._clock.time()
        return Outcome(self._vote(lambda articles: news_sentiment(articles, now), outcome.value))

    def _vote(self, voice: Callable[[pd.DataFrame], Vote], material: object) -> Vote:
        try:
            return voice(material)  # type: ignore[arg-type]
        except ValueError as error:
            raise InvalidAnswer(str(error), upstream=NAME, action=Action.STOP) from None


def _window(call: Call) -> dict[str, object]:
    return {name: call.parameters[name] for name in ("timeframe", "days")}


def _first_line(error: Exception) -> str:
    if isinstance(error, (ArgoError, ValueError)):
        return str(error).partition("\n")[0]
    return f"{type(error).__name__}: {error}".partition("\n")[0]
