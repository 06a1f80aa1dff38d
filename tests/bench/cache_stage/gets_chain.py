"""The same string through the whole chain, its memory level off."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from argo_mw import Argo
from argo_mw.plugin import SLOTS
from argo_mw.registry import Plugins
from tests.bench.cache_stage.gets import CALLERS, VALUE, Ask


@contextlib.asynccontextmanager
async def chain(url: str) -> AsyncIterator[Ask]:
    """Asks for one of as many texts as there are callers; each is in the shared store."""
    beside = [name for name in Plugins.load().names if name not in (*SLOTS, "redis")]
    config = {
        "argo": {"shared": f"{url}?timeout=10", "strict": True, "block": beside},
        "plugins": {"cache": {"memory": False, "ttl": 3600.0, "store_timeout": 2.0}},
    }
    loads = 0

    async def text(number: int) -> str:
        nonlocal loads
        loads += 1
        return VALUE

    argo = Argo.open(config)
    argo.wrap(name="text")(text)
    async with argo:
        for _ in range(2):  # a tag that the first load met is mirrored for the second
            for number in range(CALLERS):
                await argo.call("text", number=number)
        warm = loads

        async def ask(number: int) -> object:
            return await argo.call("text", number=number)

        yield ask
        if loads > warm + CALLERS // 100:
            msg = f"{loads - warm} texts were loaded again: this measured loads, not gets"
            raise RuntimeError(msg)
