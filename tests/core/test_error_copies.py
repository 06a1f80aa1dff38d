"""Each of several callers that one error reaches gets an exception object of its own."""

from __future__ import annotations

import builtins
import errno
import pickle
import threading
import traceback
from typing import Any, NoReturn

import attrs
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import AllUpstreamsFailed, Argo, NotCopyable, NotFound, QuotaExceeded, UpstreamError
from argo_mw.model.copies import OutcomeCopies
from argo_mw.plugin import copy_error
from argo_mw.testing import FakeClock


def builtin_errors() -> list[type[BaseException]]:
    """Every class of the builtin tree."""
    found = {one for one in vars(builtins).values() if isinstance(one, type)}
    return sorted(
        (one for one in found if issubclass(one, BaseException)), key=lambda one: one.__name__
    )


def made(kind: type[BaseException]) -> BaseException:
    """Return an error of a builtin *kind*, with all the fields that it may have."""
    if issubclass(kind, BaseExceptionGroup):
        return kind("several", [ValueError({"one": [1]}), KeyError("two")])
    if issubclass(kind, UnicodeTranslateError):
        return kind("text", 1, 2, "reason")
    if issubclass(kind, UnicodeDecodeError):
        return kind("utf-8", b"\xff\xfe", 0, 1, "reason")
    if issubclass(kind, UnicodeEncodeError):
        return kind("ascii", "tëxt", 1, 2, "reason")
    if issubclass(kind, ImportError):
        return kind("message", name="module", path="/path")
    if issubclass(kind, SyntaxError):
        return kind("message", ("file.py", 3, 7, "text", 3, 9))
    if issubclass(kind, OSError):
        return kind(errno.ENOENT, "no such file", "/one", None, "/two")
    if issubclass(kind, AttributeError):
        return kind("message", name="name", obj=[1])
    if issubclass(kind, NameError):
        return kind("message", name="name")
    return kind("message", [1, {"two": 2}])


def seen(error: BaseException) -> dict[str, object]:
    """Return what a caller can see of *error*."""
    fields = {
        name: getattr(error, name, None)
        for name in dir(error)
        if not name.startswith("__") and not callable(getattr(error, name, None))
    }
    shown = {"str": str(error), "args": repr(error.args), "notes": getattr(error, "__notes__", [])}
    return {**{name: repr(value) for name, value in fields.items()}, **shown}


@pytest.mark.parametrize("kind", builtin_errors(), ids=lambda kind: kind.__name__)
def test_a_builtin_error_keeps_its_class_and_its_fields(kind: type[BaseException]) -> None:
    error = made(kind)
    error.add_note("noted")
    copy = copy_error(error)
    assert copy is not error
    assert type(error) is type(copy)
    assert seen(error) == seen(copy)
    copy.add_note("noted by one caller")
    assert ["noted"] == error.__notes__


@pytest.mark.parametrize("kind", builtin_errors(), ids=lambda kind: kind.__name__)
def test_a_builtin_error_without_arguments_keeps_what_it_shows(kind: type[BaseException]) -> None:
    try:
        error = kind()
    except TypeError:
        return
    assert seen(error) == seen(copy_error(error))


@pytest.mark.parametrize("kind", builtin_errors(), ids=lambda kind: kind.__name__)
def test_a_class_that_extends_a_builtin_error_keeps_its_own_fields(
    kind: type[BaseException],
) -> None:
    class Own(kind):  # type: ignore[misc,valid-type]
        __slots__ = ("slot", "unset")

        def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
            raise AssertionError("a copy does not make a second one")

        def __init__(self, *args: object, **kwargs: object) -> None:
            raise AssertionError("a copy does not begin again")

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError("nothing of it is set")

    plain = made(kind)
    base: Any = kind
    parts = [plain.exceptions] if isinstance(plain, BaseExceptionGroup) else []
    error = base.__new__(Own, *([plain.message, *parts] if parts else []))  # type: ignore[attr-defined]
    Own.slot.__set__(error, ["slot"])  # type: ignore[attr-defined]
    error.__dict__["own"] = {"a": [1]}
    copy = copy_error(error)
    assert type(copy) is Own
    assert (["slot"], {"a": [1]}) == (copy.slot, copy.own)
    assert not hasattr(copy, "unset")
    copy.slot.append("more")
    copy.own["a"].append(2)
    assert (["slot"], {"a": [1]}) == (error.slot, error.own)


class NeedsKeywords(Exception):
    def __init__(self, code: int, *, detail: dict[str, list[int]]) -> None:
        super().__init__(f"failed with {code}")
        self.code, self.detail = code, detail


class Changing(NeedsKeywords, OSError):
    """Two builtin layouts meet."""


@attrs.define(eq=False)
class Slotted(Exception):
    parts: list[int]
    frame: pd.DataFrame


@attrs.frozen(eq=False)
class FrozenError(Exception):
    parts: list[int]


class GroupOfOwn(ExceptionGroup[Exception]):
    def __new__(cls, parts: list[Exception], *, where: str) -> GroupOfOwn:
        return super().__new__(cls, f"at {where}", parts)

    def __init__(self, parts: list[Exception], *, where: str) -> None:
        self.where = where


def test_errors_with_constructors_of_their_own_are_copied() -> None:
    for kind in (NeedsKeywords, Changing):
        error = kind(503, detail={"a": [1]})
        copy = copy_error(error)
        assert (kind, 503, {"a": [1]}, str(error)) == (
            type(copy),
            copy.code,
            copy.detail,
            str(copy),
        )
        copy.detail["a"].append(2)
        assert {"a": [1]} == error.detail
    slotted = Slotted([1], pd.DataFrame({"a": [1], "b": [[1]]}))
    copied = copy_error(slotted)
    copied.parts.append(2)
    copied.frame.loc[0, "a"] = 5
    copied.frame["b"].iloc[0].append(2)
    assert ([1], 1, [1]) == (slotted.parts, slotted.frame["a"].iloc[0], slotted.frame["b"].iloc[0])
    frozen = FrozenError([1])
    copy_error(frozen).parts.append(2)
    assert [1] == frozen.parts


class Empty(Exception):
    """An error that counts as false."""

    def __len__(self) -> int:
        return 0


class Undecided(Exception):
    """An error that fails when it is asked whether it is true."""

    def __bool__(self) -> bool:
        raise RuntimeError("ask me not")


@pytest.mark.parametrize("kind", [Empty, Undecided])
async def test_an_error_arrives_whatever_its_truth_is(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    argo = Argo.open({"argo": {"shared": "memory://"}}, clock=FakeClock(), installed=False)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> float:
        raise kind("down") from kind("deeper")

    async with argo:
        with pytest.raises(kind, match="down") as raised:
            await quote("A")
    assert type(raised.value.__cause__) is kind
    assert type(copy_error(raised.value).__cause__) is kind


def test_a_group_has_copies_of_its_errors() -> None:
    inner = GroupOfOwn([NeedsKeywords(1, detail={})], where="inside")
    inner.args = ("inside", [1])
    group = ExceptionGroup("outer", [inner, inner.exceptions[0]])
    copy = copy_error(group)
    (first, again) = copy.exceptions
    assert isinstance(first, GroupOfOwn)
    assert ("inside", "at inside") == (first.where, first.message)
    assert first.exceptions[0] is again
    assert first is not inner
    assert again is not inner.exceptions[0]
    assert "outer" == copy.args[0]
    assert copy.args[1][0] is first
    assert ("inside", [1]) == first.args
    first.args[1].append(2)
    assert ("inside", [1]) == inner.args
    matched, rest = copy.split(NeedsKeywords)
    assert matched is not None
    assert rest is None


def test_errors_of_the_framework_are_copied_with_what_they_list() -> None:
    down = UpstreamError("down", upstream="a", retry_after=3.0, status=503)
    failed = AllUpstreamsFailed("none", causes=[down, QuotaExceeded("used up", retry_at=5.0)])
    copy = copy_error(failed)
    assert isinstance(copy, AllUpstreamsFailed)
    one, other = copy.causes
    assert isinstance(one, UpstreamError)
    assert isinstance(other, QuotaExceeded)
    assert one is not down
    assert ("a", 3.0, 503, 5.0) == (one.upstream, one.retry_after, one.status, other.retry_at)


def test_causes_and_contexts_are_copied_however_they_are_linked() -> None:
    first, second, third = ValueError("first"), KeyError("second"), OSError(2, "third", "file")
    first.__cause__, second.__context__, third.__cause__ = second, third, first
    first.__suppress_context__ = True
    first.other = second  # type: ignore[attr-defined]
    copy = copy_error(first)
    cause = copy.__cause__
    assert isinstance(cause, KeyError)
    context = cause.__context__
    assert isinstance(context, OSError)
    assert context.__cause__ is copy
    assert copy.other is cause  # type: ignore[attr-defined]
    assert copy.__suppress_context__
    assert "file" == context.filename
    assert {id(first), id(second), id(third)}.isdisjoint({id(copy), id(cause), id(context)})
    assert traceback.format_exception(copy)


def test_a_long_chain_of_causes_is_copied() -> None:
    error = ValueError(0)
    for number in range(1, 20_000):
        outer = ValueError(number)
        outer.__cause__ = error
        error = outer
    copy = copy_error(error)
    for number in range(19_999, -1, -1):
        assert (number,) == copy.args
        copy = copy.__cause__  # type: ignore[assignment]
    assert copy is None


def test_a_field_that_leads_back_to_its_error_is_copied() -> None:
    error = ValueError("loop")
    error.me = [error]  # type: ignore[attr-defined]
    error.me.append(error.me)  # type: ignore[attr-defined]
    copy = copy_error(error)
    assert copy.me[0] is copy  # type: ignore[attr-defined]
    assert copy.me[1] is copy.me  # type: ignore[attr-defined]


def test_what_is_no_data_stays_what_it_is() -> None:
    class Connection:
        def __getstate__(self) -> object:
            return {}

    lock, connection = threading.Lock(), Connection()
    error = ValueError("with resources")
    error.held = {"lock": lock, "rows": [1]}  # type: ignore[attr-defined]
    error.connection = connection  # type: ignore[attr-defined]
    copy = copy_error(error)
    assert copy.held["lock"] is lock  # type: ignore[attr-defined]
    assert copy.connection is connection  # type: ignore[attr-defined]
    assert copy.held["rows"] is not error.held["rows"]  # type: ignore[attr-defined]


def test_the_traceback_names_the_origin_and_does_not_grow() -> None:
    def fail() -> None:
        raise ValueError("origin")

    with pytest.raises(ValueError, match="origin") as raised:
        fail()
    stored = copy_error(raised.value)
    lengths = set()
    for _ in range(50):
        with pytest.raises(ValueError, match="origin") as again:
            raise copy_error(stored)
        frames = traceback.extract_tb(again.tb)
        lengths.add(len(frames))
        assert "fail" == frames[-1].name
    assert 1 == len(lengths)
    assert copy_error(stored, traceback=False).__traceback__ is None


def test_an_error_without_a_second_object_is_named_by_one_that_stands_for_it() -> None:
    pydantic_core = pytest.importorskip("pydantic_core")

    validation = pydantic_core.SchemaValidator({"type": "int"})
    with pytest.raises(pydantic_core.ValidationError) as raised:
        validation.validate_python("text")
    copy = copy_error(raised.value)
    assert copy is not raised.value
    assert str(raised.value) in str(copy)


def test_what_cannot_be_copied_is_not_shared() -> None:
    class Stubborn(Exception):
        @property
        def __dict__(self) -> dict[str, object]:  # type: ignore[override]
            raise RuntimeError("no fields for you")

        def __reduce__(self) -> NoReturn:
            raise pickle.PicklingError("no")

    error = Stubborn("it broke")
    outer = ValueError("outer")
    outer.__cause__ = error
    copy = copy_error(error)
    assert isinstance(copy, NotCopyable)
    assert copy.original.endswith("Stubborn")
    assert "it broke" in str(copy)
    assert isinstance(copy_error(outer).__cause__, NotCopyable)


PLAIN = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(args=st.lists(PLAIN, max_size=3), fields=st.dictionaries(st.sampled_from("abc"), PLAIN))
def test_whatever_an_error_holds_is_copied(args: list[object], fields: dict[str, object]) -> None:
    error = NotFound("gone", upstream="a")
    error.args = tuple(args)
    error.__dict__.update(fields)
    copy = copy_error(error)
    assert (tuple(args), {**error.__dict__}) == (copy.args, copy.__dict__)
    assert set(mutable_parts(error)).isdisjoint(mutable_parts(copy))


def mutable_parts(error: BaseException) -> list[int]:
    found, waiting = [], [*error.args, error.__dict__]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (list, dict)):
            found.append(id(one))
            waiting += one.values() if isinstance(one, dict) else one
    return found


def test_the_first_caller_gets_what_was_raised_and_the_others_copies_of_what_it_was() -> None:
    error = NeedsKeywords(1, detail={"a": [1]})
    copies = OutcomeCopies(error)
    with pytest.raises(NeedsKeywords) as first:
        copies.take()
    assert first.value is error
    error.detail["a"].append(2)
    error.add_note("of the first")
    with pytest.raises(NeedsKeywords) as second:
        copies.take()
    assert {"a": [1]} == second.value.detail
    assert not hasattr(second.value, "__notes__")
