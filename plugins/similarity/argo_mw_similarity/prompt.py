"""Prompts: what a call asks a language model, as a scope and the part that may vary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import field, frozen

from argo_mw.plugin import Call, fingerprint
from argo_mw_similarity.slots import Tolerance, exact, parse_tolerance

_WORD = re.compile(r"[^\W\d_]+")
_SPAN = (
    r"(?:hours?|days?|weeks?|months?|quarters?|years?|decades?|night|morning|afternoon|evening|"
    r"mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?)"
)
_JOINED = "\u0590"
"""From here on are the scripts whose languages join words, or write them without spaces."""
_RELATIVE = re.compile(
    rf"\b(?:last|past|next|previous|coming)\s+(?:[\w-]+\s+){{0,2}}{_SPAN}\b"
    rf"|\bthis\s+(?:[\w-]+\s+)?{_SPAN}\b"
    r"|\b(?:ago|so far|right now|at the moment|at present|as of)\b"
    r"|\b(?:year|quarter|month|week)[\s-]to[\s-]date\b"
)


@frozen
class Prompt:
    """One prompt, split into what must be equal and what may be equivalent.

    Attributes:
        scope: A digest of everything but the last user text, or but the slots: tenant,
            operation, upstream, model, system prompt, tools, sampling, earlier turns …
        text: The last user text; of a templated prompt, "".
        slots: The values of a templated prompt, or ``None``.
        tolerances: How far each slot may differ; a slot without one must be equal.
        only_exact: Whether only the same text may share the answer: images, tool results.
        momentary: Whether the answer depends on when it is asked.
    """

    scope: str
    text: str
    slots: Mapping[str, object] | None = None
    tolerances: Mapping[str, Tolerance] = field(factory=dict)
    only_exact: bool = False
    momentary: bool = False


@frozen
class Prompts:
    """A reader of prompts in calls.

    A call is read by the first of these that fits: ``template`` and ``slots`` (and
    ``tolerances``) among its parameters; tolerances configured for its operation's parameters;
    ``messages`` in the form of the chat APIs, in a ``body`` of one or by themselves; ``prompt``.

    Attributes:
        moments: Words that tie a prompt to the moment it is asked in.
        slots: Operation → parameter, or ``parameter.key`` → tolerance.
    """

    moments: frozenset[str]
    slots: Mapping[str, Mapping[str, Tolerance]] = field(factory=dict)

    def of(self, call: Call) -> Prompt | None:
        """Return the prompt of *call*, or ``None`` if it has none that this plugin understands."""
        parameters = dict(call.parameters)
        if isinstance(parameters.get("template"), str) and _is_mapping(parameters.get("slots")):
            return self._templated(call, parameters)
        if call.operation.name in self.slots:
            return self._parameters(call, parameters)
        body = parameters.get("body")
        if isinstance(body, Mapping) and "messages" in body and "messages" not in parameters:
            parameters["body"] = {name: value for name, value in body.items() if name != "messages"}
            parameters["messages"] = body["messages"]
        if isinstance(parameters.get("messages"), list | tuple):
            return self._messages(call, parameters)
        if isinstance(parameters.get("prompt"), str):
            text = str(parameters.pop("prompt"))
            return Prompt(_scope(call, parameters), text, momentary=self.momentary(text))
        return None

    def momentary(self, text: str) -> bool:
        """Return whether the answer to *text* depends on when it is asked."""
        lower = text.lower()
        if not self.moments.isdisjoint(_WORD.findall(lower)) or _RELATIVE.search(lower):
            return True
        return any(moment in lower for moment in self._joined)

    @cached_property
    def _joined(self) -> tuple[str, ...]:
        """The words of :attr:`moments` that are found inside of other words, too."""
        return tuple(moment for moment in self.moments if moment >= _JOINED)

    def _templated(self, call: Call, parameters: dict[str, object]) -> Prompt:
        template = str(parameters["template"])
        slots = parameters.pop("slots")
        given = parameters.pop("tolerances", None)
        assert isinstance(slots, Mapping)
        tolerances = dict(self.slots.get(call.operation.name, {}))
        if isinstance(given, Mapping):
            tolerances |= {str(k): parse_tolerance(v, slot=str(k)) for k, v in given.items()}
        return Prompt(
            _scope(call, {**parameters, "tolerances": given}),
            "",
            {str(k): v for k, v in slots.items()},
            tolerances,
            momentary=self.momentary(template) and not _has_time_slot(tolerances),
        )

    def _parameters(self, call: Call, parameters: dict[str, object]) -> Prompt:
        """Return the prompt of an operation that is a template itself."""
        tolerances = self.slots[call.operation.name]
        slots: dict[str, object] = {}
        for name in tolerances:
            parent, _, key = name.partition(".")
            if not key and parent in parameters:
                slots[name] = parameters.pop(parent)
            elif isinstance(inside := parameters.get(parent), Mapping) and key in inside:
                slots[name] = inside[key]
                parameters[parent] = {k: v for k, v in inside.items() if k != key}
        return Prompt(_scope(call, parameters), "", slots, tolerances)

    def _messages(self, call: Call, parameters: dict[str, object]) -> Prompt:
        messages = list(parameters.pop("messages"))  # type: ignore[call-overload]
        last = messages[-1] if messages else None
        text = _last_text(last)
        plain = text is not None and all(_only_text(message) for message in messages)
        if not plain or text is None:
            digest = fingerprint([messages, _plain(parameters)], name="messages")
            return Prompt(_scope(call, parameters), digest, only_exact=True)
        parameters["messages"] = [*messages[:-1], _without_text(last)]
        return Prompt(_scope(call, parameters), text, momentary=self.momentary(text))


def _scope(call: Call, rest: Mapping[str, object]) -> str:
    operation = call.operation
    return fingerprint(
        ["similarity", operation.name, operation.version, call.tenant, call.upstream, _plain(rest)],
        name="prompt",
    )


def _plain(rest: Mapping[str, object]) -> dict[str, object]:
    return {str(name): value for name, value in rest.items()}


def _has_time_slot(tolerances: Mapping[str, Tolerance]) -> bool:
    """Return whether a tolerance states how much the moment matters."""
    return any(tolerance != exact for tolerance in tolerances.values())


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _content(message: object) -> object:
    return message.get("content") if isinstance(message, Mapping) else None


def _only_text(message: object) -> bool:
    """Return whether *message* holds only text: no image, no tool call or result."""
    if not isinstance(message, Mapping) or set(message) - {"role", "content", "name"}:
        return False
    if message.get("role") not in {"system", "developer", "user", "assistant"}:
        return False
    content = message.get("content")
    if isinstance(content, str):
        return True
    return isinstance(content, Sequence) and all(_text_block(b) is not None for b in content)


def _text_block(block: object) -> str | None:
    if (
        isinstance(block, Mapping)
        and block.get("type") == "text"
        and set(block) <= {"type", "text"}
    ):
        text = block.get("text")
        return text if isinstance(text, str) else None
    return None


def _last_text(message: object) -> str | None:
    """Return the last user text of *message*, or ``None`` if it must not vary."""
    if not isinstance(message, Mapping) or message.get("role") != "user":
        return None
    content = _content(message)
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and content:
        return _text_block(content[-1])
    return None


def _without_text(message: object) -> object:
    """Return *message* without its last text: its role, its name, its earlier blocks."""
    assert isinstance(message, Mapping)
    content = message.get("content")
    rest = [] if isinstance(content, str) else list(content)[:-1]  # type: ignore[arg-type]
    return {**message, "content": rest}
