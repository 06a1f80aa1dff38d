"""The operations that the plugin offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real

from argo_mw.plugin import AnyOperation, BadParameter, operation
from argo_mw_llm.answers import Completion, Malformed, Opinion
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.streams import AnswerStream

PROVIDERS = ("glm", "deepseek", "qwen", "claude")
OPINIONS = ("opinion", "opinion_claude")
PANEL = ("glm", "deepseek", "qwen")
EXCHANGE = "_exchange"
JSON = Mapping[str, object]
_ROLES = ("user", "assistant", "tool")
_LIFETIMES = ("", "5m", "1h")
_COMPLETE_TIMEOUT = 120.0
_EXCHANGE_TIMEOUT = 3600.0
"""Longer than the SDKs wait by default: a deadline is up to them."""


def operations(config: LlmConfig) -> list[AnyOperation]:
    """Return the operations; their keys include the models that answer unless one is given."""
    defaults = {name: getattr(config, name).model for name in PROVIDERS}

    def complete_form(given: dict[str, object]) -> dict[str, object]:
        given["messages"] = _messages(given["messages"])
        for name in ("tools",):
            given[name] = _sequence(name, given[name])
        if given["stream"] and given["tools"] and given["tool_choice"] != "none":
            msg = (
                "a stream is text alone, which would lose the calls of tools; leave out stream, "
                "or stream with the provider's own SDK through the chain"
            )
            raise BadParameter(msg)
        if given["prompt_cache_ttl"] not in _LIFETIMES:
            msg = f"prompt_cache_ttl is {given['prompt_cache_ttl']!r}; it is '5m', '1h' or ''"
            raise BadParameter(msg)
        given["max_tokens"] = _positive(given["max_tokens"], config.max_tokens)
        if not given["model"]:
            given["models"] = ",".join(defaults.values())
        return given

    def opinion_form(given: dict[str, object]) -> dict[str, object]:
        given["symbol"] = str(given["symbol"]).upper()
        if not isinstance(given["indicators"], Mapping):
            msg = "indicators are a mapping of names to numbers, such as {'rsi': 31.2}"
            raise BadParameter(msg)
        given["indicators"] = {str(n): _plain(v) for n, v in given["indicators"].items()}
        given["news"] = _sequence("news", given["news"])
        given["models"] = given["models"] or ",".join(defaults.values())
        return given

    @operation(
        kind="llm",
        data_type="ai_reasoning",
        subject="",
        accept=no_completion,
        normalize=complete_form,
        timeout=_COMPLETE_TIMEOUT,
    )
    def complete(
        messages: object,
        *,
        model: str = "",
        system: str = "",
        tools: Sequence[JSON] = (),
        tool_choice: str = "",
        schema: JSON | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int = 0,
        thinking: bool | None = None,
        epoch: str = "",
        prompt_cache_ttl: str = "",
        stream: bool = False,
        keep_tool_calls: bool = False,
        models: str = "",
    ) -> Completion:
        """A language model's answer to a conversation."""
        raise NotImplementedError

    opine = operation(
        name="opinion",
        kind="llm",
        data_type="ai_reasoning",
        subject="symbol",
        accept=no_opinion,
        normalize=opinion_form,
        score=confidence,
        timeout=60.0,
    )
    alone = operation(
        name="opinion_claude",
        kind="llm",
        data_type="ai_reasoning",
        subject="symbol",
        accept=no_opinion,
        normalize=opinion_form,
        score=confidence,
        timeout=60.0,
    )
    voices = [
        operation(
            name=f"voice_{name}",
            kind="compute",
            data_type="ai_reasoning",
            scope="tenant",
            subject="symbol",
            accept=no_opinion,
            timeout=60.0,
        )(_view)
        for name in ("panel", "claude")
    ]
    exchanges = [
        operation(
            name=name + EXCHANGE,
            kind="llm",
            data_type="ai_reasoning",
            subject="",
            timeout=_EXCHANGE_TIMEOUT,
        )(_exchange)
        for name in PROVIDERS
    ]
    return [complete, opine(_opinion), alone(_opinion), *voices, *exchanges]


def _opinion(
    symbol: str,
    *,
    indicators: JSON,
    news: Sequence[str] = (),
    epoch: str = "",
    models: str = "",
) -> Opinion:
    """A model's view of a symbol: action, confidence and reason."""
    raise NotImplementedError


def _view(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> Opinion:
    """The opinion of models on a symbol's prices and news, as a voice of signals."""
    raise NotImplementedError


def _exchange(
    model: str,
    *,
    body: JSON,
    endpoint: str,
    account: str,
    epoch: str = "",
    stream: bool = False,
) -> object:
    """A request of the provider's own SDK."""
    raise NotImplementedError


def no_completion(value: object) -> str | None:
    """Return what keeps *value* from being an answer, or ``None``."""
    if isinstance(value, AnswerStream):
        return None
    if not isinstance(value, Completion):
        return f"a {type(value).__name__} is no completion"
    if value.stop == "refusal":
        return f"{value.model} refused"
    if not value.text.strip() and not value.tool_calls:
        return f"{value.model} answered nothing (it stopped at {value.stop!r})"
    return None


def no_opinion(value: object) -> str | None:
    """Return what keeps *value* from being an opinion, or ``None``."""
    if isinstance(value, Malformed):
        return value.why
    return None if isinstance(value, Opinion) else f"a {type(value).__name__} is no opinion"


def confidence(value: object) -> float:
    """Return how sure an opinion is, for strategies that compare opinions."""
    return value.confidence if isinstance(value, Opinion) else 0.0


def _messages(given: object) -> list[JSON]:
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages: list[JSON] = [dict(m) for m in _sequence("messages", given) if isinstance(m, Mapping)]
    wrong = [m.get("role") for m in messages if m.get("role") not in _ROLES or "content" not in m]
    if not messages or wrong:
        msg = (
            "messages are text, or mappings with a role (user, assistant, tool) and content; "
            f"got roles {wrong}"
            if wrong
            else "messages are empty; there is nothing to ask"
        )
        raise BadParameter(msg)
    return messages


def _sequence(name: str, given: object) -> list[object]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        msg = f"{name} is a {type(given).__name__}; give a list"
        raise BadParameter(msg)
    return list(given)


def _plain(value: object) -> object:
    """*value* as a number of Python's own, if it is one: frames hold numpy's."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _positive(given: object, default: int) -> int:
    if given == 0:
        return default
    if not isinstance(given, int) or given < 0:
        msg = f"max_tokens is {given!r}; give a number of tokens above zero"
        raise BadParameter(msg)
    return given
