"""The helper that finds classes in signatures finds them wherever they may stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import frozen

from argo_mw import Clock, Cost, Note, Outcome, Secret, Settings
from tests.architecture.signatures import classes_in_signatures

Bound = TypeVar("Bound", bound=Secret)


@frozen
class Example:
    """Names a class in each place that a signature has."""

    cost: Cost
    _hidden: Settings

    @property
    def notes(self) -> Mapping[str, list[Note]]:
        raise NotImplementedError

    @classmethod
    def make(cls, clock: Clock | None) -> Example:
        raise NotImplementedError

    def answer(self, then: Callable[[Outcome], None], secret: Bound) -> Bound:
        raise NotImplementedError

    def _private(self, settings: Settings) -> None: ...


def test_each_public_place_is_searched() -> None:
    assert {Cost, Note, Clock, Outcome, Secret} == classes_in_signatures(Example)


def test_functions_and_values_are_searched_too() -> None:
    def ask(clock: Clock) -> Outcome:
        raise NotImplementedError

    assert {Clock, Outcome} == classes_in_signatures(ask)
    assert {Cost} == classes_in_signatures(Cost())
