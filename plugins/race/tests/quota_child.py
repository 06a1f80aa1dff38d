"""Ask ten times in a process of its own, and print the results."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from argo_mw import Argo, Outcome, Refusal
from argo_mw.plugin import Call, Limits, Upstream, operation
from argo_mw.testing import FakePlugin
from argo_mw_race import plugin


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


async def main(folder: Path) -> dict[str, object]:
    sent = answered = 0
    retry_at: list[float | None] = []

    async def fetch(call: Call) -> Outcome:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0)
        return Outcome("bars")

    scarce = Upstream("scarce", {"bars"}, fetch, limits=Limits(per_day=25), retries=0)
    refusing = Upstream("broke", {"bars"}, fetch, metered=True, retries=0)
    argo = Argo.open(
        {
            "argo": {"shared": f"sqlite:///{folder / 'shared.db'}", "strict": True},
            "plugins": {"race": {"strategy": "race", "scarce_per_day": 0}},
        },
        plugins={
            "race": plugin,
            "asked": FakePlugin(operations=[bars], upstreams=[scarce, refusing]),
        },
        installed=False,
    )
    async with argo:

        async def ask(number: int) -> None:
            nonlocal answered
            try:
                await argo.outcome("bars", symbol=f"S{number}")
            except Refusal as error:
                retry_at.append(error.retry_at)
            else:
                answered += 1

        await asyncio.gather(*(ask(number) for number in range(10)))
    return {"sent": sent, "answered": answered, "refused": len(retry_at), "retry_at": retry_at}


print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
