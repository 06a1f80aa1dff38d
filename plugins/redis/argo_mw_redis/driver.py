"""Shared on a Redis server: the commands behind each of its operations.

Keys: ``PREFIXv:KEY`` holds a value or a counter, ``PREFIXl:KEY`` a lease, ``PREFIXw:KEY`` that
it was refused to somebody, ``PREFIXf:KEY`` the fence that a value was written with, ``PREFIXfence``
the newest fence of all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from redis.exceptions import InvalidResponse, ResponseError

from argo_mw.plugin import BadParameter, Clock, Closed, SharedUnavailable, SystemClock
from argo_mw.store import (
    EPOCH_KEY,
    WITNESS_TTL,
    Count,
    EpochChanged,
    GiveBacks,
    Lease,
    LoopAffinity,
    Witness,
    check_count,
    check_items,
    check_key,
    check_keys,
    check_ttl,
    check_value,
    claim,
)
from argo_mw_redis.batch import Argument
from argo_mw_redis.batcher import Batcher
from argo_mw_redis.pubsub import PubSub, RedisSubscription, seal
from argo_mw_redis.replies import expect_integer, expect_ok, expect_value, expect_values
from argo_mw_redis.scripts import (
    ACQUIRE,
    ADD,
    COMPARE_AND_SET,
    RELEASE,
    RENEW,
    SET_FENCED,
    SETTLE,
    Script,
)
from argo_mw_redis.servers import Options, Server, parse

_MAX_TTL_MS: Final = 10**14
_MAX_KEYS: Final = 500
_LONGEST: Final = 86_400.0


async def open_redis(url: str, clock: Clock | None = None) -> RedisShared:
    """Open the store on the server at *url*, which may be unreachable now.

    ``redis://[USER:PASSWORD@]HOST:PORT/DB``, ``rediss://`` over TLS, ``unix://PATH?db=DB``,
    ``redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE/DB?sentinel_password=…``. The
    query may hold the fields of :class:`~argo_mw_redis.servers.Options` and redis-py's own.
    *clock* measures timeouts and paces the attempts to reach it again.

    Raises:
        ConfigError: The URL is wrong.
    """
    server, options = parse(url)
    shared = RedisShared(server, options, clock if clock is not None else SystemClock())
    await shared.start()
    return shared


class RedisShared:
    """Implements :class:`argo_mw.store.Shared`; made by :func:`open_redis`."""

    def __init__(self, server: Server, options: Options, clock: Clock) -> None:
        self._affinity = LoopAffinity()
        self._values = options.prefix + "v:"
        self._prefix = options.prefix
        self._batcher = Batcher(server, options, clock)
        self._pubsub = PubSub(server, options, clock)
        self._give_backs = GiveBacks(clock)
        self._closed = False

    async def start(self) -> None:
        """Connect, or begin to try."""
        await self._batcher.start()

    @property
    def unreachable(self) -> str | None:
        """Why the server cannot be reached, or ``None`` while it can."""
        return self._batcher.unreachable

    @property
    def openings(self) -> int:
        """How often the server was reached; in between, it may have begun anew."""
        return self._batcher.openings

    @property
    def busy(self) -> int:
        """The number of connections that carry a batch now."""
        return self._batcher.busy

    @property
    def max_connections(self) -> int:
        """The largest number of connections that carry commands."""
        return self._batcher.max_connections

    @property
    def waiting(self) -> int:
        """The number of commands that wait for a connection."""
        return self._batcher.waiting

    @property
    def connections(self) -> int:
        """The number of open connections that carry commands."""
        return self._batcher.connections

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.store.Shared.get`."""
        check_key(key)
        self._check_usable()
        return await self._batcher.get(self._values + key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.store.Shared.get_many`."""
        check_keys(keys)
        self._check_usable()
        sent = []
        for at in range(0, len(keys), _MAX_KEYS):
            part = [self._values + key for key in keys[at : at + _MAX_KEYS]]
            sent.append(
                self._batcher.send(("MGET", *part), partial(expect_values, count=len(part)))
            )
        return [value for done in sent for value in await done]

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.store.Shared.set`."""
        await self.set_many({key: value}, ttl=ttl)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.store.Shared.set_many`."""
        check_items(items)
        life = _milliseconds(ttl)
        self._check_usable()
        suffix = ("PX", life) if life else ()
        sent = [
            self._batcher.send(("SET", self._values + key, value, *suffix), expect_ok)
            for key, value in items.items()
        ]
        for done in sent:
            await done

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """See :meth:`argo_mw.store.Shared.create_many`."""
        check_items(items)
        life = _milliseconds(ttl)
        self._check_usable()
        suffix = ("PX", life) if life else ()
        sent = [
            self._batcher.send(
                ("SET", self._values + key, value, "NX", "GET", *suffix), expect_value
            )
            for key, value in items.items()
        ]
        present = [await done for done in sent]
        return [
            value if held is None else held
            for held, value in zip(present, items.values(), strict=True)
        ]

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.store.Shared.delete`."""
        check_keys(keys)
        if not keys:
            return 0
        count: int = await self._send(
            "DEL", *(self._values + key for key in keys), read=expect_integer
        )
        return count

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.store.Shared.compare_and_set`."""
        check_key(key)
        check_value(key, value)
        life = _milliseconds(ttl)
        if expected is None:  # needs no script, so that users without scripts have tag versions
            suffix = ("PX", life) if life else ()
            words = ("SET", self._values + key, value, "NX", *suffix)
            return bool(await self._send(*words, read=_was_set))
        arguments = (expected, value, life)
        return bool(await self._run(COMPARE_AND_SET, [self._values + key], arguments))

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        epoch: int | None = None,
        witness: Witness | None = None,
    ) -> Count:
        """See :meth:`argo_mw.store.Shared.add`."""
        check_key(key)
        check_count("amount", amount)
        check_count("limit", limit)
        bound, expected = (("" if value is None else value) for value in (limit, epoch))
        arguments: list[Argument] = [amount, bound, _milliseconds(ttl), expected]

        def read(reply: Any) -> Count:
            if isinstance(reply, ResponseError) and "NOCOUNTER" in str(reply):
                msg = f"{key!r} holds a value, not a counter: add() cannot be used on it"
                raise BadParameter(msg)
            if isinstance(reply, ResponseError) and "EPOCH" in str(reply):
                msg = f"Redis has lost what it counted in epoch {epoch}"
                raise EpochChanged(msg)
            return _count(reply)

        def late(count: Count) -> None:
            if count.added:
                self._give_backs.start(
                    "redis:give-back",
                    lambda: self.add(key, -amount, ttl=ttl, epoch=epoch),
                    seconds=_LONGEST if ttl is None else ttl,
                )

        keys = [self._values + key, self._values + EPOCH_KEY]
        if witness is not None:
            keys.append(self._values + witness.key)
            arguments += [witness.count, _milliseconds(WITNESS_TTL)]
        if amount < 0:
            return cast("Count", await self._run(ADD, keys, arguments, read, must=True))
        granted = None if limit is None else late
        return cast("Count", await self._run(ADD, keys, arguments, read, late=granted))

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.store.Shared.acquire`."""
        return (await self._acquire(key, (), ttl))[0]

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.store.Shared.acquire_and_get`."""
        check_key(wanted)
        return await self._acquire(key, (self._values + wanted,), ttl)

    async def _acquire(
        self, key: str, wanted: Sequence[str], ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        check_key(key)
        holder = os.urandom(8).hex()
        keys = [self._lease(key), self._prefix + "fence", self._wish(key), *wanted]

        def late(answer: tuple[int | None, bytes | None]) -> None:
            if answer[0] is not None:
                self._release_later(Lease(key, holder, answer[0]), ttl)

        arguments = (holder, _milliseconds(ttl))
        try:
            fence, value = await self._run(ACQUIRE, keys, arguments, _grant, late=late)
        except SharedUnavailable as error:
            if error.uncertain:  # the server may have granted it before it was lost
                self._release_later(Lease(key, holder, 0), ttl)
            raise
        return None if fence is None else Lease(key, holder, fence), value

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.store.Shared.renew`."""
        arguments = (_held(lease), _milliseconds(ttl))
        return bool(await self._run(RENEW, [self._lease(lease.key)], arguments))

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.store.Shared.release`."""
        keys, arguments = [self._lease(lease.key)], (lease.holder,)
        return bool(await self._run(RELEASE, keys, arguments, must=True))

    def _release_later(self, lease: Lease, ttl: float) -> None:
        self._give_backs.start(
            "redis:give-back", lambda: self.release(lease), seconds=ttl, idempotent=True
        )

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.store.Shared.set_fenced`."""
        check_key(key)
        check_value(key, value)
        keys = [self._values + key, f"{self._prefix}f:{key}", self._lease(lease.key)]
        return bool(await self._run(SET_FENCED, keys, (value, lease.fence, _milliseconds(ttl))))

    async def settle(
        self,
        lease: Lease,
        key: str,
        value: bytes,
        *,
        ttl: float | None,
        channel: str,
        message: bytes,
    ) -> bool:
        """See :meth:`argo_mw.store.Shared.settle`."""
        check_key(key)
        check_value(key, value)
        check_key(channel)
        check_value(channel, message)
        keys = [
            self._values + key,
            f"{self._prefix}f:{key}",
            self._lease(lease.key),
            self._wish(lease.key),
        ]
        sent = (self._prefix + channel, seal(message))
        arguments = (value, lease.fence, _milliseconds(ttl), lease.holder, *sent)
        return bool(await self._run(SETTLE, keys, arguments, must=True))

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.store.Shared.publish`."""
        check_key(channel)
        check_value(channel, message)
        words = ("PUBLISH", self._prefix + channel, seal(message))
        await self._send(*words, read=expect_integer)

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> RedisSubscription:
        """See :meth:`argo_mw.store.Shared.subscribe`."""
        check_key(channel)
        self._check_usable()
        self._batcher.check_reachable()
        return await self._pubsub.subscribe(channel, on_message, on_gap, on_lost)

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.store.Shared.scan`."""
        pattern = _literal(self._values + prefix) + "*"
        found: dict[str, None] = {}
        cursor = b"0"
        while True:
            cursor, keys = await self._send(
                "SCAN", cursor, "MATCH", pattern, "COUNT", "1000", read=_page
            )
            found.update((key.decode()[len(self._values) :], None) for key in keys)
            if cursor == b"0":
                return list(found)

    async def info(self) -> dict[str, str]:
        """Return the server's report about itself (``INFO``)."""
        text = await self._send("INFO", read=_text)
        pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
        return {name: value for name, colon, value in pairs if colon}

    async def aclose(self) -> None:
        """Finish what was asked, then close the connections. Idempotent."""
        if self._closed:
            return
        self._check_usable()
        await self._batcher.drain()
        await self._give_backs.aclose()
        self._closed = True
        await self._pubsub.aclose()
        await self._batcher.aclose()

    async def _send(self, *words: Argument, read: Callable[[Any], Any]) -> Any:
        self._check_usable()
        return await self._batcher.send(words, read)

    async def _run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        read: Callable[[Any], Any] = expect_integer,
        *,
        must: bool = False,
        late: Callable[[Any], None] | None = None,
    ) -> Any:
        self._check_usable()
        words = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        done = self._batcher.send(words, read, script=script, must=must, late=late)
        return await (done if late is None else claim(done, late))

    def _lease(self, key: str) -> str:
        return f"{self._prefix}l:{key}"

    def _wish(self, key: str) -> str:
        return f"{self._prefix}w:{key}"

    def _check_usable(self) -> None:
        if self._closed:
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        self._affinity.check()


def _milliseconds(ttl: float | None) -> int | str:
    """Return a time to live as Redis takes it; "" for none."""
    check_ttl(ttl)
    return "" if ttl is None else min(max(1, int(min(ttl, 1e11) * 1000)), _MAX_TTL_MS)


def _held(lease: Lease) -> str:
    return f"{lease.fence}:{lease.holder}"


def _count(reply: Any) -> Count:
    try:
        value, added, witnessed = reply
        return Count(int(value), added == 1, int(witnessed))
    except (TypeError, ValueError):
        if isinstance(reply, ResponseError):
            return Count(0, added=False)  # not used: the error is raised
        msg = "a count was expected"
        raise InvalidResponse(msg) from None


def _grant(reply: Any) -> tuple[int | None, bytes | None]:
    """Return the fence of the lease, if it was granted, and the value that was asked beside it."""
    if isinstance(reply, ResponseError):
        return None, None  # not used: the error is raised
    fence, value = reply
    return None if fence is None else int(fence), expect_value(value)


def _was_set(reply: Any) -> bool:
    if reply is None or isinstance(reply, ResponseError):
        return False
    expect_ok(reply)
    return True


def _page(reply: Any) -> tuple[bytes, list[bytes]]:
    if isinstance(reply, ResponseError):
        return b"0", []
    cursor, keys = reply
    if type(cursor) is not bytes or not all(type(key) is bytes for key in keys):
        msg = "a page of keys was expected"
        raise InvalidResponse(msg)
    return cursor, keys


def _text(reply: Any) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else ""


def _literal(text: str) -> str:
    """Return *text* as a pattern that matches only itself."""
    return "".join("\\" + letter if letter in "*?[]^\\" else letter for letter in text)
