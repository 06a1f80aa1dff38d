"""Files are watched by default: what changes in them is taken up by every process that runs."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from attrs import evolve

from argo_mw import Argo, Outcome
from argo_mw.app import config_watcher
from argo_mw.app.application import engine_of
from argo_mw.app.config_watcher import ConfigWatcher
from argo_mw.base.tasks import Tasks
from argo_mw.flags import Rule
from argo_mw.flags.overlay import Overlay
from argo_mw.plugin import Call, Layer, Next, Reconfigured, context_of, hookimpl, observe
from argo_mw.testing import FakeClock, FakePlugin, Scripted

from .conftest import bars

MOST = 60.0
"""Seconds that a busy machine may take for what takes a fraction of one."""


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_watcher, "INTERVAL", 0.005)


class Noted:
    """A place that notes what is taken up, and that it can be made to wait or fail at."""

    def __init__(self) -> None:
        self.times = 0
        self.at_once = self.most_at_once = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.noted = asyncio.Event()

    async def __call__(self) -> None:
        self.times += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.noted.set()
        await self.gate.wait()
        self.at_once -= 1
        if self.fails:
            raise RuntimeError

    async def once_more(self) -> None:
        """Return when something was taken up since this was last awaited."""
        async with asyncio.timeout(MOST):
            await self.noted.wait()
        self.noted.clear()


@pytest.fixture
async def noted() -> Noted:
    return Noted()


@pytest.fixture
async def watcher(noted: Noted, looks_often: None) -> AsyncIterator[ConfigWatcher]:
    tasks = Tasks()
    watching = ConfigWatcher(noted, tasks)
    yield watching
    await watching.aclose()
    await tasks.aclose()


def write(file: Path) -> None:
    file.write_text("another")


def replace(file: Path) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text("1 + 1")
    fresh.replace(file)


def keep_times(file: Path) -> None:
    """Change a file of which size and times stay as they are."""
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [write, replace, keep_times, Path.unlink])
async def test_every_change_of_a_file_is_noticed(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    watcher.start([tmp_path / "other", file])
    change(file)
    await noted.once_more()
    file.write_text("a third time")
    await noted.once_more()


async def test_a_file_is_taken_up_once_it_has_been_written(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file that changes all the time does not stand in the way of another."""
    looked = itertools.count()
    changing, other = tmp_path / "changing", tmp_path / "other"
    written: list[str] = []

    def digest(file: Path) -> bytes | None:
        if file == other:
            return file.read_bytes()
        return str(next(looked)).encode() if len(written) < 2 else b"written"

    monkeypatch.setattr(config_watcher, "_digest", digest)
    other.write_text("one")
    watcher.start([changing, other])
    first = watcher._known[changing]
    other.write_text("two")
    await noted.once_more()
    assert first == watcher._known[changing]
    written += ["all", "of it"]
    await noted.once_more()
    assert {changing: b"written", other: b"two"} == watcher._known


async def test_a_file_and_a_folder_that_are_made_later_are_noticed(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "file"
    watcher.start([file])
    file.parent.mkdir()
    file.write_text("one")
    await noted.once_more()


async def test_what_changes_while_a_change_is_taken_up_is_taken_up_afterwards(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    noted.gate.clear()
    watcher.start([file])
    for text in ("one", "two", "three"):
        file.write_text(text)
        while watcher._known != {file: config_watcher._digest(file)}:
            await asyncio.sleep(0)
    await noted.once_more()
    noted.gate.set()
    await noted.once_more()
    assert 1 == noted.most_at_once


async def test_a_change_that_cannot_be_taken_up_is_logged_and_the_next_one_noticed(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    noted.fails = True
    watcher.start([file])
    for text in ("one", "two"):
        file.write_text(text)
        await noted.once_more()


async def test_a_change_that_could_not_be_taken_up_is_tried_again(
    watcher: ConfigWatcher,
    noted: Noted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may have failed for a moment only, and be the kill of a flag."""
    monkeypatch.setattr(config_watcher, "RETRY", 0.0)
    file = tmp_path / "file"
    noted.fails = True
    watcher.start([file])
    file.write_text("one")
    for _ in range(3):
        await noted.once_more()
    noted.fails = False
    times = noted.times
    await noted.once_more()
    while watcher._again_at is not None or noted.at_once:
        await asyncio.sleep(0)
    assert noted.times >= times + 1
    assert 1 == caplog.text.count("the new configuration is refused")


async def test_nothing_is_taken_up_of_a_file_that_was_only_touched(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path
) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("one")
    watcher.start([file, other])
    file.touch()
    replaced = file.with_suffix(".new")
    replaced.write_text("one")
    replaced.replace(file)
    other.write_text("last")
    await noted.once_more()
    assert 1 == noted.times


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "argo-mw:watch"]


async def test_the_thread_ends_with_the_watcher(
    watcher: ConfigWatcher, noted: Noted, tmp_path: Path
) -> None:
    watcher.start([tmp_path / "file"])
    [thread] = watching()
    for _ in range(2):
        await watcher.aclose()
    thread.join(MOST)
    assert [] == watching()
    (tmp_path / "file").write_text("too late")
    assert 0 == noted.times


def test_the_thread_ends_where_a_loop_is_closed_before_its_application(
    noted: Noted, looks_often: None, tmp_path: Path
) -> None:
    async def begin() -> None:
        ConfigWatcher(noted, Tasks()).start([tmp_path / "file"])

    asyncio.run(begin())
    [thread] = watching()
    (tmp_path / "file").write_text("changed")
    thread.join(MOST)
    assert [] == watching()


def test_a_change_is_noticed_within_a_second() -> None:
    assert config_watcher.INTERVAL <= 0.5


# -- Applications ----------------------------------------------------------------------------------


async def through(call: Call, call_next: Next) -> Outcome:
    return (await call_next(call)).shaped_by("cache")


def open_argo(config: object, *, clock: FakeClock | None = None, **more: object) -> Argo:
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"])])
    layer = FakePlugin(layer=Layer("cache", through, slot="cache"))
    plugins = {"cache": layer, "asked": asked, **more}
    return Argo.open(config, clock=clock, plugins=plugins, installed=False)  # type: ignore[arg-type]


async def until_off(argo: Argo) -> None:
    """Return when the cache's flag is off in *argo*."""
    reconfigured = asyncio.Event()
    observe(argo, lambda event: reconfigured.set() if isinstance(event, Reconfigured) else None)
    async with asyncio.timeout(MOST):
        while not engine_of(argo).pipeline.flags["cache"].rule.idle:
            await reconfigured.wait()
            reconfigured.clear()


def kill(rule: Rule | None) -> Rule:
    return evolve(rule or Rule(), killed=True)


@pytest.mark.parametrize("clock", [None, FakeClock()])
async def test_a_flag_killed_elsewhere_is_off_without_any_configuration(
    clock: FakeClock | None, looks_often: None
) -> None:
    """Nor does time have to pass by the application's clock."""
    async with open_argo({"argo": {"shared": "memory://"}}, clock=clock) as argo:
        assert ("cache",) == (await argo.outcome("bars", symbol="A")).via
        Overlay(context_of(argo).state_dir).update("cache", kill)
        await until_off(argo)
        assert () == (await argo.outcome("bars", symbol="A")).via


async def test_a_flag_killed_while_plugins_start_is_off_once_they_have(looks_often: None) -> None:
    class Starting:
        @hookimpl
        async def startup(self, context: object) -> None:
            Overlay(context.state_dir).update("cache", kill)  # type: ignore[attr-defined]

    async with open_argo({"argo": {"shared": "memory://"}}, starting=Starting()) as argo:
        await until_off(argo)


@pytest.mark.parametrize("text", ["[argo", '[flags]\nnothing = "on"\n', "[argo]\nwrong = 1\n"])
async def test_a_flag_is_killed_whatever_is_wrong_with_the_file(
    text: str, tmp_path: Path, looks_often: None
) -> None:
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\n')
    async with open_argo(file) as argo:
        before = argo.settings
        file.write_text(text)
        Overlay(context_of(argo).state_dir).update("cache", kill)
        await until_off(argo)
        assert before == argo.settings


async def test_a_file_that_is_removed_changes_nothing(tmp_path: Path, looks_often: None) -> None:
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\ntenant = "own"\n')
    async with open_argo(file) as argo:
        before = argo.settings
        file.unlink()
        Overlay(context_of(argo).state_dir).update("cache", kill)
        await until_off(argo)
        assert before == argo.settings


async def test_files_are_followed_though_the_program_changes_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_often: None
) -> None:
    """Their names are relative to where the application was made."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.delenv("ARGO_MW_STATE_DIR")
    monkeypatch.chdir(home)
    text = '[argo]\nshared = "memory://"\nstate_dir = "state"\n'
    (home / "argo.toml").write_text(text)
    async with open_argo("argo.toml") as argo:
        monkeypatch.chdir(elsewhere)
        (home / "argo.toml").write_text(f'{text}tenant = "another"\n')
        Overlay(home / "state").update("cache", kill)
        await until_off(argo)
        async with asyncio.timeout(MOST):
            while "another" != argo.settings.argo.tenant:
                await asyncio.sleep(0.001)
        assert "argo.toml" == argo.settings.source
        assert home / "state" == context_of(argo).state_dir
        assert [] == [*elsewhere.iterdir()]


async def test_a_relative_state_directory_of_the_environment_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_often: None
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", f"state-of-{tmp_path.name}")
    async with open_argo({"argo": {"shared": "memory://"}}) as argo:
        monkeypatch.chdir("elsewhere")
        Overlay(tmp_path / f"state-of-{tmp_path.name}").update("cache", kill)
        await until_off(argo)


async def test_what_the_program_takes_up_itself_is_not_taken_up_again() -> None:
    async with open_argo({"argo": {"shared": "memory://", "watch": False}}) as argo:
        events: list[object] = []
        observe(
            argo, lambda event: events.append(event) if isinstance(event, Reconfigured) else None
        )
        await argo.roll_back("cache", "why")
        await argo._follower._take_up()
        assert 1 == len(events)


async def test_with_watch_off_flags_are_followed_and_the_file_is_not(
    tmp_path: Path, looks_often: None
) -> None:
    """A layer that does harm is switched off in every program."""
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\nwatch = false\n')
    async with open_argo(file) as argo:
        before = argo.settings
        file.write_text('[argo]\nshared = "memory://"\nwatch = false\ntenant = "other"\n')
        Overlay(context_of(argo).state_dir).update("cache", kill)
        await until_off(argo)
        assert before == argo.settings


async def test_no_task_and_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    for _ in range(3):
        async with open_argo({"argo": {"shared": "memory://"}}) as argo:
            assert [] == engine_of(argo).tasks.names
            assert 1 == len(watching())
    assert [] == watching()
    assert before == asyncio.all_tasks()


PROGRAM = """
import asyncio
from argo_mw import Argo
from argo_mw.app.application import engine_of

async def main():
    async with Argo.open() as argo:
        print("open", flush=True)
        while not engine_of(argo).pipeline.flags["coalesce"].rule.killed:
            await asyncio.sleep(0.01)
        print("killed", flush=True)

asyncio.run(main())
"""


def test_the_command_reaches_every_process_of_the_machine(tmp_path: Path) -> None:
    """With no file, and no configuration at all."""
    pytest.importorskip("argo_mw_coalesce")
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for program in programs:
            assert program.stdout is not None
            assert "open\n" == program.stdout.readline()
        command = [sys.executable, "-m", "argo_mw", "flags", "kill", "coalesce"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert ["killed\n"] * 2 == [program.communicate(timeout=MOST)[0] for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.wait()
