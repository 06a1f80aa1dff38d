"""Reads: through the chain, never stale after an acknowledgement, each served by its index."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

import argo_mw_cache.plugin
import argo_mw_coalesce.plugin
from argo_mw import Argo, BadParameter
from argo_mw.plugin import MICROSECONDS, Charge, Cost, Row, context_of
from argo_mw_persist import (
    Answer,
    PersistPlugin,
    Query,
    Spending,
    SqliteSink,
    store_of,
)
from argo_mw_persist.costs import charge_row

NOW = 1_750_000_000 * MICROSECONDS
CHANNEL_DELAY = 5.0


def application() -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"on_sigterm": False, "writer": {"linger": 0.0}}},
        },
        plugins={
            "persist": PersistPlugin,
            "cache": argo_mw_cache.plugin.CachePlugin,
            "coalesce": argo_mw_coalesce.plugin,
        },
        installed=False,
    )


def answer(number: int, subject: str = "AAPL") -> Answer:
    return Answer("opinion", f"k{number}", subject, "glm", "", NOW + number, b"words")


def charge(number: int, upstream: str = "glm") -> Row:
    at, cost = (NOW + number) / MICROSECONDS, Cost(0.25, 10, 20, 1.0)
    return charge_row(Charge(at, "default", "opinion", "A", upstream, "ok", cost, 0.5))


async def record(argo: Argo, *records: Answer | Row) -> None:
    store = store_of(argo)
    rows = [record if isinstance(record, Row) else record.row() for record in records]
    receipts = [await store.record(row) for row in rows]
    for receipt in receipts:
        await receipt


async def test_no_read_after_an_acknowledged_write_is_stale():
    """Also not one that another caller has just had cached."""
    async with application() as argo:
        store = store_of(argo)
        asked = {"of": "opinion", "subject": "AAPL"}
        for number in range(50):
            receipt = await store.record(answer(number).row())
            while not receipt.done():
                await argo.call("answers", **asked)
                await asyncio.sleep(0)
            assert number + 1 == len((await argo.call("answers", **asked)).answers)
            # Let it be kept, so that the next round begins with a hit.
            await argo.call("answers", **asked)
            hit = await argo.outcome("answers", **asked)
        assert "cache" in hit.via


@pytest.mark.parametrize(
    ("operation", "parameters", "found"),
    [
        ("answers", {"of": "opinion"}, lambda page: len(page.answers)),
        ("spending", {}, len),
    ],
)
async def test_no_read_after_an_acknowledged_write_joins_one_that_began_before_it(
    monkeypatch, operation, parameters, found
):
    held, read, select = threading.Event(), threading.Event(), SqliteSink.select

    def read_and_wait(sink: SqliteSink, query: Query) -> object:
        rows = select(sink, query)
        read.set()
        assert held.wait(60)
        return rows

    async with application() as argo:
        monkeypatch.setattr(SqliteSink, "select", read_and_wait)
        early = asyncio.create_task(argo.call(operation, **parameters))
        assert await asyncio.to_thread(read.wait, 60)
        await record(argo, answer(1), charge(1))
        late = asyncio.create_task(argo.call(operation, **parameters))
        held.set()
        assert (0, 1) == (found(await early), found(await late))


async def test_recorded_answers_are_read_page_by_page_and_never_stale():
    async with application() as argo:
        some = [answer(n, "AAPL" if n % 2 else "IBM") for n in range(5)]
        await record(argo, *some)
        page = await argo.call("answers", of="opinion", limit=3)
        rest = await argo.call("answers", of="opinion", limit=3, after=page.next)
        assert (*page.answers, *rest.answers) == tuple(reversed(some))
        assert rest.next is None
        for number in range(5, 8):
            about_one = await argo.call("answers", of="opinion", subject="IBM")
            assert {"IBM"} == {found.subject for found in about_one.answers}
            await record(argo, answer(number, "IBM"))
            again = await argo.call("answers", of="opinion", subject="IBM")
            assert len(again.answers) == len(about_one.answers) + 1
        until = datetime.fromtimestamp(NOW / MICROSECONDS, UTC)
        assert (await argo.call("answers", of="opinion", until=until)).answers == ()


async def test_spending_is_summed_up_and_never_stale():
    async with application() as argo:
        for number in range(1, 4):
            await record(argo, charge(number))
            [glm] = await argo.call("spending")
            tokens = (10 * number, 20 * number)
            expected = Spending(
                "glm", "opinion", number, 0, float(number), *tokens, 0.25 * number, 0, 0.5
            )
            assert expected == glm
        await record(argo, charge(1, "claude"))
        assert ["glm", "claude"] == [one.upstream for one in await argo.call("spending")]
        [claude] = await argo.call("spending", upstream="claude", of="opinion")
        assert claude.calls == 1
        assert () == await argo.options(tenant="acme").call("spending")


@pytest.mark.parametrize(
    ("operation", "parameters", "complaint"),
    [
        ("answers", {"of": "opinion", "limit": 10_001}, "1 to 10000"),
        ("answers", {"of": "opinion", "limit": True}, "limit is True"),
        ("answers", {"of": "opinion", "since": datetime(2026, 1, 1)}, "time zone"),
        ("answers", {"of": "opinion", "limit": 0}, "limit is 0"),
        ("answers", {"of": "opinion", "after": "nonsense"}, "give the `next`"),
        ("spending", {"since": datetime(2026, 1, 1)}, "time zone"),
    ],
)
async def test_bad_questions_are_refused_with_the_way_out(operation, parameters, complaint):
    async with application() as argo:
        with pytest.raises(BadParameter, match=complaint):
            await argo.call(operation, **parameters)


async def test_a_caller_who_leaves_a_read_disturbs_no_other():
    async with application() as argo:
        await record(argo, answer(1))
        leaving = asyncio.create_task(argo.call("answers", of="opinion"))
        staying = asyncio.create_task(argo.call("answers", of="opinion"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert len((await staying).answers) == 1
        await asyncio.gather(leaving, return_exceptions=True)


async def test_another_instance_sees_a_write_within_the_channels_delay(tmp_path):
    """Two instances on one database and one shared store: no restart, no expiry, one delay."""

    def instance(name: str) -> Argo:
        return Argo.open(
            {
                "argo": {
                    "shared": f"sqlite:///{tmp_path / 'shared.db'}",
                    "state_dir": str(tmp_path / name),
                    "strict": True,
                },
                "plugins": {
                    "persist": {
                        "on_sigterm": False,
                        "url": f"sqlite:///{tmp_path / 'signals.db'}",
                    }
                },
            },
            plugins={"persist": PersistPlugin, "cache": argo_mw_cache.plugin.CachePlugin},
            installed=False,
        )

    async with instance("a") as writer, instance("b") as reader:
        await record(writer, answer(1))
        while "cache" not in (await reader.outcome("answers", of="opinion")).via:
            await asyncio.sleep(0)
        await record(writer, answer(2))
        # The cache alone would serve the old answer for two minutes.
        async with asyncio.timeout(CHANNEL_DELAY):
            while len((await reader.call("answers", of="opinion")).answers) != 2:
                await asyncio.sleep(0)


async def test_what_reads_answer_can_be_kept_in_a_shared_cache():
    async with application() as argo:
        await record(argo, answer(1), charge(1))
        for operation, parameters in (("answers", {"of": "opinion"}), ("spending", {})):
            value = await argo.call(operation, **parameters)
            codecs = context_of(argo).codecs
            assert codecs.decode(codecs.encode(value)) == value
