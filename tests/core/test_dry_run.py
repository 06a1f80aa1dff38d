"""The dry run: what each part would do, after looking where that takes waiting."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from argo_mw import Explained, Refusal
from argo_mw.plugin import Call, Layer, Limits, Next, Outcome, Request, Result
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle


class Looking:
    """A middleware that says different things with and without waiting."""

    def __init__(self, text: str | Exception | None = "found") -> None:
        self.text = text

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    def explain(self, call: Call) -> str:
        return "at hand"

    async def dry_run(self, call: Call) -> str:
        if self.text is None:
            await asyncio.Event().wait()
        if isinstance(self.text, Exception):
            raise self.text
        return str(self.text)


class Plain:
    """A guard that makes no dry runs."""

    name = "plain"

    async def reserve(self, request: Request) -> None: ...

    def settle(self, request: Request, result: Result) -> None: ...

    async def release(self, request: Request) -> None: ...


class Telling(Plain):
    name = "telling"

    def __init__(self, text: str | Exception | None) -> None:
        self.text = text

    async def dry_run(self, request: Request) -> str:
        if self.text is None:
            await asyncio.Event().wait()
        if isinstance(self.text, Exception):
            raise self.text
        return str(self.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("found", "found"),
        (ValueError("no"), "cannot explain itself: ValueError: no"),
        (None, "at hand (the dry run took longer than 2 s)"),
    ],
)
async def test_a_layer_is_asked_to_look(open_argo, clock: FakeClock, text, expected: str) -> None:
    layer = Layer("cache", Looking(text), slot="cache")
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        assert "at hand" == argo.explain("bars", symbol="A")[0].text
        looking = asyncio.create_task(argo.dry_run("bars", symbol="A"))
        await settle()
        await clock.advance(2.0)
        explained = await looking
    assert expected == explained[0].text


@pytest.mark.parametrize("rule", ["off", "shadow"])
async def test_a_layer_that_does_not_act_is_not_asked(open_argo, rule: str) -> None:
    class Shadowing(Looking):
        async def shadow(self, call: Call, outcome: Outcome) -> None: ...

    layer = Layer("cache", Shadowing(ValueError("asked")), slot="cache")
    config = {"flags": {"cache": rule}}
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,), config=config) as argo:
        assert argo.explain("bars", symbol="A") == await argo.dry_run("bars", symbol="A")


@pytest.mark.parametrize(
    ("guard", "on", "text"),
    [
        (Telling("much is left"), True, "no limits; much is left"),
        (Telling(Refusal("not today")), False, "would be refused: not today"),
        (Telling(OSError("bug")), False, "would be refused: guard telling failed: bug"),
        (Telling(None), True, "whether telling would refuse it is not known (the dry run took"),
        (Plain(), True, "whether plain would refuse it is not known before it is asked"),
    ],
)
async def test_guards_say_what_they_would_refuse(
    open_argo, clock: FakeClock, guard: Plain, on: bool, text: str
) -> None:
    upstream = Scripted("a", ["bars"])
    guarding = FakePlugin(guards=lambda upstream: [guard])
    async with open_argo(upstream, plugins={"guarding": guarding}) as argo:
        assert argo.explain("bars", symbol="A")[-1].text.endswith(f"; guarded by {guard.name}")
        looking = asyncio.create_task(argo.dry_run("bars", symbol="A"))
        await settle()
        await clock.advance(2.0)
        explained = (await looking)[-1]
    assert on == explained.on
    assert text in explained.text
    assert [] == upstream.asked


async def test_without_the_store_a_quota_would_refuse(open_argo) -> None:
    upstream = Scripted("a", ["bars"], limits=Limits(per_day=5))
    async with open_argo(upstream, config={"argo": {"shared": "unreachable://"}}) as argo:
        explained = (await argo.dry_run("bars", symbol="A"))[-1]
    assert not explained.on
    assert "would be refused: guard quota failed: " in explained.text


async def test_an_upstream_that_cannot_answer_is_not_one_that_would_be_asked(open_argo) -> None:
    upstream = Scripted("a", ["bars"])
    upstream.upstream = evolve(
        upstream.upstream, unsupported=lambda call: f"has no key for {call.upstream}"
    )
    async with open_argo(upstream) as argo:
        found = [argo.explain("bars", symbol="A"), await argo.dry_run("bars", symbol="A")]
    expected = Explained(
        "upstream.a", False, "on (default; STATIC)", "would not be asked: it has no key for a"
    )
    assert [[expected], [expected]] == found
