"""An answer as it lies in the store that instances share, and its reading and writing."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
from attrs import define, frozen
from msgspec.structs import replace

from argo_mw.plugin import Call, Context, Note, NotEncodable, Outcome
from argo_mw.store import Freshness, TagSnapshot, Undecodable

PREFIX = "argo:cache:"
"""What every key of the cache in the store begins with; the operation's name comes next."""
KEPT = Note("cache", "kept answer")
"""The note of a hit; it is not stored."""
_MAX_HEADS = 4096


class StoredAnswer(msgspec.Struct, eq=False):
    """An answer that was read from the store.

    Attributes:
        outcome: The answer as a hit returns it; it has an expiry, and a value that is shared with
            no other caller.
        tag_snapshot: The versions of its tags at the start of its load.
        load_time: Seconds that loading it took.
        new: Whether its ``as_of`` is later than that of all answers read before it.
        freshness: What the versions of its tags say, as far as that is known without waiting.
    """

    outcome: Outcome
    tag_snapshot: TagSnapshot
    load_time: float
    new: bool
    freshness: Freshness


@frozen
class StoreProblem:
    """Why an answer could not be read from the store, or not be written to it.

    Attributes:
        action: Its name in events and metrics.
        detail: More about it.
    """

    action: Literal["invalidated", "local", "undecodable", "unreachable"]
    detail: str = ""


class _Layout(msgspec.Struct, array_like=True, gc=False):
    """The fields in the store: flat, since every hit reads them."""

    version: Literal[4]
    value: Any
    as_of: float | None
    expires_at: float
    load_time: float
    head: bytes


class _Head(msgspec.Struct, array_like=True, gc=False):
    """The fields that stay equal from one answer to the next while no tag changes."""

    upstream: str | None
    via: tuple[str, ...]
    tags: frozenset[str]
    lacks: frozenset[str]
    notes: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, bytes, bytes], ...]


@define(eq=False)
class _DecodedHead:
    """The last head that was read under a key.

    Attributes:
        data: Its bytes.
        outcome: What the answers with this head have in common, without a value.
        tag_snapshot: The versions of its tags.
        as_of: The latest ``as_of`` of the answers read under the key; NaN before the first.
    """

    data: bytes
    outcome: Outcome
    tag_snapshot: TagSnapshot
    as_of: float | None = math.nan


_read_head = msgspec.msgpack.Decoder(_Head).decode
_write_head = msgspec.msgpack.Encoder().encode


class AnswerCodec:
    """Writes answers for the store, and reads them.

    Programs read the same few thousand answers again and again, so the last head of each key is
    remembered. That saves half of the time to read a text of 1.2 kB (measured in
    ``tests/bench/cache.py``).
    """

    def __init__(self, context: Context) -> None:
        self._codecs = context.codecs
        self._versions = context.tag_versions
        self._heads: dict[str, _DecodedHead] = {}

    def has_read(self, key: str) -> bool:
        """Return whether an answer under *key* was read lately."""
        return key in self._heads

    def write(
        self, outcome: Outcome, tag_snapshot: TagSnapshot, load_time: float, key: str
    ) -> bytes:
        """Return the bytes to store under *key* for *outcome*, the answer as a hit returns it.

        Raises:
            NotEncodable: The value has no codec, or what stands beside it is no text that UTF-8
                can write.
        """
        try:
            head = _write_head(
                [
                    outcome.upstream,
                    outcome.via,
                    sorted(outcome.tags),
                    sorted(outcome.lacks),
                    [(note.layer, note.text) for note in outcome.notes if note != KEPT],
                    tag_snapshot.versions,
                ]
            )
        except (TypeError, ValueError) as error:
            msg = f"what stands beside the answer cannot be stored: {error}"
            raise NotEncodable(msg) from error
        fields = [4, outcome.value, outcome.as_of, outcome.expires_at, load_time, head]
        return self._codecs.encode(fields, key)

    async def read(self, data: bytes, key: str) -> StoredAnswer | StoreProblem:
        """Return the answer in *data*, read from *key*; never raises, whatever the bytes.

        Large data is decoded in a thread, so that it does not block the event loop.
        """
        return self._answer(await self._codecs.decode_as_off_loop(_Layout, data, key), key)

    def read_at_once(self, data: bytes, key: str) -> StoredAnswer | StoreProblem | None:
        """Like :meth:`read`, without a coroutine; ``None`` if *data* is too large for that."""
        stored = self._codecs.decode_small(_Layout, data, key)
        return None if stored is None else self._answer(stored, key)

    def _answer(self, stored: _Layout | Undecodable, key: str) -> StoredAnswer | StoreProblem:
        if not isinstance(stored, _Layout):  # asking for Undecodable takes longer for most
            return StoreProblem("undecodable", f"{stored.reason.value} {stored.detail}".strip())
        try:
            head = self._heads.get(key)
            if head is None or head.data != stored.head:
                head = self._remember(key, stored.head)
        except (msgspec.MsgspecError, ValueError) as error:
            return StoreProblem("undecodable", str(error))
        as_of, expires_at = stored.as_of, stored.expires_at
        outcome = replace(head.outcome, value=stored.value, as_of=as_of, expires_at=expires_at)
        freshness = self._versions.peek(head.tag_snapshot)
        if freshness is not Freshness.FRESH:
            head.tag_snapshot = self._versions.renew(head.tag_snapshot)
            freshness = self._versions.peek(head.tag_snapshot)
        new = as_of != head.as_of and _is_news(as_of, head.as_of)
        if new:
            head.as_of = as_of
        return StoredAnswer(outcome, head.tag_snapshot, stored.load_time, new, freshness)

    def _remember(self, key: str, data: bytes) -> _DecodedHead:
        head = _read_head(data)
        notes = (*[Note(layer, text) for layer, text in head.notes], KEPT)
        tag_snapshot = self._versions.adopt(head.versions)
        common = Outcome(
            None,
            upstream=head.upstream,
            via=head.via,
            tags=head.tags,
            lacks=head.lacks,
            notes=notes,
            versions=tag_snapshot.versions,
        )
        before = self._heads.get(key)
        as_of = math.nan if before is None else before.as_of
        decoded = _DecodedHead(data, common, tag_snapshot, as_of)
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[key] = decoded
        return decoded


def _is_news(as_of: float | None, seen: float | None) -> bool:
    """Return whether an answer is newer than the newest that was *seen*.

    An older one that was put back into the store is not.
    """
    if as_of is None or seen is None:
        return as_of != seen
    return not as_of <= seen  # also true if none was seen, which is NaN


def store_key(call: Call) -> str:
    """Return the key in the store: the call's own, which contains its tenant where that matters.

    The braces are Redis Cluster's: all keys of one question live on one node.
    """
    return f"{PREFIX}{{{call.key}}}"
