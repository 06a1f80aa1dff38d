"""A fleet in one process: applications with machines of their own around one store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from argo_mw import Argo, Outcome
from argo_mw.plugin import Call, Layer, Next, hookimpl
from argo_mw.store import Ability, Clock, Shared, open_shared
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw.testing.refusing_store import RefusingStore

from .conftest import bars

_names = itertools.count()


class Marks:
    """A layer that marks what passes; *watching*, it can shadow too."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by("cache", "was here")


class Watching(Marks):
    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """See nothing."""


class Store:
    """A store in this process that applications share, and that can be made to refuse things."""

    def __init__(self) -> None:
        self.name = f"memory://fleet-{next(_names)}"
        self.refusing: list[RefusingStore] = []
        self.refused: tuple[Ability, ...] = ()

    def refuse(self, *abilities: Ability) -> None:
        self.refused = abilities
        for store in self.refusing:
            store.refuse(abilities)

    async def open(self, url: str, clock: Clock) -> Shared:
        made = RefusingStore(await open_shared(self.name, clock=clock))
        made.refuse(self.refused)
        self.refusing.append(made)
        return made

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, object]:
        return {"flaky": self.open}


@pytest.fixture
def store() -> Store:
    return Store()


Machine = Callable[..., Argo]


@pytest.fixture
def machine(
    store: Store, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """An application on the machine *name* of the fleet."""
    monkeypatch.delenv("ARGO_MW_STATE_DIR")

    def open_(
        name: str,
        *,
        middleware: object = None,
        requires: tuple[str, ...] = (),
        flags: Mapping[str, object] | None = None,
        **argo: object,
    ) -> Argo:
        layer = Layer("cache", middleware or Marks(), slot="cache")  # type: ignore[arg-type]
        needs = Layer("needs", Marks(), slot="race", requires=requires)
        own = {"shared": "flaky://", "state_dir": str(tmp_path / name), "strict": True, **argo}
        return Argo.open(
            {"argo": own, "flags": {"needs": "on", **(flags or {})}},
            clock=clock,
            plugins={
                "store": store,
                "cache": FakePlugin(layer=layer),
                "needs": FakePlugin(layer=needs),
                "asked": FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"])]),
            },
            installed=False,
        )

    return open_
