"""Entries in the shared store, mirrored in memory scope by scope.

Each scope has a counter; entry *n* lives under ``similarity:SCOPE:n``. A process reads a scope
when it is first asked for, and hears of further entries and deletions through one channel; what
it hears is fetched when the scope is next needed. After a gap in the channel every mirror is
dropped and read anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict

from attrs import evolve

from argo_mw.plugin import Context, NotEncodable, SharedUnavailable
from argo_mw.store import Subscription
from argo_mw_similarity.entry import Entry, pack, unpack
from argo_mw_similarity.shelf import Shelf

CHANNEL = "similarity"
_PREFIX = "similarity:"
_BATCH = 500


class Store:
    """Keeps entries for all instances.

    Args:
        context: Where the shared store, stamps and codecs come from.
        per_scope: Entries kept in one scope.
        most: Entries mirrored in memory, over all scopes.
        model: What vectors mean in this process.
    """

    def __init__(self, context: Context, *, per_scope: int, most: int, model: str = "") -> None:
        self._context = context
        self._shared = context.shared
        self._per_scope = per_scope
        self._most = most
        self.model = model
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._loading: dict[str, asyncio.Event] = {}
        self._news: dict[str, set[int]] = {}
        self._origin = os.urandom(6).hex()
        self._local = 0
        self._subscription: Subscription | None = None
        self._away = False

    async def start(self) -> None:
        """Begin to hear of what other instances keep and forget."""
        await self._listen()

    async def aclose(self) -> None:
        """Stop hearing. Idempotent."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.aclose()

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    async def shelf(self, scope: str) -> Shelf:
        """The entries of *scope*, up to date with what was heard."""
        if self._subscription is None:
            await self._listen()
        shelf = self._shelves.get(scope)
        if shelf is None:
            return await self._load_once(scope)
        self._shelves.move_to_end(scope)
        if news := self._news.pop(scope, None):
            await self._catch_up(scope, shelf, news)
        return shelf

    async def put(self, scope: str, entry: Entry, *, ttl: float) -> None:
        """Keep *entry* in *scope* for *ttl* seconds, here and for everyone."""
        shelf = await self.shelf(scope)
        number = await self._publish(scope, entry, ttl)
        for gone in shelf.add(_numbered(entry, number)):
            await self._delete(scope, gone.number)
        self._bound()

    async def forget(self, scope: str, number: int) -> None:
        """Delete entry *number* of *scope*, here and for everyone."""
        if (shelf := self._shelves.get(scope)) is not None:
            shelf.remove(number)
        await self._delete(scope, number)

    # -- shared --------------------------------------------------------------------------

    async def _listen(self) -> None:
        try:
            self._subscription = await self._shared.subscribe(
                CHANNEL, self._hear, self.drop_mirrors
            )
            if self._away:
                self.drop_mirrors()
            self._away = False
        except SharedUnavailable:
            self._away = True

    def _hear(self, message: bytes) -> None:
        try:
            origin, scope, number = json.loads(message)
        except ValueError:
            return
        if origin != self._origin and (scope in self._shelves or scope in self._loading):
            self._news.setdefault(str(scope), set()).add(int(number))

    def drop_mirrors(self) -> None:
        """Read every scope anew when it is next needed."""
        self._shelves.clear()
        self._news.clear()

    async def _load_once(self, scope: str) -> Shelf:
        """Load *scope* once, however many ask for it meanwhile."""
        if (loading := self._loading.get(scope)) is not None:
            await loading.wait()
            return await self.shelf(scope)
        loading = self._loading[scope] = asyncio.Event()
        try:
            shelf = self._shelves[scope] = await self._load(scope)
        finally:
            del self._loading[scope]
            loading.set()
        self._bound()
        return shelf

    async def _load(self, scope: str) -> Shelf:
        shelf = Shelf(most=self._per_scope, model=self.model)
        try:
            newest = (await self._shared.add(_counter(scope), 0)).value
            oldest = max(1, newest - self._per_scope + 1)
            for first in range(oldest, newest + 1, _BATCH):
                numbers = range(first, min(first + _BATCH, newest + 1))
                for entry in await self._fetch(scope, list(numbers)):
                    shelf.add(entry)
        except SharedUnavailable:
            self._away = True
        return shelf

    async def _fetch(self, scope: str, numbers: list[int]) -> list[Entry]:
        keys = [_key(scope, number) for number in numbers]
        found = await self._shared.get_many(keys)
        entries = []
        for key, number, data in zip(keys, numbers, found, strict=True):
            if data is None:
                continue
            entry = unpack(data, self._context.codecs, self._context.tag_versions, key, number)
            if entry is not None:
                entries.append(entry)
        return entries

    async def _catch_up(self, scope: str, shelf: Shelf, news: set[int]) -> None:
        try:
            found = {entry.number: entry for entry in await self._fetch(scope, sorted(news))}
        except SharedUnavailable:
            self._news.setdefault(scope, set()).update(news)
            return
        for number in sorted(news):
            if number in found:
                shelf.add(found[number])
            else:
                shelf.remove(number)

    async def _publish(self, scope: str, entry: Entry, ttl: float) -> int:
        """Tell everyone of *entry*; its number, negative when only this process knows it."""
        try:
            number = (await self._shared.add(_counter(scope), 1)).value
            key = _key(scope, number)
            data = pack(_numbered(entry, number), self._context.codecs, key)
            await self._shared.set(key, data, ttl=ttl)
            await self._say(scope, number)
        except (SharedUnavailable, NotEncodable) as error:
            self._context.warn_once("similarity", f"an answer stays in this process: {error}")
            self._local -= 1
            return self._local
        return number

    async def _delete(self, scope: str, number: int) -> None:
        if number < 0:
            return
        try:
            await self._shared.delete([_key(scope, number)])
            await self._say(scope, number)
        except SharedUnavailable as error:
            self._context.warn_once("similarity", f"an answer could not be deleted: {error}")

    async def _say(self, scope: str, number: int) -> None:
        message = json.dumps([self._origin, scope, number]).encode()
        await self._shared.publish(CHANNEL, message)

    def _bound(self) -> None:
        """Drop the mirrors of the scopes longest unused."""
        while len(self) > self._most and len(self._shelves) > 1:
            scope, _ = self._shelves.popitem(last=False)
            self._news.pop(scope, None)


def _numbered(entry: Entry, number: int) -> Entry:
    return evolve(entry, number=number)


def _counter(scope: str) -> str:
    return f"{_PREFIX}{scope}:n"


def _key(scope: str, number: int) -> str:
    return f"{_PREFIX}{scope}:{number}"
