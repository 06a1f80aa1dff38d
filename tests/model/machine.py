"""What may happen to two instances, in any order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.model.hostile import BILLS, ERRORS, MANNERS
from tests.model.store import STATES, State
from tests.model.world import LAYERS, SYMBOLS, TENANTS, World

_BETWEEN_RESTS = 15
"""Steps between two times at which everything is let end."""

instances = st.integers(0, 1)
symbols = st.sampled_from(SYMBOLS)
turns = st.integers(0, 20)
callers = st.lists(st.sampled_from(TENANTS), min_size=1, max_size=3)
timeouts = st.sampled_from((None, None, None, 0.05, 2.0))
ages = st.sampled_from((None, None, None, 5.0))
indices = st.integers(0, 99)


class Machine(RuleBasedStateMachine):
    """The steps; a subclass may leave some out.

    Attributes:
        computed: The operation that is worked out of others.
        bills: What a language model may say that it used.
        manners: How an upstream may behave.
        states: How the store's links may be.
    """

    computed: ClassVar[str] = "digest"
    bills: ClassVar[tuple[str, ...]] = BILLS
    manners: ClassVar[tuple[str, ...]] = MANNERS
    states: ClassVar[tuple[State, ...]] = STATES

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._directory = tempfile.TemporaryDirectory(prefix="argo-mw-model-")
        self.world = World(Path(self._directory.name))
        self.world.run(self.world.open())

    # Several rules ask: Hypothesis leaves rules out now and then, and no run shall be without.

    @rule(instance=instances, symbol=symbols, callers=callers, timeout=timeouts, max_age=ages)
    def ask_public(
        self,
        instance: int,
        symbol: str,
        callers: list[str],
        timeout: float | None,
        max_age: float | None,
    ) -> None:
        self._ask("quote", instance, symbol, callers, timeout, max_age)

    @rule(instance=instances, symbol=symbols, callers=callers, timeout=timeouts, max_age=ages)
    def ask_of_tenant(
        self,
        instance: int,
        symbol: str,
        callers: list[str],
        timeout: float | None,
        max_age: float | None,
    ) -> None:
        self._ask("note", instance, symbol, callers, timeout, max_age)

    @rule(instance=instances, symbol=symbols, callers=callers, timeout=timeouts)
    def ask_computed(
        self, instance: int, symbol: str, callers: list[str], timeout: float | None
    ) -> None:
        self._ask(self.computed, instance, symbol, callers, timeout)

    @rule(instance=instances, symbol=symbols, callers=callers, timeout=timeouts)
    def ask_model(
        self, instance: int, symbol: str, callers: list[str], timeout: float | None
    ) -> None:
        self._ask("complete", instance, symbol, callers, timeout)

    @rule(
        instance=instances,
        prompts=st.lists(st.integers(0, 99), min_size=1, max_size=5),
        tenant=st.sampled_from(TENANTS),
    )
    def ask_model_much(self, instance: int, prompts: list[int], tenant: str) -> None:
        for prompt in prompts:
            self._ask("complete", instance, f"prompt {prompt}", [tenant])

    @rule(instance=instances, which=st.integers(0, 3), symbol=symbols, callers=callers, turns=turns)
    def ask_and_leave(
        self, instance: int, which: int, symbol: str, callers: list[str], turns: int
    ) -> None:
        operation = ("quote", "note", self.computed, "complete")[which]
        self._ask(operation, instance, symbol, callers)
        self.world.run(self.world.turns(turns))
        self.world.leave(-1)

    @rule(which=indices)
    def leave(self, which: int) -> None:
        self.world.leave(which)

    @rule(number=turns)
    def turn(self, number: int) -> None:
        self.world.run(self.world.turns(number))

    @rule(seconds=st.sampled_from((0.0, 0.0, 0.04, 0.3, 1.5, 9.0, 25.0, 70.0)))
    def advance(self, seconds: float) -> None:
        self.world.run(self.world.advance(seconds))

    @rule(symbol=symbols, instance=instances)
    def change(self, symbol: str, instance: int) -> None:
        self.world.run(self.world.change(symbol, instance))

    @rule(
        instance=instances,
        layer=st.sampled_from(LAYERS),
        flag=st.sampled_from(("on", "on", "off", "50% by subject", "50% by key")),
    )
    def flip(self, instance: int, layer: str, flag: str) -> None:
        self.world.run(self.world.flip(instance, layer, flag))

    @rule(
        which=st.integers(0, 1),
        manner=indices,
        delay=st.sampled_from((0.03, 1.0, 6.0)),
        odd=st.integers(0, len(ERRORS) - 1),
    )
    def upstream(self, which: int, manner: int, delay: float, odd: int) -> None:
        vendor = self.world.vendors[which]
        vendor.manner = self.manners[manner % len(self.manners)]
        vendor.delay, vendor.odd = delay, odd

    @rule(bill=indices, manner=st.sampled_from(("good", "good", "late", "hangs", "odd")))
    def model(self, bill: int, manner: str) -> None:
        self.world.model.bill = self.bills[bill % len(self.bills)]
        self.world.model.manner = manner

    @rule(instance=instances, state=indices, delay=st.sampled_from((0.02, 0.4, 3.0)))
    def link(self, instance: int, state: int, delay: float) -> None:
        self.world.run(self.world.turn(instance, self.states[state % len(self.states)], delay))

    @rule()
    def evict(self) -> None:
        self.world.evict()

    @precondition(lambda self: self.steps > _BETWEEN_RESTS)
    @rule()
    def rest(self) -> None:
        self.steps = 0
        self.world.run(self.world.check_quiet())

    @invariant()
    def holds(self) -> None:
        self.steps += 1
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.run(self.world.check_quiet())
        finally:
            self.world.run(self.world.close())
            self.world.loop.close()
            self._directory.cleanup()

    def _ask(
        self,
        operation: str,
        instance: int,
        symbol: str,
        callers: list[str],
        timeout: float | None = None,
        max_age: float | None = None,
    ) -> None:
        for tenant in callers:
            self.world.ask(instance, operation, symbol, tenant, timeout=timeout, max_age=max_age)
