"""What the core's tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from argo_mw import Argo
from argo_mw.plugin import Layer, Operation, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars of one symbol."""


@operation(name="signal", kind="compute", subject="symbol")
def signal(symbol: str) -> object:
    """What to do about one symbol."""


@pytest.fixture(autouse=True)
def private_state(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the state or the flags of the person who runs it."""
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Open = Callable[..., Argo]


@pytest.fixture
def open_argo(clock: FakeClock) -> Open:
    """An application with the given upstreams for ``bars`` and the given layers."""

    def open_(
        *upstreams: Scripted,
        layers: tuple[Layer, ...] = (),
        config: Mapping[str, object] | None = None,
        operations: tuple[Operation, ...] = (bars,),
        plugins: Mapping[str, object] | None = None,
        **more: object,
    ) -> Argo:
        asked = FakePlugin(operations=operations, upstreams=upstreams, **more)
        return Argo.open(
            {"argo": {"shared": "memory://", "strict": True}, **(config or {})},
            clock=clock,
            plugins={
                "asked": asked,
                **{layer.name: FakePlugin(layer=layer) for layer in layers},
                **(plugins or {}),
            },
            installed=False,
        )

    return open_
