"""The voices that are heard, and how each is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from argo_mw.plugin import ConfigError
from argo_mw_signals.config import MAX_WEIGHT, SignalsConfig
from argo_mw_signals.voices import PRICE_VOICES

PREFIX = "voice_"
NEWS = "news"
_KEYS = frozenset({"name", "operation", "parameters", "weight", "window"})


@frozen
class Voice:
    """A voice and how it is asked.

    Attributes:
        name: Its name.
        operation: The operation that answers a vote.
        weight: How much it counts; 0 silences it.
        window: Whether it is asked with the signal's timeframe and days.
        parameters: Further parameters of the operation.
    """

    name: str
    operation: str
    weight: float = 1.0
    window: bool = False
    parameters: Mapping[str, object] = field(factory=dict)


def voices_in_use(config: SignalsConfig, added: Mapping[str, object]) -> tuple[Voice, ...]:
    """Return the built-in voices and those that plugins *added*, less the silenced ones.

    Raises:
        ConfigError: A voice is malformed, named twice, or a weight is for none.
    """
    voices = {
        name: Voice(name, PREFIX + name, _WEIGHTS.get(name, 1.0), window=name != NEWS)
        for name in (*PRICE_VOICES, NEWS)
    }
    for plugin, answer in added.items():
        for given in answer if isinstance(answer, Iterable) else ():
            voice = _read(plugin, given)
            if voice.name in voices:
                msg = f"plugin {plugin!r} adds the voice {voice.name!r}, which there is already"
                raise ConfigError(msg)
            voices[voice.name] = voice
    for name in config.weights:
        if name not in voices:
            msg = f"[plugins.signals.weights] names {name!r}; voices are {', '.join(voices)}"
            raise ConfigError(msg)
    weighed = (evolve(v, weight=config.weights.get(v.name, v.weight)) for v in voices.values())
    return tuple(voice for voice in weighed if voice.weight > 0)


_WEIGHTS = {"volume": 0.75, NEWS: 0.75}
"""The weights of built-in voices that are not 1. Chosen, not fitted to any prices."""


def _read(plugin: str, given: object) -> Voice:
    where = f"plugin {plugin!r} adds a voice"
    if not isinstance(given, Mapping):
        msg = f"{where} that is a {type(given).__name__}; register_voices answers mappings"
        raise ConfigError(msg)
    unknown = sorted(set(given) - _KEYS)
    name, operation = given.get("name"), given.get("operation")
    weight, parameters = given.get("weight", 1.0), given.get("parameters", {})
    if unknown or not (isinstance(name, str) and isinstance(operation, str)):
        msg = f"{where} with the keys {sorted(given)}; they are {', '.join(sorted(_KEYS))}"
        raise ConfigError(msg)
    weighs = isinstance(weight, (int, float)) and 0 <= weight <= MAX_WEIGHT
    if not weighs or not isinstance(parameters, dict):
        msg = (
            f"{where}, {name!r}, whose weight is not a number from 0 to {MAX_WEIGHT:.0f} or whose "
            "parameters are not a dict"
        )
        raise ConfigError(msg)
    return Voice(name, operation, float(weight), bool(given.get("window")), parameters)
