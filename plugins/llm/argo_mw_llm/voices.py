"""The upstream behind the voices, which asks models for an opinion on prices and news."""

from __future__ import annotations

from typing import Any

from argo_mw.plugin import Action, ArgoError, Call, Context, InvalidAnswer, Outcome, Upstream
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.operations import VOICE, voices_of
from argo_mw_llm.providers.profiles import opinion_operation
from argo_mw_llm.views import indicators_of

NAME = "llm_voices"
_MAX_NEWS = 10
_MAX_TITLE = 300
"""The most characters of a headline, since each token of it is paid for."""


class Voices:
    """An upstream that asks for bars and news, and then models for their opinion."""

    def __init__(self, config: LlmConfig, context: Context) -> None:
        self._context = context
        self._asks = {VOICE + voice: opinion_operation(voice) for voice in voices_of(config)}

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        return Upstream(NAME, frozenset(self._asks), self.fetch, timeout=60.0, price=0.0)

    async def fetch(self, call: Call) -> Outcome:
        """Return the opinion that *call* asks for; the time of the prices is part of its key."""
        window = {name: call.parameters[name] for name in ("timeframe", "days")}
        bars: Any = (await self._context.call(call, "bars", symbol=call.subject, **window)).value
        try:
            indicators = indicators_of(bars)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise InvalidAnswer(str(error), upstream=NAME, action=Action.STOP) from None
        opinion = await self._context.call(
            call,
            self._asks[call.operation.name],
            symbol=call.subject,
            indicators=indicators,
            news=await self._news(call),
            epoch=bars.index[-1].isoformat(),
        )
        return Outcome(opinion.value)

    async def _news(self, call: Call) -> list[str]:
        try:
            articles: Any = (await self._context.call(call, "news", symbol=call.subject)).value
            return [_line(article.title) for article in list(articles)[:_MAX_NEWS]]
        except ArgoError:
            return []  # an opinion on prices alone is useful too


def _line(title: object) -> str:
    """Return *title* as one line for a prompt."""
    return " ".join(str(title)[:_MAX_TITLE].split())
