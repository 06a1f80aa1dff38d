"""Known answers in the shared store, mirrored in memory scope by scope.

Each scope has a counter; answer *n* lives under ``similarity:SCOPE:n``, and so does what a judge
said of a prompt and an answer. A process reads a scope
when it is first asked for, and hears of further answers and deletions through one channel. What it
has heard of is fetched when the scope is next needed. After a gap in the channel every mirror is
dropped and read anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping

import msgspec
from attrs import evolve

from argo_mw.plugin import Context, NotEncodable, SharedUnavailable
from argo_mw.store import Subscription
from argo_mw_similarity.answers import alias as aliases
from argo_mw_similarity.answers.alias import Alias, alias_in
from argo_mw_similarity.answers.known_answer import KnownAnswer, answer_in, pack
from argo_mw_similarity.search.scope_index import ScopeIndex

CHANNEL = "similarity"
_CHANGE = msgspec.json.Decoder(tuple[str, str, int])
"""A message: who has changed what answer of which scope."""
Packed = Callable[[int, str], bytes]
"""Returns an entry as bytes, for its number and its key."""
_PREFIX = "similarity:"
_BATCH = 500


class AnswerStore:
    """The known answers of all instances.

    Args:
        context: Where the shared store, tag versions and codecs come from.
        max_per_scope: Answers kept in one scope.
        max_entries: Answers, verdicts and scopes mirrored in memory, over all scopes.
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
        self._most = 0
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
        codecs = self._context.codecs
        number = await self._publish(
            scope, lambda number, key: pack(evolve(answer, number=number), codecs, key), ttl
        )
        for gone in index.add(evolve(answer, number=number)):
            await self._delete(scope, gone.number)
        self._bound(added=1)

    async def learn(self, scope: str, alias: Alias, *, ttl: float) -> Alias:
        """Keep *alias* in *scope* for *ttl* seconds, for all instances; return it as kept.

        What is known already is not kept twice: by its one number it is taken back.
        """
        index = await self.scope(scope)
        known = index.verdict(alias.text, alias.answer)
        if known is not None and known.same == alias.same:
            return known
        codecs = self._context.codecs
        number = await self._publish(scope, lambda _, key: aliases.pack(alias, codecs, key), ttl)
        kept = evolve(alias, number=number)
        for gone in index.add_alias(kept):
            await self._delete(scope, gone)
        self._bound(added=1)
        return kept

    async def unlearn(self, scope: str, number: int, *, ttl: float) -> bool:
        """Take back what was said in alias *number* of *scope*, for all instances.

        For *ttl* seconds the judge is not asked about its prompt and its answer again.

        Returns:
            Whether there is such an alias.

        Raises:
            SharedUnavailable: The shared store is away, so others would go on to serve by it.
        """
        (known,) = await self._fetch(scope, [number]) or (None,)
        if not isinstance(known, Alias):
            return False
        unlearnt = evolve(known, same=False)
        key = _key(scope, number)
        await self._shared.set(key, aliases.pack(unlearnt, self._context.codecs, key), ttl=ttl)
        await self._announce(scope, number)
        if (index := self._scopes.get(scope)) is not None:
            for gone in index.add_alias(unlearnt):
                await self._delete(scope, gone)
        return True

    async def forget(self, scope: str, number: int) -> None:
        """Delete the answer or the alias *number* of *scope*, for all instances."""
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
        self._bound(added=index.size)
        return index

    async def _load(self, scope: str) -> ScopeIndex:
        index = ScopeIndex(max_entries=self._max_per_scope, model=self.model)
        try:
            newest = _number(await self._shared.get(_counter(scope)))
            oldest = max(1, newest - self._max_per_scope + 1)
            for first in range(oldest, newest + 1, _BATCH):
                numbers = range(first, min(first + _BATCH, newest + 1))
                for entry in await self._fetch(scope, list(numbers)):
                    _add(index, entry)
        except SharedUnavailable:
            self._missed_changes = True
        return index

    async def _fetch(self, scope: str, numbers: list[int]) -> list[KnownAnswer | Alias]:
        keys = [_key(scope, number) for number in numbers]
        found = await self._shared.get_many(keys)
        entries: list[KnownAnswer | Alias] = []
        for key, number, data in zip(keys, numbers, found, strict=True):
            if data is None:
                continue
            record = await self._context.codecs.decode_off_loop(data, key)
            if not isinstance(record, Mapping):
                continue
            versions = self._context.tag_versions
            entry = alias_in(record, number) or answer_in(record, versions, number)
            if entry is not None:
                entries.append(entry)
        return entries

    async def _catch_up(self, scope: str, index: ScopeIndex, changed: set[int]) -> None:
        try:
            found = {entry.number: entry for entry in await self._fetch(scope, sorted(changed))}
        except SharedUnavailable:
            self._changed.setdefault(scope, set()).update(changed)
            return
        for number in sorted(changed):
            if number in found:
                _add(index, found[number])
            else:
                index.remove(number)

    async def _publish(self, scope: str, packed: Packed, ttl: float) -> int:
        """Write and announce an entry; return its number, negative if it stays in this process."""
        try:
            number = (await self._shared.add(_counter(scope), 1)).value
            key = _key(scope, number)
            await self._shared.set(key, packed(number, key), ttl=ttl)
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

    def _bound(self, *, added: int) -> None:
        """Drop the mirrors of the scopes that were used longest ago, after so many were *added*."""
        self._most += added
        if self._most <= self._max_entries:
            return
        # Only now: there may be as many scopes as answers, and this looks at each.
        self._most = sum(index.size for index in self._scopes.values())
        while self._most > self._max_entries and len(self._scopes) > 1:
            scope, dropped = self._scopes.popitem(last=False)
            self._most -= dropped.size
            self._changed.pop(scope, None)


def _add(index: ScopeIndex, entry: KnownAnswer | Alias) -> None:
    if isinstance(entry, Alias):
        index.add_alias(entry)
    else:
        index.add(entry)


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
