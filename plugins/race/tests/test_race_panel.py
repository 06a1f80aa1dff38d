"""The panel of race: what was learned about upstreams."""

from __future__ import annotations

from argo_mw import Argo, UpstreamError
from argo_mw.plugin import View, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_race import plugin as race


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


def shown(argo: Argo) -> View:
    view = context_of(argo).panels.all["race"].read()
    assert isinstance(view, View)
    return view


async def test_what_was_learned_about_each_upstream_is_shown() -> None:
    broken = Scripted("a", ["bars"], UpstreamError("no", upstream="a"))
    upstreams = (broken, Scripted("b", ["bars"]))
    plugins = {"asked": FakePlugin(operations=(bars,), upstreams=upstreams), "race": race}
    config = {"argo": {"shared": "memory://"}}
    async with Argo.open(config, clock=FakeClock(), plugins=plugins, installed=False) as argo:
        assert shown(argo).lines == []
        await argo.call("bars", symbol="AAPL")
        lines = {line.cells[1]: line for line in shown(argo).lines}
        (own,) = await context_of(argo).counters.read("instance")
    assert lines["a"].cells[:2] == ("bars", "a")
    assert lines["a"].cells[8] == 1  # failed
    assert lines["b"].cells[5:7] == (1, 1)  # asked, won
    assert own.acts["race"]["failed"] == 1
