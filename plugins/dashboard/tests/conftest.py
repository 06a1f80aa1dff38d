"""What the tests of the dashboard share: applications that show one, and clients that look."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from attrs import define, field

from argo_mw import Argo
from argo_mw.plugin import (
    Button,
    Call,
    ConfigError,
    Context,
    Layer,
    Line,
    Next,
    Outcome,
    Panel,
    View,
    hookimpl,
    operation,
    plugin_of,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_dashboard import DashboardPlugin
from argo_mw_dashboard.serving import Dashboard


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


class Memory:
    """A cache as simple as can be."""

    def __init__(self) -> None:
        self.known: dict[str, Outcome] = {}

    def find(self, call: Call) -> Outcome | None:
        return self.known.get(call.key)

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        outcome = await call_next(call)
        self.known[call.key] = outcome.evolve(attempts=()).shaped_by("memory")
        return outcome


@define(eq=False)
class Showing:
    """A plugin with a panel; counts how often it is read, and what was pressed."""

    reads: int = 0
    pressed: list[str] = field(factory=list)
    lines: list[Line] = field(factory=list)

    @hookimpl
    def register_panels(self, context: Context) -> Iterable[Panel]:
        button = Button("press", "Press", self.press, "Press {}?")
        return [Panel("showing", "Shown", ("what", "more"), self.read, buttons=(button,))]

    def read(self) -> View:
        self.reads += 1
        return View(self.lines)

    async def press(self, key: str) -> str:
        if key == "no":
            msg = "that cannot be done"
            raise ConfigError(msg)
        self.pressed.append(key)
        return f"{key} was pressed"


def open_argo(
    clock: FakeClock | None = None,
    *,
    showing: Showing | None = None,
    config: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Argo:
    """Return an application that shows a dashboard at a free port."""
    return Argo.open(
        {
            "argo": {"shared": "memory://", **(settings or {})},
            "plugins": {"dashboard": {"port": 0, **(config or {})}},
        },
        clock=clock,
        plugins={
            "asked": FakePlugin(operations=(bars,), upstreams=(Scripted("a", ["bars"]),)),
            "memory": FakePlugin(layer=Layer("memory", Memory(), slot="cache")),
            "dashboard": DashboardPlugin(),
            "showing": showing or Showing(),
        },
        installed=False,
    )


def shown_by(argo: Argo) -> Dashboard:
    """Return the dashboard that *argo* shows."""
    shown = plugin_of(argo, DashboardPlugin).shown
    assert shown is not None
    return shown


def token_of(argo: Argo) -> str:
    """Return the token that the dashboard of *argo* asks for."""
    return shown_by(argo).url.partition("#token=")[2]


@asynccontextmanager
async def client_of(argo: Argo, token: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client that sends the token of *argo*, or *token*; "" for none."""
    given = token_of(argo) if token is None else token
    headers = {"Authorization": f"Bearer {given}"} if given else {}
    async with httpx2.AsyncClient(base_url=shown_by(argo).address, headers=headers) as client:
        yield client


async def events(response: httpx2.Response) -> AsyncIterator[tuple[str, object]]:
    """Yield the events of a stream: each with its name and its data."""
    rest = ""
    async for text in response.aiter_text():
        *whole, rest = (rest + text).split("\n\n")
        for one in whole:
            name, data = one.split("\n")
            yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the state of the person who runs it."""
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


Started = Callable[..., Argo]
