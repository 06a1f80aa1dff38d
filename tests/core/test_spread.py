"""Commands spread work by what plugins bring, and need to know none of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import pytest

from argo_mw import Argo, Outcome, Settings
from argo_mw.cli import spread
from argo_mw.plugin import ConfigError, OpenSpread, Spread, hookimpl


class Elsewhere:
    """Answers about every subject by itself."""

    def __init__(self, on: str, settings: Settings) -> None:
        self.on = on
        self.settings = settings

    async def map(
        self, operation: object, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        return {subject: Outcome(self.on) for subject in subjects}

    @asynccontextmanager
    async def each(
        self, operation: object, subjects: Iterable[str], /, **parameters: object
    ) -> AsyncIterator[AsyncIterator[tuple[str, Outcome | Exception]]]:
        async def answers() -> AsyncIterator[tuple[str, Outcome | Exception]]:
            for subject, outcome in (await self.map(operation, subjects)).items():
                yield subject, outcome

        yield answers()


class Spreading:
    def __init__(self, *schemes: str) -> None:
        self._schemes = schemes

    @hookimpl
    def register_spreads(self) -> Mapping[str, OpenSpread]:
        @asynccontextmanager
        async def opened(on: str, settings: Settings) -> AsyncIterator[Spread]:
            yield Elsewhere(f"{self._schemes[0]} at {on}", settings)

        return dict.fromkeys(self._schemes, opened)


def opened(**plugins: object) -> Argo:
    return Argo.open({"argo": {"shared": "memory://"}}, plugins=plugins, installed=False)


async def test_a_url_is_opened_by_the_plugin_that_brings_its_scheme() -> None:
    async with opened(one=Spreading("near"), two=Spreading("far", "farther")) as argo:
        for on, expected in (
            ("near:4", "near at near:4"),
            ("farther://h:1", "far at farther://h:1"),
        ):
            async with spread(argo, on) as everywhere:
                assert {"A": Outcome(expected)} == await everywhere.map("signal", ["A"])
                async with everywhere.each("signal", ["A"]) as answers:
                    assert [("A", Outcome(expected))] == [one async for one in answers]


async def test_of_two_plugins_with_one_scheme_the_first_by_name_is_taken() -> None:
    async with opened(b=Spreading("second", "near"), a=Spreading("near")) as argo:
        async with spread(argo, "near:4") as everywhere:
            assert {"A": Outcome("near at near:4")} == await everywhere.map("signal", ["A"])


async def test_a_scheme_that_nobody_brings_is_an_error_with_what_there_is() -> None:
    async with opened(one=Spreading("near")) as argo:
        with pytest.raises(ConfigError, match=r"spreads work on 'far://h'; there are near:…"):
            spread(argo, "far://h")
    async with opened() as argo:
        with pytest.raises(ConfigError, match="install argo-mw-fleet"):
            spread(argo, "local:4")
