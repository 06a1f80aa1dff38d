"""A process of a fleet that ramps a layer: it asks for prices again and again.

Usage: member.py SETTINGS, a JSON object with ``config``, ``harm`` (what the layer does wrong here), and
``symbols``. Each line of standard input is answered by one line of JSON: ``look`` says what was
served and where the ramp is, ``start`` begins the ramp; the end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys

from argo_mw import Argo, Outcome, UpstreamError
from argo_mw.plugin import Call, Layer, LayerActed, Next, Upstream, context_of, observe, operation
from argo_mw.testing import FakePlugin
from argo_mw_redis import plugin as redis
from argo_mw_rollout.plugin import RolloutPlugin
from argo_mw_rollout.ramp_commands import RampCommands
from argo_mw_rollout.ramps import Ramps

FLAG = "bold"
PACE = 0.004


@operation(name="quote", subject="symbol")
def quote(symbol: str) -> float:
    """The price of one symbol."""


async def fetch(call: Call) -> Outcome:
    await asyncio.sleep(random.uniform(0.001, 0.003))
    return Outcome(price(call.subject))


def price(symbol: str) -> float:
    return 100.0 + float(symbol[1:])


def bold(harm: str) -> Layer:
    """A third party's layer, which does *harm* on this process."""

    async def middleware(call: Call, call_next: Next) -> Outcome:
        if harm == "fail" and random.random() < 0.2:
            msg = "the layer has asked for nonsense"
            raise UpstreamError(msg, upstream=FLAG)
        outcome = await call_next(call)
        if harm == "slow":
            await asyncio.sleep(0.02)
        if harm == "corrupt" and random.random() < 0.2:
            outcome = outcome.evolve(value=outcome.value * 1.5)
        return outcome.shaped_by(FLAG)

    return Layer(FLAG, middleware, before=("coalesce",))


class Member:
    """The process."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.symbols = [f"S{number}" for number in range(settings["symbols"])]
        self.served = self.shaped = self.wrong = self.failed = 0
        self.events: list[str] = []
        self.plugin = RolloutPlugin()
        self.argo = Argo.open(
            settings["config"],
            plugins={
                "redis": redis,
                "rollout": self.plugin,
                "prices": FakePlugin(
                    operations=[quote], upstreams=[Upstream("vendor", ["quote"], fetch)]
                ),
                FLAG: FakePlugin(layer=bold(settings["harm"])),
            },
            installed=False,
        )
        observe(self.argo, self.note)

    def note(self, event: object) -> None:
        if isinstance(event, LayerActed) and event.layer == "rollout":
            self.events.append(f"{event.action}: {event.detail}")

    async def ask(self) -> None:
        for symbol in itertools.cycle(self.symbols):
            try:
                outcome = await self.argo.outcome("quote", symbol=symbol)
            except UpstreamError:
                self.failed += 1
            else:
                self.served += 1
                self.shaped += FLAG in outcome.via
                self.wrong += outcome.value != price(symbol)
            await asyncio.sleep(random.expovariate(1 / PACE))

    async def look(self) -> dict[str, object]:
        context = context_of(self.argo)
        rule = context.flags.all[FLAG].rule
        try:
            ramp = (await Ramps(context).read(FLAG)).ramp
        except Exception as error:
            where: dict[str, object] = {"away": str(error)}
        else:
            where = {} if ramp is None else ramp.as_data() | {"step": ramp.step}
            where.pop("judge", None)
        found = {
            "served": self.served,
            "failed": self.failed,
            "shaped": self.shaped,
            "wrong": self.wrong,
            "rolled_back": rule.rolled_back,
            "percent": rule.percent,
            "state": rule.state,
            "events": self.events,
            "judges": self.plugin.controller is not None
            and self.plugin.controller.lease is not None,
            "ramp": where,
        }
        self.served = self.failed = self.shaped = self.wrong = 0
        self.events = []
        return found


async def main() -> None:
    member = Member(json.loads(sys.argv[1]))
    loop = asyncio.get_running_loop()
    async with member.argo as argo:
        asking = [asyncio.create_task(member.ask()) for _ in range(2)]
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if line == "start":
                await RampCommands(argo).start(FLAG)
            print(json.dumps(await member.look()), flush=True)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
