"""Opening a shared store by its URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import ConfigError
from argo_mw.base.suggest import suggest
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import named_store
from argo_mw.store.protocol import Shared

OpenShared = Callable[[str, Clock], Awaitable[Shared]]
"""A function that opens the store at a URL of the driver's scheme.

It raises :class:`~argo_mw.ConfigError` when the URL is wrong, and does not fail when
the store cannot be reached now.
"""


BUILT_IN = frozenset({"memory", "sqlite"})
"""The schemes of the core's own drivers."""


async def open_shared(
    url: str,
    *,
    clock: Clock | None = None,
    drivers: Mapping[str, OpenShared] = MappingProxyType({}),
) -> Shared:
    """Open the store at *url*.

    ``memory://`` is a new store, ``memory://NAME`` one for all handles of that name in this
    process (``?max_entries=100000``); ``sqlite:///PATH`` is a file for the processes of one
    machine (``?max_bytes=1073741824``): four slashes begin an absolute path. Other schemes come
    from plugins.

    Args:
        url: Where the store is.
        clock: Decides what has expired, in drivers that take a clock.
        drivers: Further drivers, by scheme.

    Raises:
        ConfigError: No driver knows the scheme, or the URL is wrong.
    """
    clock = clock if clock is not None else SystemClock()
    scheme = url.partition(":")[0].lower()
    known: dict[str, OpenShared] = {**drivers, "memory": _open_memory, "sqlite": _open_sqlite}
    driver = known.get(scheme)
    if driver is None and "://" not in url:
        # Nothing of it is shown, because it may be a key that was meant for elsewhere.
        msg = "it is not a URL; write SCHEME://…, such as sqlite:///PATH"
        raise ConfigError(msg)
    if driver is None:
        # Of the URL only the scheme is shown, because the rest may hold a password.
        msg = (
            f"no driver for the shared store {scheme}://...; install the plugin that brings it: "
            f"{suggest(scheme, known)}"
        )
        raise ConfigError(msg)
    return await driver(url, clock)


def query_of(url: str, **defaults: int) -> dict[str, int]:
    """Return *defaults* with the whole numbers in the query of *url* in their place.

    Raises:
        ConfigError: An unknown name, or a value that is not a positive whole number.
    """
    values = dict(defaults)
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in defaults:
            msg = f"unknown option {name!r} in a shared store's URL (known: {', '.join(defaults)})"
            raise ConfigError(msg)
        if not text.isascii() or not text.isdigit() or int(text) == 0:
            msg = f"the option {name} of a shared store's URL must be a positive whole number"
            raise ConfigError(msg)
        values[name] = int(text)
    return values


async def _open_memory(url: str, clock: Clock) -> Shared:
    parts = urlsplit(url)
    name = parts.netloc + parts.path
    max_entries = query_of(url, max_entries=100_000)["max_entries"]
    store = named_store(unquote(name), max_entries) if name else None
    return MemoryShared(store, clock=clock, max_entries=max_entries)


async def _open_sqlite(url: str, clock: Clock) -> Shared:
    from argo_mw.store.sqlite import open_sqlite  # sqlite3 is optional in some Pythons

    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or len(path) < 2:
        msg = "a SQLite store's URL is sqlite:///PATH, with four slashes for an absolute path"
        raise ConfigError(msg)
    if path == "/:memory:":
        msg = f"SQLite's {path[1:]} would be a file of that name here; write memory:// instead"
        raise ConfigError(msg)
    options = query_of(url, max_bytes=2**30)
    return await open_sqlite(Path(path[1:]), clock=clock, max_bytes=options["max_bytes"])
