"""The contract of layers catches what is wrong with find, explain, open, close and take_over."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from argo_mw import Outcome
from argo_mw.plugin import Call, Context, Layer, Next, hookimpl
from argo_mw.testing import LayerConformance


@frozen
class Config:
    level: int = 1


class Keeping:
    """A middleware that keeps every answer, as a layer should."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.kept: dict[str, Outcome] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        if call.key not in self.kept:
            self.kept[call.key] = await call_next(call)
        return self.kept[call.key]

    def find(self, call: Call):
        return self.look(call)

    async def look(self, call: Call) -> Outcome | None:
        return self.kept.get(call.key)

    def explain(self, call: Call) -> str:
        return "has it" if call.key in self.kept else "would ask"

    async def open(self) -> None: ...

    def take_over(self, previous: Keeping) -> None:
        self.kept = previous.kept

    async def close(self) -> None: ...


class Suite(LayerConformance):
    __test__ = False
    name = "mine"
    tight = {"level": 2}  # noqa: RUF012


def suite(middleware: type[Keeping]) -> Suite:
    """The contract's tests for a plugin with this middleware."""

    class Plugin:
        @hookimpl
        def register_config(self) -> type:
            return Config

        @hookimpl
        def register_layers(self, context: Context) -> list[Layer]:
            return [Layer("mine", middleware(context), before=("race",))]

    made = Suite()
    made.plugin = Plugin
    return made


async def test_one_that_keeps_the_contract_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = suite(Keeping)
    await keeping.test_it_is_opened_and_closed_once(monkeypatch)
    await keeping.test_it_goes_on_when_its_configuration_changes()
    await keeping.test_find_asks_no_upstream()
    await keeping.test_find_and_the_layer_agree()
    await keeping.test_it_explains_itself_in_one_line()


async def test_a_find_that_asks_an_upstream_is_caught() -> None:
    class Asking(Keeping):
        async def look(self, call: Call) -> Outcome | None:
            [upstream] = self.context.upstreams(call)
            return await upstream.fetch(call)

    with pytest.raises(AssertionError, match="find asked an upstream"):
        await suite(Asking).test_find_asks_no_upstream()


async def test_a_find_that_leaves_others_waiting_for_a_closed_coroutine_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("argo_mw.testing.layers._TIMEOUT", 0.05)

    class Promising(Keeping):
        def find(self, call: Call):
            looked = self.kept.get(f"looking for {call.key}")
            if looked is not None:
                return self.wait()
            self.kept[f"looking for {call.key}"] = Outcome(None)
            return self.look(call)

        async def wait(self) -> Outcome | None:
            return await asyncio.Event().wait()  # type: ignore[return-value]

        async def look(self, call: Call) -> Outcome | None:
            del self.kept[f"looking for {call.key}"]
            return self.kept.get(call.key)

    with pytest.raises(TimeoutError):
        await suite(Promising).test_find_asks_no_upstream()


async def test_a_find_that_serves_other_answers_than_the_layer_is_caught() -> None:
    class Different(Keeping):
        async def look(self, call: Call) -> Outcome | None:
            kept = self.kept.get(call.key)
            return kept and kept.evolve(as_of=0.0)

    with pytest.raises(AssertionError):
        await suite(Different).test_find_and_the_layer_agree()


async def test_a_find_that_serves_what_the_layer_has_not_is_caught() -> None:
    class Inventing(Keeping):
        async def __call__(self, call: Call, call_next: Next) -> Outcome:
            return await call_next(call)

        async def look(self, call: Call) -> Outcome | None:
            return Outcome("invented")

    with pytest.raises(AssertionError, match="find has an answer to a call that the layer sends"):
        await suite(Inventing).test_find_and_the_layer_agree()


@pytest.mark.parametrize("text", ["", "one line\nand another"])
async def test_an_explanation_that_is_not_one_line_is_caught(text: str) -> None:
    class Wordy(Keeping):
        def explain(self, call: Call) -> str:
            return text

    with pytest.raises(AssertionError):
        await suite(Wordy).test_it_explains_itself_in_one_line()


async def test_a_layer_that_does_not_go_on_after_a_change_is_caught() -> None:
    class Forgetful(Keeping):
        def take_over(self, previous: Keeping) -> None:
            del self.kept

    with pytest.raises(AssertionError, match="it failed and was bypassed: mine: AttributeError"):
        await suite(Forgetful).test_it_goes_on_when_its_configuration_changes()
