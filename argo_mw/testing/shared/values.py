"""What every driver does with values, times to live and compare-and-set."""

from __future__ import annotations

import asyncio

from argo_mw.store.protocol import Shared
from argo_mw.testing.shared.tools import SharedTests, StoreUnderTest


class ValueConformance(SharedTests):
    """Values: set, read, scanned, expired, compared and set."""

    async def test_a_key_that_was_never_set_has_no_value(self, shared: Shared) -> None:
        assert await shared.get("nothing") is None

    async def test_a_value_is_seen_by_every_handle(self, shared: Shared, other: Shared) -> None:
        await shared.set("key", b"value")
        assert await shared.get("key") == b"value"
        assert await other.get("key") == b"value"

    async def test_a_later_value_replaces_an_earlier_one(self, shared: Shared) -> None:
        await shared.set("key", b"one")
        await shared.set("key", b"two")
        assert await shared.get("key") == b"two"

    async def test_values_are_bytes_of_every_kind_and_size(self, shared: Shared) -> None:
        values = {"empty": b"", "zero": b"\0", "all": bytes(range(256)), "large": b"x" * 2**20}
        await shared.set_many(values)
        assert list(values.values()) == list(await shared.get_many(list(values)))

    async def test_keys_are_text_of_every_kind(self, shared: Shared) -> None:
        keys = ["a b", "ü€😀", "new\nline", "%", "_", "{x}", "a" * 512, "nul\0"]
        await shared.set_many({key: key.encode() for key in keys})
        assert [key.encode() for key in keys] == list(await shared.get_many(keys))

    async def test_get_many_returns_values_in_the_order_of_the_keys(self, shared: Shared) -> None:
        await shared.set_many({"a": b"1", "b": b"2"})
        keys = ["b", "none", "a", "b"]
        assert list(await shared.get_many(keys)) == [b"2", None, b"1", b"2"]
        assert list(await shared.get_many([])) == []

    async def test_two_thousand_keys_are_set_and_read_in_one_command(self, shared: Shared) -> None:
        items = {f"key:{n}": b"%d" % n for n in range(2_000)}
        await shared.set_many(items)
        await shared.set_many({})
        assert list(items.values()) == list(await shared.get_many(list(items)))

    async def test_delete_counts_the_keys_that_existed(self, shared: Shared) -> None:
        await shared.set_many({"a": b"1", "b": b"2"})
        assert await shared.delete(["a", "b", "c"]) == 2
        assert await shared.delete(["a"]) == 0
        assert await shared.delete([]) == 0
        assert await shared.get("a") is None

    async def test_a_value_expires_after_its_time_to_live(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.set("short", b"1", ttl=store.ttl)
        await shared.set("long", b"2", ttl=store.ttl * 100)
        await shared.set("forever", b"3")
        assert await shared.get("short") == b"1"
        await store.advance(store.ttl * 1.5)
        assert list(await shared.get_many(["short", "long", "forever"])) == [None, b"2", b"3"]
        assert await shared.delete(["short"]) == 0

    async def test_setting_a_value_again_replaces_its_time_to_live(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.set_many({"renewed": b"1", "freed": b"1"}, ttl=store.ttl)
        await shared.set("renewed", b"2", ttl=store.ttl * 100)
        await shared.set("freed", b"2")
        await store.advance(store.ttl * 1.5)
        assert list(await shared.get_many(["renewed", "freed"])) == [b"2", b"2"]

    async def test_scan_finds_live_keys_by_prefix(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.set_many({"p:1": b"", "p:2": b"", "q:1": b"", "p%": b"", "p*?[": b""})
        await shared.set("p:gone", b"", ttl=store.ttl)
        await store.advance(store.ttl * 1.5)
        assert sorted(await shared.scan("p:")) == ["p:1", "p:2"]
        assert sorted(await shared.scan("p*")) == ["p*?["]
        assert sorted(await shared.scan("p%")) == ["p%"]

    async def test_create_many_sets_what_is_absent_and_returns_what_is_there(
        self, shared: Shared, other: Shared
    ) -> None:
        await shared.set("there", b"old")
        created = await shared.create_many({"new": b"1", "there": b"2"})
        assert list(created) == [b"1", b"old"]
        created = await other.create_many({"there": b"3", "new": b"4", "newer": b"5"})
        assert list(created) == [b"old", b"1", b"5"]
        assert list(await shared.get_many(["there", "new", "newer"])) == [b"old", b"1", b"5"]
        assert list(await shared.create_many({})) == []

    async def test_create_many_keeps_the_time_to_live_of_what_is_there(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.create_many({"short": b"1"}, ttl=store.ttl)
        await shared.create_many({"short": b"2", "long": b"3"}, ttl=store.ttl * 100)
        await store.advance(store.ttl * 1.5)
        assert list(await shared.get_many(["short", "long"])) == [None, b"3"]
        assert list(await shared.create_many({"short": b"4"})) == [b"4"]

    async def test_of_concurrent_creations_all_return_the_same_value(
        self, shared: Shared, other: Shared
    ) -> None:
        values = await asyncio.gather(
            *(
                handle.create_many({"key": b"%d" % n})
                for n in range(20)
                for handle in (shared, other)
            )
        )
        assert {await shared.get("key")} == {value for (value,) in values}

    async def test_compare_and_set_with_none_creates_a_key_once(self, shared: Shared) -> None:
        assert await shared.compare_and_set("key", None, b"one")
        assert not await shared.compare_and_set("key", None, b"two")
        assert await shared.get("key") == b"one"

    async def test_compare_and_set_replaces_only_the_expected_value(self, shared: Shared) -> None:
        assert not await shared.compare_and_set("key", b"one", b"two")
        await shared.set("key", b"one")
        assert not await shared.compare_and_set("key", b"other", b"two")
        assert await shared.compare_and_set("key", b"one", b"two")
        assert await shared.get("key") == b"two"

    async def test_compare_and_set_sees_an_expired_value_as_none(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.compare_and_set("key", None, b"one", ttl=store.ttl)
        await store.advance(store.ttl * 1.5)
        assert not await shared.compare_and_set("key", b"one", b"two")
        assert await shared.compare_and_set("key", None, b"two")

    async def test_of_concurrent_compare_and_sets_one_wins(
        self, shared: Shared, other: Shared
    ) -> None:
        for turn in range(5):
            won = await asyncio.gather(
                *(
                    handle.compare_and_set(f"key:{turn}", None, b"%d" % n)
                    for n in range(20)
                    for handle in (shared, other)
                )
            )
            assert won.count(True) == 1
