"""Known answers in the shared store, mirrored in memory scope by scope.

Each scope has a counter; answer *n* lives under ``similarity:SCOPE:n``. A process reads a scope
when it is first asked for, and hears of further answers and deletions through one channel. What it
has heard of is fetched when the scope is next needed. After a gap in the channel every mirror is
dropped and read anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict

import msgspec
from attrs import evolve

from argo_mw.plugin import Context, NotEncodable, SharedUnavailable
from argo_mw.store import Subscription
from argo_mw_similarity.known_answer import KnownAnswer, pack, unpack
from argo_mw_similarity.scope_index import ScopeIndex

CHANNEL = "similarity"
_CHANGE = msgspec.json.Decoder(tuple[str, str, int])
"""A message: who has changed what answer of which scope."""
_PREFIX = "similarity:"
_BATCH = 500


class AnswerStore:
    """The known answers of all instances.

    Args:
        context: Where the shared store, tag versions and codecs come from.
        max_per_scope: Answers kept in one scope.
        max_entries: Answers mirrored in memory, over all scopes.
        model: The model that vectors are of in this process.
    """

    def __init__(
        self, context: Context, *, max_per_scope: int, max_entries: int, model: str = ""
    ) -> None:
        self._context = context
        self._shared = context.shared
        self._max_per_scope = max_per_scope
        self._max_entries = max_entries
        self.model = model
        self._scopes: OrderedDict[str, ScopeIndex] = OrderedDict()
        self._loading: dict[str, asyncio.Event] = {}
        self._changed: dict[str, set[int]] = {}
        self._origin = os.urandom(6).hex()
        self._local = 0
        self._subscription: Subscription | None = None
        self._closed = False
        self._missed_changes = False

    async def open(self) -> None:
        """Subscribe to what other instances keep and forget; later, if that is not possible now."""
        if self._subscription is None and not self._closed:
            await self._listen()

    async def close(self) -> None:
        """End the subscription for good. Idempotent."""
        self._closed = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.aclose()

    def __len__(self) -> int:
        return sum(map(len, self._scopes.values()))

    async def scope(self, scope: str) -> ScopeIndex:
        """Return the answers of *scope*, with all changes that the channel has announced."""
        await self.open()
        index = self._scopes.get(scope)
        if index is None:
            return await self._load_once(scope)
        self._scopes.move_to_end(scope)
        if changed := self._changed.pop(scope, None):
            await self._catch_up(scope, index, changed)
        return index

    async def put(self, scope: str, answer: KnownAnswer, *, ttl: float) -> None:
        """Keep *answer* in *scope* for *ttl* seconds, for all instances."""
        index = await self.scope(scope)
        number = await self._publish(scope, answer, ttl)
        for gone in index.add(evolve(answer, number=number)):
            await self._delete(scope, gone.number)
        self._bound()

    async def forget(self, scope: str, number: int) -> None:
        """Delete answer *number* of *scope*, for all instances."""
        if (index := self._scopes.get(scope)) is not None:
            index.remove(number)
        await self._delete(scope, number)

    async def _listen(self) -> None:
        try:
            self._subscription = await self._shared.subscribe(
                CHANNEL, self._hear, self.drop_mirrors
            )
            if self._missed_changes:
                self.drop_mirrors()
            self._missed_changes = False
        except SharedUnavailable:
            self._missed_changes = True

    def _hear(self, message: bytes) -> None:
        try:
            origin, scope, number = _CHANGE.decode(message)
        except msgspec.MsgspecError:
            return  # of another version
        if origin != self._origin and (scope in self._scopes or scope in self._loading):
            self._changed.setdefault(scope, set()).add(number)

    def drop_mirrors(self) -> None:
        """Forget every scope in memory, to read it anew when it is next needed."""
        self._scopes.clear()
        self._changed.clear()

    async def _load_once(self, scope: str) -> ScopeIndex:
        """Load *scope* once for all callers that ask for it meanwhile."""
        if (loading := self._loading.get(scope)) is not None:
            await loading.wait()
            return await self.scope(scope)
        loading = self._loading[scope] = asyncio.Event()
        try:
            index = self._scopes[scope] = await self._load(scope)
        finally:
            del self._loading[scope]
            loading.set()
        self._bound()
        return index

    async def _load(self, scope: str) -> ScopeIndex:
        index = ScopeIndex(max_entries=self._max_per_scope, model=self.model)
        try:
            newest = _number(await self._shared.get(_counter(scope)))
            oldest = max(1, newest - self._max_per_scope + 1)
            for first in range(oldest, newest + 1, _BATCH):
                numbers = range(first, min(first + _BATCH, newest + 1))
                for answer in await self._fetch(scope, list(numbers)):
                    index.add(answer)
        except SharedUnavailable:
            self._missed_changes = True
        return index

    async def _fetch(self, scope: str, numbers: list[int]) -> list[KnownAnswer]:
        keys = [_key(scope, number) for number in numbers]
        found = await self._shared.get_many(keys)
        answers = []
        for key, number, data in zip(keys, numbers, found, strict=True):
            if data is None:
                continue
            codecs, versions = self._context.codecs, self._context.tag_versions
            answer = await unpack(data, codecs, versions, key, number)
            if answer is not None:
                answers.append(answer)
        return answers

    async def _catch_up(self, scope: str, index: ScopeIndex, changed: set[int]) -> None:
        try:
            found = {answer.number: answer for answer in await self._fetch(scope, sorted(changed))}
        except SharedUnavailable:
            self._changed.setdefault(scope, set()).update(changed)
            return
        for number in sorted(changed):
            if number in found:
                index.add(found[number])
            else:
                index.remove(number)

    async def _publish(self, scope: str, answer: KnownAnswer, ttl: float) -> int:
        """Write and announce *answer*; return its number, negative if it stays in this process."""
        try:
            number = (await self._shared.add(_counter(scope), 1)).value
            key = _key(scope, number)
            data = pack(evolve(answer, number=number), self._context.codecs, key)
            await self._shared.set(key, data, ttl=ttl)
            await self._announce(scope, number)
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
            await self._announce(scope, number)
        except SharedUnavailable as error:
            self._context.warn_once("similarity", f"an answer could not be deleted: {error}")

    async def _announce(self, scope: str, number: int) -> None:
        message = json.dumps([self._origin, scope, number]).encode()
        await self._shared.publish(CHANNEL, message)

    def _bound(self) -> None:
        """Drop the mirrors of the scopes that were used longest ago."""
        while len(self) > self._max_entries and len(self._scopes) > 1:
            scope, _ = self._scopes.popitem(last=False)
            self._changed.pop(scope, None)


def _number(counter: bytes | None) -> int:
    """Return what a *counter* holds; 0 for what is none, so that nothing is read."""
    try:
        return int(counter or 0)
    except ValueError:
        return 0


def _counter(scope: str) -> str:
    return f"{_PREFIX}{scope}:n"


def _key(scope: str, number: int) -> str:
    return f"{_PREFIX}{scope}:{number}"
