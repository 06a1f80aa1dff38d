"""Flags of a fleet: set in one place, in use in all, and never forgotten."""

# ruff: noqa: F811 - fixtures of another module are named as parameters
from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Argo, ConfigError, SharedUnavailable
from argo_mw.app.application import engine_of
from argo_mw.app.lifecycle import Lifecycle
from argo_mw.flags import Rule
from argo_mw.flags.changes import Change, kill, revive, roll_back, set_to, unset
from argo_mw.flags.fleet import MAX_FLAGS, Fleet, FleetFlag, dump_fleet, parse_fleet
from argo_mw.flags.fleet_file import FleetFile
from argo_mw.flags.fleet_follower import INTERVAL, UNHEARD_INTERVAL
from argo_mw.flags.fleet_store import KEY
from argo_mw.flags.model import HOLDS
from argo_mw.flags.parse import format_rule
from argo_mw.plugin import Trouble, context_of, flags_of
from argo_mw.store import Ability
from argo_mw.testing import FakeClock, capture_events, settle

from .fleet import Machine, Store, Watching, machine, store  # noqa: F401 - fixtures

MOST = 60.0
"""Seconds that a busy machine may take for what takes a fraction of one."""

# -- Merging ---------------------------------------------------------------------------------------

changes = st.sampled_from(
    [
        *(kill, revive, unset, roll_back("p99"), roll_back("errors"), set_to(Rule("off"))),
        *(set_to(Rule("off", percent=10)), set_to(Rule("on", subjects={"A": False}))),
    ]
)
histories = st.lists(
    st.tuples(st.sampled_from(["race", "cache"]), changes, st.integers(0, 20)), max_size=6
)


NONE = Fleet()


def fleet_of(history: list[tuple[str, object, int]], start: Fleet = NONE) -> Fleet:
    for name, change, now in history:
        start = start.changed(name, change, now / 1e6)  # type: ignore[arg-type]
    return start


fleets = histories.map(fleet_of)


@given(fleets, fleets, fleets)
def test_whatever_is_merged_in_whatever_order_leads_to_the_same(
    one: Fleet, two: Fleet, three: Fleet
) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one == one.merged(one) == one.merged(Fleet())
    assert one.merged(two) == one.merged(two).merged(two)


@given(fleets, histories)
def test_what_follows_from_something_wins_over_it(
    one: Fleet, history: list[tuple[str, object, int]]
) -> None:
    later = fleet_of(history, one)
    assert later == later.merged(one)


@given(fleets)
def test_a_fleet_is_written_and_read_back(fleet: Fleet) -> None:
    assert fleet == parse_fleet(json.loads(json.dumps(dump_fleet(fleet))))


@given(fleets, st.sampled_from(["race", "cache"]))
def test_a_kill_outlives_what_others_set_who_have_not_heard_of_it(fleet: Fleet, name: str) -> None:
    killed = fleet.changed(name, kill, 1.0)
    others = fleet.changed(name, set_to(Rule("on")), 2.0)
    merged = killed.merged(others).rules[name]
    assert merged.held
    assert evolve(merged, killed=False, rolled_back="") == evolve(
        others.rules[name], killed=False, rolled_back=""
    )


def test_a_change_is_the_later_one_wherever_clocks_stand() -> None:
    ahead = FleetFlag().changed(kill, 10**16)
    behind = ahead.changed(revive, 5)
    assert ahead.merged(behind) == behind
    assert behind.rule is None


@pytest.mark.parametrize(
    "steps",
    [(kill, revive, kill), (set_to(Rule("on")), set_to(Rule("off")), set_to(Rule("on")))],
    ids=["held", "set"],
)
def test_of_changes_there_and_back_the_last_one_counts(steps: tuple[Change, ...]) -> None:
    flag = FleetFlag()
    for now, change in enumerate(steps, 1):
        before, flag = flag, flag.changed(change, now)
        assert now == max(flag.set_at, flag.held_at)
        assert flag == before.merged(flag)


def test_a_change_dates_nothing_but_what_it_changes() -> None:
    flag = FleetFlag().changed(set_to(Rule("off")), 1).changed(kill, 2)
    assert (1, 2) == (flag.set_at, flag.held_at)
    flag = flag.changed(set_to(Rule("on")), 3)
    assert (3, 2) == (flag.set_at, flag.held_at)


def test_holds_are_known_without_all_else_that_is_set() -> None:
    fleet = Fleet()
    for now, change in enumerate([set_to(Rule("off", percent=10)), kill]):
        fleet = fleet.changed("race", change, now)
    assert {"race": evolve(HOLDS, killed=True)} == fleet.holds


@pytest.mark.parametrize(
    "plain",
    [None, [], {"format": 1}, {"format": 2, "flags": {}}, {"format": 0, "flags": {}}, {"format": 1, "flags": {"race": 1}},
     {"format": 1, "flags": {"race": {"rule": "on"}}},
     {"format": 1, "flags": {"race": {"rule": "on", "set_at": -1, "held_at": 0}}},
     {"format": 1, "flags": {"race": {"rule": "on", "set_at": True, "held_at": 0}}},
     {"format": 1, "flags": {"race": {"rule": "maybe", "set_at": 1, "held_at": 0}}},
     {"format": 1, "flags": {str(n): {} for n in range(10_001)}}],
)  # fmt: skip
def test_what_is_no_fleet_is_refused(plain: object) -> None:
    with pytest.raises(ConfigError):
        parse_fleet(plain)


def test_of_two_changes_within_a_second_the_later_one_counts() -> None:
    first = Fleet().changed("race", set_to(Rule("on")), 100.0)
    second = Fleet().changed("race", set_to(Rule("off")), 100.000_001)
    for merged in (first.merged(second), second.merged(first)):
        assert Rule("off") == merged.rules["race"]


def test_a_fleet_may_have_as_many_flags_as_are_read_back() -> None:
    full = {f"f{n}": FleetFlag(Rule("on"), 1, 0) for n in range(MAX_FLAGS)}
    fleet = Fleet(full).changed("f0", kill, 1.0)
    assert MAX_FLAGS == len(parse_fleet(dump_fleet(fleet)).flags)
    with pytest.raises(ConfigError, match=f"has {MAX_FLAGS} of them"):
        fleet.changed("one more", kill, 1.0)


def test_no_flag_is_added_to_what_two_fleets_have_made_too_many() -> None:
    both = Fleet({f"f{n}": FleetFlag(Rule("on"), 1, 0) for n in range(MAX_FLAGS + 1)})
    with pytest.raises(ConfigError, match=f"has {MAX_FLAGS} of them"):
        both.changed("one more", kill, 1.0)


def test_moments_are_counted_from_the_epoch() -> None:
    first = {"format": 1, "flags": {"race": {"rule": "on", "set_at": 0, "held_at": 0}}}
    assert FleetFlag(Rule("on"), 0, 0) == parse_fleet(first).flags["race"]


# -- On disk ---------------------------------------------------------------------------------------


def test_what_is_remembered_is_private_and_read_back(tmp_path: Path) -> None:
    file = FleetFile(tmp_path, "redis://user:secret@host/0")
    fleet = Fleet().changed("race", kill, 1.0)
    assert Fleet() == file.read()
    assert fleet == file.remember(fleet)
    assert fleet == FleetFile(tmp_path, "redis://user:other@host/0").read()
    assert Fleet() == FleetFile(tmp_path, "redis://host/1").read()
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}


def test_nothing_that_another_process_remembers_is_lost(tmp_path: Path) -> None:
    file = FleetFile(tmp_path, "redis://host/0")
    file.remember(Fleet().changed("race", kill, 2.0))
    both = file.remember(Fleet().changed("cache", kill, 1.0))
    assert {"race", "cache"} == both.rules.keys()
    assert both == file.read()


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "flags": {}}'])
def test_a_broken_file_is_reported_and_replaced(tmp_path: Path, content: str) -> None:
    file = FleetFile(tmp_path, "redis://host/0")
    file.path.write_text(content)
    with pytest.raises(ConfigError, match="fleet-flags-.* cannot be read"):
        file.read()
    fleet = Fleet().changed("race", kill, 1.0)
    assert fleet == file.remember(fleet) == file.read()


# -- Applications ----------------------------------------------------------------------------------


def shown(argo: Argo, name: str = "cache") -> str:
    flag = flags_of(argo).all[name]
    return f"{format_rule(flag.rule)} by {flag.held_by or flag.source}"


async def until(argo: Argo, rule: str, name: str = "cache") -> None:
    """Return when flag *name* is *rule* in *argo*, without time passing by its clock."""
    async with asyncio.timeout(MOST):
        while shown(argo, name) != rule:
            await asyncio.sleep(0.001)


async def remembered(argo: Argo) -> None:
    """Return when *argo* has written what it knows to its disk."""
    async with asyncio.timeout(MOST):
        while any("fleet-flags:remember" in name for name in engine_of(argo).tasks.names):
            await asyncio.sleep(0.001)


async def test_what_is_set_for_the_fleet_is_in_use_in_every_instance(machine: Machine) -> None:
    async with machine("a") as a, machine("b", flags={"cache": "off"}) as b:
        assert await flags_of(a).set("cache", "10%", fleet=True)
        assert "10% by subject by fleet" == shown(a)
        await until(b, "10% by subject by fleet")
        assert await flags_of(b).kill("cache", fleet=True)
        await until(a, "killed by fleet")
        await flags_of(a).set("cache", "20% by tenant", fleet=True)
        await flags_of(a).revive("cache", fleet=True)
        await until(b, "20% by tenant by fleet")
        await flags_of(b).unset("cache", fleet=True)
        await until(a, "on by default")
        await until(b, "off by argo.toml")


async def test_an_instance_that_starts_knows_what_is_set(machine: Machine) -> None:
    async with machine("a") as a:
        await a.roll_back("cache", "p99 doubled", fleet=True)
    async with machine("b") as b:
        assert "rolled back: p99 doubled by fleet" == shown(b)
        assert () == (await b.outcome("bars", symbol="A")).via[1:]


async def test_machine_and_environment_stand_above_the_fleet_but_not_above_its_kill(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine("a") as a, machine("b") as b:
        await flags_of(b).set("cache", "30%")
        await flags_of(a).set("cache", "off", fleet=True)
        await until(a, "off by fleet")
        await asyncio.sleep(0)
        assert "30% by subject by overlay" == shown(b)
        monkeypatch.setenv("ARGO_MW_FLAG_CACHE", "on")
        await b.reload()
        assert "on by ARGO_MW_FLAG_CACHE" == shown(b)
        await flags_of(a).kill("cache", fleet=True)
        await until(b, "killed by fleet")
        await flags_of(b).revive("cache")
        assert "killed by fleet" == shown(b)
        await flags_of(a).revive("cache", fleet=True)
        await until(b, "on by ARGO_MW_FLAG_CACHE")


async def test_a_kill_of_this_machine_that_is_revived_leaves_no_rule_behind(
    machine: Machine,
) -> None:
    async with machine("a") as a:
        await flags_of(a).set("cache", "10%", fleet=True)
        await flags_of(a).kill("cache")
        assert "killed by overlay" == shown(a)
        await flags_of(a).set("cache", "50%", fleet=True)
        await flags_of(a).revive("cache")
        assert "50% by subject by fleet" == shown(a)


async def test_what_a_killed_layer_served_counts_as_gone_in_every_instance(
    machine: Machine,
) -> None:
    async with machine("a") as a, machine("b") as b:
        versions = context_of(b).tag_versions
        kept = await versions.load(["layer:cache"])
        assert "FRESH" == versions.peek(kept).name
        assert await flags_of(a).kill("cache", fleet=True)
        await until(b, "killed by fleet")
        await settle()
        assert "MISS" == (await versions.check(kept)).name


async def test_what_is_kept_while_the_kill_is_on_its_way_is_gone_as_well(
    machine: Machine, store: Store
) -> None:
    """An instance that hears late goes on serving with the layer for so long."""
    async with machine("a") as a, machine("b") as b:
        store.refusing[1].refuse([Ability.READ, Ability.WRITE, Ability.HEAR])
        await flags_of(a).kill("cache", fleet=True)
        kept = await context_of(b).tag_versions.load(["layer:cache"])
        store.refusing[1].refuse([])
        await until(b, "killed by fleet")
        await settle()
        assert "MISS" == (await context_of(b).tag_versions.check(kept)).name


# -- When the store is away ------------------------------------------------------------------------

AWAY = tuple(Ability)


async def test_an_instance_goes_on_with_what_was_last_known(machine: Machine, store: Store) -> None:
    async with machine("a") as a, machine("b") as b:
        await flags_of(a).kill("cache", fleet=True)
        await until(b, "killed by fleet")
        store.refuse(*AWAY)
        await b.reload()
        assert "killed by fleet" == shown(b)
    async with machine("b") as b:
        assert "killed by fleet" == shown(b)
        assert flags_of(b).stale
    store.refuse()
    async with machine("b") as b:
        assert "" == flags_of(b).stale


async def test_nothing_is_changed_while_the_store_is_away(machine: Machine, store: Store) -> None:
    async with machine("a") as a:
        store.refuse(*AWAY)
        with pytest.raises(SharedUnavailable):
            await flags_of(a).kill("cache", fleet=True)
        assert "on by default" == shown(a)
        await flags_of(a).kill("cache")
        assert "killed by overlay" == shown(a)


async def test_what_was_set_meanwhile_is_taken_up_when_the_store_is_back(
    machine: Machine, store: Store, clock: FakeClock
) -> None:
    async with machine("a") as a, machine("b") as b:
        store.refusing[1].refuse(AWAY)
        await flags_of(a).kill("cache", fleet=True)
        await clock.advance(UNHEARD_INTERVAL)
        assert "on by default" == shown(b)
        assert flags_of(b).stale
        store.refusing[1].refuse()
        await until(b, "killed by fleet")


@pytest.mark.parametrize("refused", [(Ability.HEAR,), (Ability.HEAR, Ability.ANNOUNCE)])
async def test_a_store_without_channels_is_read_twice_a_second(
    machine: Machine, store: Store, clock: FakeClock, refused: tuple[Ability, ...]
) -> None:
    store.refuse(*refused)
    async with machine("a") as a, machine("b") as b:
        await flags_of(a).kill("cache", fleet=True)
        for _ in range(2):
            await clock.advance(UNHEARD_INTERVAL * 1.1)
        await until(b, "killed by fleet")


async def test_a_message_that_is_lost_is_made_up_for(
    machine: Machine, store: Store, clock: FakeClock
) -> None:
    async with machine("a") as a, machine("b") as b:
        store.refuse(Ability.ANNOUNCE)
        assert not await flags_of(a).set("cache", "off", fleet=True)
        await settle()
        assert "on by default" == shown(b)
        await clock.advance(INTERVAL * 1.1)
        await until(b, "off by fleet")


async def test_a_store_that_has_lost_the_flags_gets_them_back(
    machine: Machine, clock: FakeClock
) -> None:
    async with machine("a") as a, machine("b") as b:
        await flags_of(a).kill("cache", fleet=True)
        await until(b, "killed by fleet")
        await context_of(a).shared.delete([KEY])
        async with machine("c") as c:
            await flags_of(c).set("needs", "off", fleet=True)
            await until(b, "off by fleet", "needs")
            await until(c, "killed by fleet")
        assert "killed by fleet" == shown(b)


async def test_a_store_that_is_put_back_to_an_older_state_changes_nothing(
    machine: Machine, clock: FakeClock
) -> None:
    async with machine("a") as a:
        shared = context_of(a).shared
        await flags_of(a).set("cache", "10%", fleet=True)
        old = await shared.get(KEY)
        await flags_of(a).kill("cache", fleet=True)
        assert old is not None
        await shared.set(KEY, old)
        await clock.advance(INTERVAL * 1.1)
        await settle()
        assert "killed by fleet" == shown(a)
        async with machine("b") as b:
            assert "killed by fleet" == shown(b)


async def test_what_cannot_be_read_is_reported_and_left_alone(
    machine: Machine, clock: FakeClock
) -> None:
    async with machine("a") as a:
        events = capture_events(a)
        await flags_of(a).kill("cache", fleet=True)
        await context_of(a).shared.set(KEY, b"nonsense")
        for _ in range(3):
            await clock.advance(INTERVAL * 1.1)
            await settle()
        assert "killed by fleet" == shown(a)
        assert 1 == sum(e.where == "flags of the fleet" for e in events.of(Trouble))
        with pytest.raises(ConfigError, match="'argo:flags' in the shared store, cannot be read"):
            await flags_of(a).revive("cache", fleet=True)
        assert b"nonsense" == await context_of(a).shared.get(KEY)


async def test_flags_that_another_key_has_signed_count_as_unreadable(machine: Machine) -> None:
    async with machine("a", signing_key="one") as a:
        await flags_of(a).kill("cache", fleet=True)
        async with machine("b", signing_key="two") as b:
            assert "on by default" == shown(b)
            assert "signature" in flags_of(b).stale


async def test_changes_at_the_same_time_are_all_made(machine: Machine) -> None:
    async with machine("a") as a, machine("b") as b:
        await asyncio.gather(
            flags_of(a).kill("cache", fleet=True),
            flags_of(b).set("needs", "10%", fleet=True),
            flags_of(a).set("cache", "20%", fleet=True),
            flags_of(b).set("upstream.a", "50%", fleet=True),
        )
        for argo in (a, b):
            await until(argo, "killed by fleet")
            await until(argo, "10% by subject by fleet", "needs")
            await until(argo, "50% by subject by fleet", "upstream.a")
        await flags_of(a).revive("cache", fleet=True)
        await until(b, "20% by subject by fleet")


async def test_a_change_whose_caller_leaves_is_made(machine: Machine) -> None:
    async with machine("a") as a, machine("b") as b:
        killing = asyncio.create_task(flags_of(a).kill("cache", fleet=True))
        await asyncio.sleep(0)
        killing.cancel()
        await asyncio.wait([killing])
        await until(b, "killed by fleet")
        await until(a, "killed by fleet")


# -- What cannot be applied ------------------------------------------------------------------------


async def test_what_another_machine_cannot_do_is_off_there_and_says_why(machine: Machine) -> None:
    async with machine("a", middleware=Watching()) as a, machine("b") as b:
        await flags_of(a).set("cache", "shadow", fleet=True)
        await until(b, "off by fleet")
        flag = flags_of(b).all["cache"]
        assert "the fleet sets it to 'shadow', and it cannot shadow here" == flag.fault
        decision = flags_of(b).decide("cache", engine_of(b).make_call("bars", "t", {"symbol": "A"}))
        assert (False, "ERROR") == (decision.on, decision.reason)
        with pytest.raises(ConfigError, match="cannot shadow here"):
            await flags_of(b).set("cache", "shadow", fleet=True)


async def test_a_rule_that_no_chain_can_be_built_with_is_refused_and_not_kept(
    machine: Machine,
) -> None:
    async with machine("a", requires=("cache",)) as a, machine("b") as b:
        with pytest.raises(ConfigError, match="needs"):
            await flags_of(a).set("cache", "off", fleet=True)
        assert "on by default" == shown(a)
        await flags_of(b).set("cache", "off", fleet=True)
        await flags_of(b).kill("upstream.a", fleet=True)
        await until(a, "killed by fleet", "upstream.a")
        assert "on by default" == shown(a)
    async with machine("c", requires=("cache",)) as c:
        assert "on by default" == shown(c)
        assert "killed by fleet" == shown(c, "upstream.a")


async def test_a_kill_is_made_though_it_cannot_be_taken_up_where_it_is_asked_for(
    machine: Machine,
) -> None:
    """It holds for others, as one of a machine does."""
    async with machine("a", requires=("cache",)) as a, machine("b") as b:
        with pytest.raises(ConfigError, match="needs"):
            await flags_of(a).kill("cache", fleet=True)
        await until(b, "killed by fleet")


async def test_a_kill_that_could_not_be_taken_up_is_taken_up_as_soon_as_it_can_be(
    machine: Machine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine("a") as a, machine("b") as b:
        with monkeypatch.context() as patched:
            patched.setattr(Lifecycle, "replace", fail_to_replace)
            with pytest.raises(ConfigError, match="not now"):
                await flags_of(a).kill("cache", fleet=True)
            await settle()
            assert ["on by default"] * 2 == [shown(a), shown(b)]
            [entry] = await context_of(b).journal.read()
            assert "kill cache, for the fleet" == entry.what
        await clock.advance(INTERVAL)
        await until(a, "killed by fleet")
        await until(b, "killed by fleet")


async def fail_to_replace(*_: object) -> None:
    msg = "not now"
    raise ConfigError(msg)


async def test_a_flag_that_does_not_exist_and_a_store_of_one_process_are_refused(
    machine: Machine,
) -> None:
    async with machine("a") as a:
        with pytest.raises(ConfigError, match="did you mean 'cache'"):
            await flags_of(a).set("cach", "off", fleet=True)
        with pytest.raises(ConfigError, match="without a reason; say what was seen"):
            await a.roll_back("cache", "", fleet=True)
    async with machine("b", shared="memory://") as b:
        with pytest.raises(ConfigError, match="memory:// is shared with nobody"):
            await flags_of(b).kill("cache", fleet=True)
        assert "" == flags_of(b).stale


async def test_no_task_and_no_timer_is_left_behind(machine: Machine, clock: FakeClock) -> None:
    before, tasks = clock.pending, asyncio.all_tasks()
    async with machine("a") as a:
        await flags_of(a).kill("cache", fleet=True)
        await remembered(a)
        assert [] == engine_of(a).tasks.names
    assert tasks == asyncio.all_tasks()
    assert before == clock.pending
