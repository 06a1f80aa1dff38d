"""Operations: the kinds of question that can be asked."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar

from attrs import field, frozen

from argo_mw.errors import BadParameter

Kind = Literal["fetch", "llm", "compute"]
"""What an operation does: see :class:`Operation`."""
DataType = Literal["market_data", "indicators", "sentiment", "ai_reasoning", "consensus"]
"""What kind of data its answers are; decides how long they live."""
Scope = Literal["public", "tenant"]
"""Whether tenants share its answers."""

Parameters = Mapping[str, object]
Accept = Callable[[object], "str | None"]
Normalize = Callable[[dict[str, object]], dict[str, object]]
Score = Callable[[object], float]
Tags = Callable[[Parameters], Iterable[str]]
F = TypeVar("F", bound=Callable[..., object])


def accept_anything(value: object) -> str | None:
    """Every value but ``None`` is an answer."""
    return "nothing" if value is None else None


def no_tags(parameters: Parameters) -> Iterable[str]:
    """Answers depend on nothing that has a tag of its own."""
    return ()


@frozen(eq=False)
class Operation:
    """A kind of question.

    Attributes:
        name: What callers ask for, unique among all installed plugins.
        signature: The parameters, with their defaults; a call that leaves a default out has
            the same key as one that spells it.
        kind: ``fetch`` asks a service for data, ``llm`` a language model, ``compute`` works an
            answer out of other operations.
        data_type: What kind of data answers are; decides how long they live.
        scope: ``public`` answers are shared between tenants, ``tenant`` ones are not.
            Language-model operations are always ``tenant``.
        subject: The parameter that is the subject (the symbol), or "".
        accept: Says what is wrong with a value, or ``None`` when it is an answer.
        normalize: Brings parameters into one form, and refuses bad ones with
            :class:`~argo_mw.errors.BadParameter`, before anything is called.
        score: How good an answer is, for strategies that compare answers; higher is better.
        tags: What an answer depends on beside its operation and subject, by the parameters: a
            caller who comes after one of these was invalidated joins no flight from before.
        timeout: Seconds after which nobody waits for an answer any more.
        version: Part of the key: change it when the meaning of answers changes.
        doc: One line for people.
    """

    name: str
    signature: inspect.Signature
    kind: Kind = "fetch"
    data_type: DataType = "market_data"
    scope: Scope = field(default="public")
    subject: str = "symbol"
    accept: Accept = accept_anything
    normalize: Normalize | None = None
    score: Score | None = None
    tags: Tags = no_tags
    timeout: float = 30.0
    version: int = 1
    doc: str = ""
    # Read out of the signature once, since every call is bound.
    _names: frozenset[str] = field(init=False, repr=False)
    _defaults: Parameters = field(init=False, repr=False)
    _required: frozenset[str] = field(init=False, repr=False)
    _takes_more: bool = field(init=False, repr=False)

    @_names.default
    def _named(self) -> frozenset[str]:
        return frozenset(self.signature.parameters)

    @_defaults.default
    def _defaulted(self) -> Parameters:
        known = self.signature.parameters
        return {n: p.default for n, p in known.items() if p.default is not p.empty}

    @_required.default
    def _asked_for(self) -> frozenset[str]:
        known = self.signature.parameters
        return frozenset(
            n for n, p in known.items() if p.default is p.empty and p.kind is not _REST
        )

    @_takes_more.default
    def _has_rest(self) -> bool:
        return any(p.kind is _REST for p in self.signature.parameters.values())

    @scope.validator
    def _language_models_are_never_public(self, _: object, value: Scope) -> None:
        if self.kind == "llm" and value != "tenant":
            msg = f"operation {self.name!r} is of kind 'llm': its scope must be 'tenant'"
            raise ValueError(msg)

    def bind(self, parameters: Parameters) -> dict[str, object]:
        """All parameters by name, defaults filled in, checked and normalised.

        Raises:
            BadParameter: One is missing, unknown or refused by ``normalize``.
        """
        if not (self._takes_more or self._names.issuperset(parameters)):
            raise self._unknown(next(name for name in parameters if name not in self._names))
        bound = {**self._defaults, **parameters}
        if not self._required.issubset(bound):
            missing = [n for n in self.signature.parameters if n in self._required - bound.keys()]
            msg = f"{self.name} needs {', '.join(missing)}: call it as {self.name}{self.signature}"
            raise BadParameter(msg)
        return self.normalize(bound) if self.normalize is not None else bound

    def _unknown(self, name: str) -> BadParameter:
        near = difflib.get_close_matches(name, self.signature.parameters, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"{self.name} has no parameter {name!r}{hint} It is {self.name}{self.signature}"
        return BadParameter(msg)


_REST = inspect.Parameter.VAR_KEYWORD


def operation(
    *,
    name: str | None = None,
    kind: Kind = "fetch",
    data_type: DataType = "market_data",
    scope: Scope | None = None,
    subject: str = "symbol",
    accept: Accept = accept_anything,
    normalize: Normalize | None = None,
    score: Score | None = None,
    tags: Tags = no_tags,
    timeout: float = 30.0,
    version: int = 1,
) -> Callable[[Callable[..., object]], Operation]:
    """Declare an operation by a signature: the body of the decorated function is never run.

    ::

        @operation(data_type="market_data", accept=not_empty)
        def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> Frame:
            \"\"\"Price bars of one symbol.\"\"\"

    Args:
        name: What callers ask for; the function's name unless told.
        kind: ``fetch``, ``llm`` or ``compute``.
        data_type: What kind of data answers are; decides how long they live.
        scope: ``public`` or ``tenant``: ``tenant`` for language models and ``public`` for the
            rest unless told.
        subject: The parameter that is the subject, where the signature has it.
        accept: Says what is wrong with a value, or ``None`` when it is an answer.
        normalize: Brings parameters into one form, and refuses bad ones.
        score: How good an answer is; higher is better.
        tags: What an answer depends on beside its operation and subject, by the parameters.
        timeout: Seconds after which nobody waits for an answer.
        version: Part of the key: change it when the meaning of answers changes.
    """

    def declare(function: Callable[..., object]) -> Operation:
        signature = inspect.signature(function)
        return Operation(
            name=name or function.__name__,
            signature=signature.replace(return_annotation=inspect.Signature.empty),
            kind=kind,
            data_type=data_type,
            scope=scope or ("tenant" if kind == "llm" else "public"),
            subject=subject if subject in signature.parameters else "",
            accept=accept,
            normalize=normalize,
            score=score,
            tags=tags,
            timeout=timeout,
            version=version,
            doc=(inspect.getdoc(function) or "").partition("\n")[0],
        )

    return declare
