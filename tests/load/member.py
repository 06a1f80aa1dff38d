"""A process of the fleet: an application with every layer of the slice, asked again and again.

Usage: member.py SETTINGS, a JSON object: see ``fleet.Fleet``. Each line of standard input is a word;
what it asks for is printed as one line of JSON. At the end of the input the application is closed,
and what was seen is printed once more.

A layer inside of ``persist`` marks each signal that is made, so that it can be distinguished from
all others wherever it turns up.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time

import structlog
from attrs import evolve

from argo_mw import Argo, Outcome
from argo_mw.plugin import (
    Call,
    Event,
    Layer,
    LayerBypassed,
    Next,
    Operation,
    SystemClock,
    Trouble,
    observe,
    observes,
)
from argo_mw.testing import FakePlugin
from argo_mw_persist import store_of
from argo_mw_signals.signal import Contribution

WITNESS = "witness"
SOME = 5


class ReplayedClock(SystemClock):
    """The machine's clock, with the wall clock at another day.

    Args:
        behind: Seconds.
    """

    __slots__ = ("_behind",)

    def __init__(self, behind: float) -> None:
        super().__init__()
        self._behind = behind

    def time(self) -> float:
        return SystemClock.time() - self._behind


class Witness:
    """Marks signals as they are made: the voice ``witness`` says who made which."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.made = 0
        self.identities: set[str] = set()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        outcome = await call_next(call)
        mark = f"{self._number}:{self.made}"
        self.made += 1
        voice = Contribution(WITNESS, 0.0, 0.0, 0.0, mark)
        value = evolve(outcome.value, contributions=(*outcome.value.contributions, voice))
        self.identities.add(f"{value.symbol} {value.action} {outcome.as_of}")
        return outcome.evolve(value=value)

    @staticmethod
    def serves(operation: Operation) -> bool:
        return operation.name == "signal"


class Member:
    """Asks for the signals of all symbols again and again, and counts what it sees."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.symbols = list(settings["symbols"])  # type: ignore[call-overload]
        self.pace = float(str(settings["pace"]))
        self.number = int(str(settings["number"]))
        self.witness = Witness(self.number)
        self.argo = Argo.open(
            settings["config"],  # type: ignore[arg-type]
            clock=ReplayedClock(float(str(settings["behind"]))),
            plugins={
                WITNESS: FakePlugin(
                    layer=Layer(
                        WITNESS, self.witness, after=("persist",), serves=self.witness.serves
                    )
                )
            },
        )
        self.asked = self.answered = self.under_way = 0
        self.longest = 0.0
        self.fullest = 0
        self.faults: list[str] = []
        self.working = asyncio.Event()

    async def run(self) -> None:
        """Work until standard input ends."""
        async with self.argo:
            self.store = store_of(self.argo)
            observe(self.argo, self.observe)
            self.faults += [f"left out: {broken}" for broken in self.argo.broken]
            askers = [asyncio.create_task(self.ask(s), name="asker") for s in self.symbols]
            print("ready", flush=True)
            while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
                await getattr(self, f"do_{word}")()
                self.tell()
            await self.do_rest()
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
        self.tell()

    async def ask(self, symbol: str) -> None:
        """Ask for the signal of *symbol* once in a while, each symbol at a moment of its own."""
        chance = random.Random(f"{symbol} {self.number}")
        while True:
            await self.working.wait()
            await asyncio.sleep(self.pace * 2 * chance.random())
            if not self.working.is_set():
                continue
            began = time.perf_counter()
            self.under_way += 1
            self.asked += 1
            try:
                found = await self.argo.call("signal", symbol=symbol)
                assert found.symbol == symbol, f"got {found.symbol}"
                self.answered += 1
            except Exception as error:
                self.faults.append(f"{symbol}: {error!r}")
            finally:
                self.under_way -= 1
                self.longest = max(self.longest, time.perf_counter() - began)
                self.fullest = max(self.fullest, self.store.writer.held)

    def observe(self, event: Event) -> None:
        match event:
            case LayerBypassed(layer, _, error):
                self.faults.append(f"{layer} passed by: {error!r}")
            case Trouble(where, what):
                self.faults.append(f"{where}: {what}")

    observe = observes(LayerBypassed, Trouble)(observe)

    def tell(self) -> None:
        current = asyncio.current_task()
        names = [task.get_name() for task in asyncio.all_tasks() if task is not current]
        told = {
            "asked": self.asked,
            "answered": self.answered,
            "longest": self.longest,
            "made": self.witness.made,
            "identities": sorted(self.witness.identities),
            "faults": self.faults[:SOME],
            "tasks": sorted(names),
            "fullest": self.fullest,
        }
        print(json.dumps(told), flush=True)

    # -- what the test asks for ------------------------------------------------------------

    async def do_status(self) -> None:
        """Nothing but what is told anyway."""

    async def do_work(self) -> None:
        """Ask on; how long callers wait is watched from now on."""
        self.longest = 0.0
        self.working.set()

    async def do_rest(self) -> None:
        """Ask no more, after all callers have got their answers."""
        self.working.clear()
        while self.under_way:
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(30),
    )
    given = json.loads(sys.argv[1])
    os.environ["ARGO_MW_STATE_DIR"] = given["state"]
    asyncio.run(Member(given).run())
