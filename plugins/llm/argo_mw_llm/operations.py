"""The operations that the plugin offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from numbers import Integral, Real

from attrs import evolve

from argo_mw.plugin import AnyOperation, BadParameter, operation
from argo_mw_llm.answers import Completion, Embedding, Malformed, Opinion
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.providers.profiles import opinion_operation
from argo_mw_llm.wires import wire_of

EXCHANGE = "_exchange"
EMBEDDINGS = "_embeddings"
"""The suffix of the upstream that embeds texts, behind the name of its provider."""
NOT_SHARED = "*"
"""The prefix of the sample of a call whose answer is not shared."""
VOICE = "voice_"
_OTHER_TASK = "other"
"""The task of requests of which nothing is known, such as for images or fine-tuning."""
JSON = Mapping[str, object]
_ROLES = ("user", "assistant", "tool")
_LIFETIMES = ("", "5m", "1h")
_COMPLETE_TIMEOUT = 120.0
_EXCHANGE_TIMEOUT = 3600.0
"""Longer than the SDKs' default timeout, so that deadlines are the SDKs' own."""


@operation(
    kind="llm",
    data_type="ai_reasoning",
    subject="",
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
    sample: str | int = "",
) -> Completion:
    """A language model's answer to a conversation."""
    raise NotImplementedError


def operations(config: LlmConfig) -> list[AnyOperation]:
    """Return the operations; their keys include the models that answer by default."""
    profiles = config.profiles.values()
    defaults = ",".join(profile.model for profile in profiles)

    def complete_form(given: dict[str, object]) -> dict[str, object]:
        return _complete_form(given, defaults, config.max_tokens)

    def opinion_form(given: dict[str, object]) -> dict[str, object]:
        return _opinion_form(given, defaults)

    opinions = [
        operation(
            name=name,
            kind="llm",
            data_type="ai_reasoning",
            subject="symbol",
            accept=no_opinion,
            normalize=opinion_form,
            score=confidence,
            timeout=60.0,
            distance=opinions_apart,
        )(_opinion)
        for name in opinion_operations(config)
    ]
    voices = [
        operation(
            name=VOICE + voice,
            kind="compute",
            data_type="ai_reasoning",
            scope="tenant",
            subject="symbol",
            accept=no_opinion,
            timeout=60.0,
            distance=opinions_apart,
        )(_view)
        for voice in voices_of(config)
    ]
    exchanges = [
        operation(
            name=name + EXCHANGE,
            kind="llm",
            data_type="ai_reasoning",
            subject="",
            timeout=_EXCHANGE_TIMEOUT,
            task=_task,
        )(_exchange)
        for name in config.profiles
    ]
    completes = evolve(
        complete, accept=no_completion, normalize=complete_form, distance=completions_apart
    )
    return [completes, _embedding(config), *opinions, *voices, *exchanges]


def _complete_form(given: dict[str, object], defaults: str, max_tokens: int) -> dict[str, object]:
    """Normalize the parameters of ``complete``.

    Raises:
        BadParameter: One of them cannot be used, or they do not fit each other.
    """
    given["messages"] = _messages(given["messages"])
    given["tools"] = _mappings("tools", given["tools"])
    if given["stream"] and given["tools"] and given["tool_choice"] != "none":
        msg = (
            "a stream is text alone, which would lose the calls of tools; leave out stream, "
            "or stream with the provider's own SDK through the chain"
        )
        raise BadParameter(msg)
    if given["prompt_cache_ttl"] not in _LIFETIMES:
        msg = f"prompt_cache_ttl is {given['prompt_cache_ttl']!r}; it is '5m', '1h' or ''"
        raise BadParameter(msg)
    for name in ("temperature", "top_p"):
        given[name] = _sampling(name, given[name])
    given["max_tokens"] = _positive("max_tokens", given["max_tokens"], max_tokens)
    given["sample"] = _sample(given["sample"])
    if not given["model"]:
        given["models"] = defaults
    return given


def _opinion_form(given: dict[str, object], defaults: str) -> dict[str, object]:
    """Normalize the parameters of an opinion.

    Raises:
        BadParameter: One of them cannot be used.
    """
    given["symbol"] = str(given["symbol"]).upper()
    if not isinstance(given["indicators"], Mapping):
        msg = "indicators are a mapping of names to numbers, such as {'rsi': 31.2}"
        raise BadParameter(msg)
    given["indicators"] = {str(n): _plain(v) for n, v in given["indicators"].items()}
    given["news"] = _sequence("news", given["news"])
    given["models"] = given["models"] or defaults
    return given


def _embedding(config: LlmConfig) -> AnyOperation:
    embedding = ",".join(
        one.embedding_model for one in config.profiles.values() if one.embedding_model
    )

    def embed_form(given: dict[str, object]) -> dict[str, object]:
        if not isinstance(given["text"], str) or not given["text"]:
            msg = f"text is {given['text']!r:.40}; give a text that is not empty"
            raise BadParameter(msg)
        given["dimensions"] = _positive("dimensions", given["dimensions"], 0)
        if not given["model"]:
            given["models"] = embedding
        return given

    @operation(
        kind="llm",
        data_type="ai_reasoning",
        subject="",
        gathers="text",
        accept=no_embedding,
        normalize=embed_form,
        timeout=60.0,
    )
    def embed(text: str, *, model: str = "", dimensions: int = 0, models: str = "") -> Embedding:
        """A text as a vector."""
        raise NotImplementedError

    return embed


def voices_of(config: LlmConfig) -> Sequence[str]:
    """Return the voices that consist of providers' opinions."""
    return [*dict.fromkeys(one.opinion for one in config.profiles.values() if one.opinion)]


def opinion_operations(config: LlmConfig) -> Sequence[str]:
    """Return the operations that ask for opinions."""
    return [opinion_operation(voice) for voice in voices_of(config)]


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
    sample: str = "",
) -> object:
    """A request of the provider's own SDK."""
    raise NotImplementedError


def _task(parameters: Mapping[str, object]) -> str:
    wire = wire_of(str(parameters["endpoint"]))
    return _OTHER_TASK if wire is None else wire.task


def no_completion(value: object) -> str | None:
    """Return why *value* is no answer, or ``None``."""
    if isinstance(value, AnswerStream):
        return None
    if not isinstance(value, Completion):
        return f"a {type(value).__name__} is not a completion"
    if value.stop == "refusal":
        return f"{value.model} refused"
    if not value.text.strip() and not value.tool_calls:
        return f"{value.model} answered nothing (it stopped at {value.stop!r})"
    return None


def no_opinion(value: object) -> str | None:
    """Return why *value* is no opinion, or ``None``."""
    if isinstance(value, Malformed):
        return value.why
    return None if isinstance(value, Opinion) else f"a {type(value).__name__} is not an opinion"


def no_embedding(value: object) -> str | None:
    """Return why *value* is no embedding, or ``None``."""
    if not isinstance(value, Embedding):
        return f"a {type(value).__name__} is not an embedding"
    return None if value.vector else f"{value.model} gave an empty vector"


def opinions_apart(kept: object, fresh: object) -> float | None:
    """Return 1 for different actions, else the difference of the confidences."""
    if not (isinstance(kept, Opinion) and isinstance(fresh, Opinion)):
        return None
    return 1.0 if kept.action != fresh.action else abs(kept.confidence - fresh.confidence)


def completions_apart(kept: object, fresh: object) -> float | None:
    """Return 0 for the same text and the same calls of tools, else 1; tokens do not matter."""
    if not (isinstance(kept, Completion) and isinstance(fresh, Completion)):
        return None
    called = [[(c.name, c.arguments) for c in one.tool_calls] for one in (kept, fresh)]
    return 0.0 if kept.text == fresh.text and called[0] == called[1] else 1.0


def confidence(value: object) -> float:
    """Return the confidence of an opinion, for strategies that compare opinions."""
    return value.confidence if isinstance(value, Opinion) else 0.0


def _messages(given: object) -> list[JSON]:
    if isinstance(given, str):
        given = [{"role": "user", "content": given}] if given.strip() else []
    messages = _mappings("messages", given)
    if not messages:
        msg = "messages are empty; there is nothing to ask"
        raise BadParameter(msg)
    wrong = [m.get("role") for m in messages if m.get("role") not in _ROLES or "content" not in m]
    if wrong:
        msg = (
            "messages are text, or mappings with a role (user, assistant, tool) and content; "
            f"got roles {wrong}"
        )
        raise BadParameter(msg)
    return messages


def _mappings(name: str, given: object) -> list[JSON]:
    """Return *given* as a list of mappings; one that is left out would change what is asked."""
    mappings: list[JSON] = []
    for at, one in enumerate(_sequence(name, given)):
        if not isinstance(one, Mapping):
            msg = f"{name}[{at}] is a {type(one).__name__}; give a mapping"
            raise BadParameter(msg)
        mappings.append(dict(one))
    return mappings


def _sequence(name: str, given: object) -> list[object]:
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        msg = f"{name} is a {type(given).__name__}; give a list"
        raise BadParameter(msg)
    return list(given)


def _plain(value: object) -> object:
    """Return *value* as a number of Python, if it is one of numpy, as frames have them."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _sampling(name: str, given: object) -> object:
    plain = _plain(given)
    if plain is None or (type(plain) in (int, float) and 0.0 <= plain < inf):  # type: ignore[operator]
        return plain
    msg = f"{name} is {given!r:.40}; give a number that is not negative"
    raise BadParameter(msg)


def _positive(name: str, given: object, default: int) -> int:
    if given == 0:
        return default
    if not isinstance(given, int) or given < 0:
        msg = f"{name} is {given!r}; give a whole number above zero"
        raise BadParameter(msg)
    return given


def _sample(given: object) -> str:
    """Return the name of a sample: equal questions with different samples share no answer."""
    sample = str(given)
    if sample.startswith(NOT_SHARED):
        msg = f"sample is {given!r:.40}; give a name or a number, and each sample its own"
        raise BadParameter(msg)
    return sample
