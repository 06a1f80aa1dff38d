"""Operations: the kinds of question that can be asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, get_args

from attrs import field, frozen

from argo_mw.base.cancellation import described
from argo_mw.base.durations import above_zero, seconds
from argo_mw.base.errors import BadParameter, ConfigError
from argo_mw.base.name_lists import refuse_one_text
from argo_mw.base.printable import brief
from argo_mw.base.suggest import suggest
from argo_mw.model.distance import Distance, how_far
from argo_mw.model.recording import Recording

Kind = Literal["fetch", "llm", "compute"]
"""What an operation does; see :class:`Operation`."""
Scope = Literal["public", "tenant"]
"""Whether tenants share the answers of an operation."""

Parameters = Mapping[str, object]
Accept = Callable[[object], "str | None"]
Normalize = Callable[[dict[str, object]], dict[str, object]]
Score = Callable[[object], float]
Tags = Callable[[Parameters], Iterable[str]]
KeyOf = Callable[[Parameters], object]
TaskOf = Callable[[Parameters], str]
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


def accept_anything(value: object) -> str | None:
    """Accept every value but ``None``."""
    return "nothing" if value is None else None


def no_tags(parameters: Parameters) -> Iterable[str]:
    """Return no tags beside those of operation and subject."""
    return ()


def _timeout(number: float) -> float:
    return above_zero("timeout", number)


@frozen(eq=False)
class Operation(Generic[P, R_co]):
    """A kind of question.

    Attributes:
        name: What callers ask for, unique among all installed plugins.
        signature: The parameters, with their defaults; a call that leaves a default out has
            the same key as one that gives it.
        kind: ``fetch`` asks a service for data, ``llm`` a language model, ``compute`` works an
            answer out of other operations.
        data_type: What kind of data answers are, by a name that a plugin registers with
            ``register_data_types``, or ""; layers may decide by it.
        scope: ``public`` answers are shared between tenants, ``tenant`` ones are not. By default
            ``public`` for ``fetch`` and ``tenant`` for the rest; language-model operations are
            always ``tenant``. A public operation cannot ask a tenant one.
        subject: The name of the parameter that is the subject, or "" when there is none.
        gathers: The name of the parameter in which calls may differ that share a request of an
            upstream that answers several; by default the subject.
        accept: Returns what is wrong with a value, or ``None`` when it is an answer.
        normalize: Brings parameters into one form, and refuses bad ones with
            :class:`~argo_mw.BadParameter`, before anything is called.
        score: How good an answer is, for strategies that compare answers; higher is better.
        tags: Returns what an answer to these parameters depends on beside its operation and
            subject, for :meth:`~argo_mw.Argo.invalidate`.
        timeout: Seconds that a caller waits for an answer at most, by default.
        ttl: Seconds for which an answer is fresh, whatever layers would decide; ``None`` leaves it
            to its upstream and to them.
        grace: Seconds after that for which an answer may be served when nothing newer can be had;
            ``None`` leaves it to the layer that keeps answers.
        ignore: The names of parameters that do not decide the answer, such as a client: they are
            no part of the key, and are handed on as they are.
        key: Returns what stands for the parameters in the key, or ``None`` where they do.
        version: Part of the key: change it when the meaning of answers changes.
        record: Which rows its answers become where a plugin records answers, or ``None``.
        distance: How far a kept answer is from a newer one, where that is measured.
        task: Returns what a call asks of a language model where that is not to answer a
            conversation, in the words of OpenTelemetry's ``gen_ai.operation.name``; else "".
        doc: One line for people.
    """

    name: str
    signature: inspect.Signature
    kind: Kind = field(default="fetch")
    data_type: str = ""
    scope: Scope = field()
    subject: str = ""
    gathers: str = ""
    accept: Accept = accept_anything
    normalize: Normalize | None = None
    score: Score | None = None
    tags: Tags = no_tags
    timeout: float = field(default=30.0, converter=_timeout)
    ttl: float | None = None
    grace: float | None = None
    ignore: frozenset[str] = frozenset()
    key: KeyOf | None = None
    version: int = 1
    record: Recording | None = None
    distance: Distance = how_far
    task: TaskOf | None = None
    doc: str = ""
    # Read from the signature once, since every call is bound.
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

    @kind.validator
    def _is_known(self, _: object, value: Kind) -> None:
        if value not in get_args(Kind):
            known = ", ".join(map(repr, get_args(Kind)))
            msg = f"the kind of operation {self.name!r} is {value!r}; it is one of {known}"
            raise ValueError(msg)

    @scope.default
    def _scope_of_kind(self) -> Scope:
        return "public" if self.kind == "fetch" else "tenant"

    @scope.validator
    def _language_models_are_never_public(self, _: object, value: Scope) -> None:
        if value not in get_args(Scope):
            msg = f"the scope of operation {self.name!r} is {value!r}; it is 'public' or 'tenant'"
            raise ValueError(msg)
        if self.kind == "llm" and value != "tenant":
            msg = f"operation {self.name!r} is of kind 'llm': its scope must be 'tenant'"
            raise ValueError(msg)

    def bind(self, parameters: Parameters) -> dict[str, object]:
        """Return all parameters by name, defaults filled in, checked and normalised.

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
        if self.normalize is None:
            return bound
        try:
            return self.normalize(bound)
        except BadParameter:
            raise
        except Exception as error:  # it is written for what it expects, and gets anything
            msg = f"{self.name} cannot read its parameters: {described(error)}"
            raise BadParameter(msg) from error

    def deciding(self, parameters: Parameters) -> Parameters:
        """Return what of *parameters* decides the answer, for its key."""
        if self.key is not None:
            return {"key": self.key(parameters)}
        if self.ignore:
            return {n: v for n, v in parameters.items() if n not in self.ignore}
        return parameters

    def named(self, arguments: Sequence[object], parameters: Parameters) -> Parameters:
        """Return *parameters* with the positional *arguments* among them, by their names.

        Raises:
            BadParameter: There are more than the signature has places for, or one is given twice.
        """
        known = self.signature.parameters.values()
        places = [one.name for one in known if one.kind is one.POSITIONAL_OR_KEYWORD]
        if len(arguments) > len(places):
            msg = f"{self.name}{self.signature} takes {len(places)} arguments without a name"
            raise BadParameter(f"{msg}, got {len(arguments)}: name the others")
        given = dict(zip(places, arguments, strict=False))
        for name in given.keys() & parameters.keys():
            msg = f"{self.name}{self.signature} got {name!r} twice, by its place and by its name"
            raise BadParameter(msg)
        return {**given, **parameters}

    def _unknown(self, name: str) -> BadParameter:
        hint = suggest(name, self.signature.parameters)
        return BadParameter(f"{self.name}{self.signature} has no parameter {brief(name)}: {hint}")


AnyOperation: TypeAlias = Operation[..., object]
"""An operation of any parameters and any answer."""

Asked: TypeAlias = str | AnyOperation
"""What callers name an operation by: its name, or its declaration, which types the answer."""

_REST = inspect.Parameter.VAR_KEYWORD


def name_of(asked: Asked) -> str:
    """Return the name of the operation that is *asked*.

    Raises:
        BadParameter: It is neither a name nor a declaration, but a wrapped function, for one.
    """
    return asked if isinstance(asked, str) else _declaration(asked).name


def named_parameters(
    asked: Asked, arguments: Sequence[object], parameters: Parameters
) -> Parameters:
    """Return *parameters* with the positional *arguments* among them.

    Raises:
        BadParameter: The declaration does not say what they are, or there is none.
    """
    if isinstance(asked, str):
        msg = f"{brief(asked)} is asked with {brief(arguments[0])}: give parameters by name"
        raise BadParameter(msg)
    return _declaration(asked).named(arguments, parameters)


def _declaration(asked: object) -> AnyOperation:
    if isinstance(asked, Operation):
        return asked
    msg = (
        f"{brief(asked)} is no operation: give its name, or its declaration; a function that is "
        "wrapped is called itself"
    )
    raise BadParameter(msg)


def ignored_names(ignore: Iterable[str]) -> frozenset[str]:
    """Return the names of the parameters to ignore.

    Raises:
        ConfigError: They are one text.
    """
    refuse_one_text("ignore", ignore)
    return frozenset(ignore)


def scope_of(names: Iterable[str], operations: Mapping[str, AnyOperation]) -> Scope:
    """Return the scope of an operation that asks those with *names*.

    Args:
        names: What it asks.
        operations: The operations by name; one that is missing cannot be asked, and so belongs to
            no tenant.
    """
    asked = [operations[name] for name in names if name in operations]
    return "public" if all(one.scope == "public" for one in asked) else "tenant"


def operation(
    *,
    name: str | None = None,
    kind: Kind = "fetch",
    data_type: str = "",
    scope: Scope | None = None,
    subject: str = "",
    gathers: str = "",
    accept: Accept = accept_anything,
    normalize: Normalize | None = None,
    score: Score | None = None,
    tags: Tags = no_tags,
    timeout: float = 30.0,
    ttl: float | str | None = None,
    grace: float | str | None = None,
    ignore: Iterable[str] = (),
    key: KeyOf | None = None,
    version: int = 1,
    record: Recording | None = None,
    distance: Distance = how_far,
    task: TaskOf | None = None,
) -> Callable[[Callable[P, R_co]], Operation[P, R_co]]:
    """Declare an operation by a signature: the body of the decorated function is never run.

    ::

        @operation(subject="city", accept=not_empty)
        def forecast(city: str, *, days: int = 5) -> Forecast:
            \"\"\"The weather of the next days.\"\"\"

    Args:
        name: What callers ask for; by default the function's name.
        kind: ``fetch``, ``llm`` or ``compute``.
        data_type: What kind of data answers are, by a registered name, or "".
        scope: ``public`` where tenants share answers, or ``tenant``; by default ``public`` for
            ``fetch`` and ``tenant`` for the rest.
        subject: The name of the parameter that is the subject, or "".
        gathers: The name of the parameter in which calls may differ that share a request; by
            default the subject.
        accept: Returns what is wrong with a value, or ``None`` when it is an answer.
        normalize: Brings parameters into one form, and refuses bad ones.
        score: How good an answer is; higher is better.
        tags: Returns what an answer to these parameters depends on beside operation and subject.
        timeout: Seconds that a caller waits for an answer at most, by default.
        ttl: How long an answer is fresh, in seconds or as a text such as ``"2m"``; by default what
            its upstream and the layers decide.
        grace: How long after that an answer may be served when nothing newer can be had.
        ignore: The names of parameters that do not decide the answer, such as a client.
        key: Returns what stands for the parameters in the key; by default they do themselves.
        version: Part of the key: change it when the meaning of answers changes.
        record: Which rows its answers become where a plugin records answers, or ``None``.
        distance: Returns how far a kept answer is from a newer one, such as 0.01 where its price is
            one per cent off; by default the relative difference of numbers, else 0 or 1.
        task: Returns what a call asks of a language model where that is not to answer a
            conversation, such as ``embeddings``, under which metrics count it; else "".

    Raises:
        BadParameter: *ttl* or *grace* is not a duration, or *timeout* not above zero.
        ConfigError: What *subject*, *gathers* or *ignore* names is not a parameter of the function.
    """
    ignored = ignored_names(ignore)

    def declare(function: Callable[P, R_co]) -> Operation[P, R_co]:
        signature = inspect.signature(function)
        own = name or function.__name__
        for named, what in ((subject, "its subject"), (gathers, "what it gathers")):
            if named and named not in signature.parameters:
                msg = (
                    f"operation {own!r} names {named!r} as {what}, which is not a parameter of "
                    f"{own}{signature}: {suggest(named, signature.parameters)}"
                )
                raise ConfigError(msg)
        for ignored_name in sorted(ignored):
            if ignored_name not in signature.parameters or ignored_name == subject:
                why = "is its subject" if ignored_name == subject else "is not a parameter of it"
                msg = f"operation {own!r} cannot ignore {ignored_name!r}, which {why}"
                raise ConfigError(msg)
        chosen: dict[str, Any] = {} if scope is None else {"scope": scope}
        return Operation(
            name=own,
            signature=signature.replace(return_annotation=inspect.Signature.empty),
            kind=kind,
            data_type=data_type,
            subject=subject,
            gathers=gathers,
            accept=accept,
            normalize=normalize,
            score=score,
            tags=tags,
            timeout=timeout,
            ttl=None if ttl is None else seconds(ttl),
            grace=None if grace is None else seconds(grace),
            ignore=ignored,
            key=key,
            version=version,
            record=record,
            distance=distance,
            task=task,
            doc=(inspect.getdoc(function) or "").partition("\n")[0],
            **chosen,
        )

    return declare
