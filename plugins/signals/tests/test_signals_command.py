"""``argo-mw signals``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import structlog
from click.testing import CliRunner, Result
from rich.console import Console

from argo_mw import Argo, Outcome, Settings, UpstreamError
from argo_mw.cli.main import cli
from argo_mw.plugin import Context, OpenSpread, Spread, hookimpl, operation
from argo_mw.registry import discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_signals import SignalsPlugin, commands
from argo_mw_signals.commands import show, signals
from argo_mw_signals.display import age_text
from argo_mw_signals.rounds import in_sessions, repeat
from argo_mw_signals.universe import read_universe


@operation(subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> object: ...


@operation(data_type="sentiment", subject="symbol")
def news(symbol: str, *, days: int = 3) -> object: ...


def answer(call) -> object:
    if call.subject == "BAD":
        return UpstreamError("BAD is not listed: check the symbol", upstream="exchange")
    if call.operation.name == "news":
        return ()
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.01, 0.01, 62)))
    index = pd.date_range("2025-04-01", periods=62, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close * 1.01, "low": close * 0.98, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


def exchange() -> FakePlugin:
    return FakePlugin(
        operations=[bars, news], upstreams=[Scripted("exchange", ["bars", "news"], answer)]
    )


class FakeEntry:
    def __init__(self, plugin: object) -> None:
        self.load = lambda: plugin


@pytest.fixture(autouse=True)
def _private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "argo.toml").write_text('[argo]\nshared = "memory://"\n')


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Run ``argo-mw`` with only the signals and an exchange installed."""
    makers = {"exchange": exchange, "signals": SignalsPlugin}

    def discover() -> list[InstalledPlugin]:
        # Its command is found by the distribution that it is installed from.
        distribution = f"argo-mw-signals {version('argo-mw-signals')}"
        return [InstalledPlugin(n, FakeEntry(make()), distribution) for n, make in makers.items()]  # type: ignore[arg-type]

    monkeypatch.setattr(discovery, "discover", discover)

    def run_(*arguments: str, text: str = "") -> Result:
        return CliRunner().invoke(cli, ("signals", *arguments), input=text)

    yield run_
    structlog.reset_defaults()


def test_symbols_need_no_command(run) -> None:
    result = run("AAPL", "MSFT")
    assert result.exit_code == 0
    rows = [line.split()[:2] for line in result.stdout.splitlines() if "BUY" in line]
    assert rows == [["AAPL", "BUY"], ["MSFT", "BUY"]]
    assert run("show", "AAPL", "MSFT").stdout == result.stdout


class Elsewhere:
    """A plugin that spreads work over this process alone, by halves."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    @hookimpl
    def register_spreads(self, context: Context) -> Mapping[str, OpenSpread]:
        @asynccontextmanager
        async def opened(on: str, settings: Settings) -> AsyncIterator[Spread]:
            yield self

        self._context = context
        return {"elsewhere": opened}

    async def map(
        self, name: str, symbols: Sequence[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        async with self.each(name, symbols, **parameters) as answers:
            found = {symbol: answer async for symbol, answer in answers}
        return {symbol: found[symbol] for symbol in symbols}

    @asynccontextmanager
    async def each(
        self, name: str, symbols: Sequence[str], /, **parameters: object
    ) -> AsyncIterator[AsyncIterator[tuple[str, Outcome | Exception]]]:
        self.asked.append(tuple(symbols))

        async def answers() -> AsyncIterator[tuple[str, Outcome | Exception]]:
            for symbol in reversed(symbols):
                call = self._context.make_call(name, "t", {"symbol": symbol, **parameters})
                refresh = self._context.refresh(call)
                assert refresh is not None
                try:
                    yield symbol, await refresh.wait()
                except UpstreamError as error:
                    yield symbol, error

        yield answers()


@pytest.fixture
def elsewhere(run, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    made, before = Elsewhere(), discovery.discover
    entry = InstalledPlugin("elsewhere", FakeEntry(made), "elsewhere 1")  # type: ignore[arg-type]
    monkeypatch.setattr(discovery, "discover", lambda: [*before(), entry])
    return made


def test_symbols_are_spread_on_what_is_named(run, elsewhere: Elsewhere, tmp_path: Path) -> None:
    (tmp_path / "universe.txt").write_text("AAPL\nMSFT\nBAD\n")
    arguments = ("--universe", "universe.txt", "--json", "--on", "elsewhere:4")
    result = run(*arguments)
    assert [("AAPL", "MSFT", "BAD")] == elsewhere.asked
    assert 3 == result.exit_code
    assert ["AAPL", "MSFT"] == [one["symbol"] for one in json.loads(result.stdout)]
    assert "BAD is not listed" in result.stderr
    watched = run(*arguments, "--watch", "--rounds", "2", "--every", "0.001")
    assert 4 == len(watched.stdout.splitlines())
    assert 3 == len(elsewhere.asked)


def test_a_terminal_shows_how_many_have_come(
    run, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "console", lambda **_: Console(force_terminal=True))
    result = run("AAPL", "MSFT", "--on", "elsewhere:4")
    assert 0 == result.exit_code
    assert "MSFT" in result.stdout


def test_what_spreads_nothing_is_one_line(run) -> None:
    result = run("AAPL", "--on", "local:4")
    assert 1 == result.exit_code
    assert "install argo-mw-fleet" in result.stderr


def test_options_may_come_first(run) -> None:
    told = json.loads(run("--json", "AAPL").stdout)
    assert [one["symbol"] for one in told] == ["AAPL"]


def test_json_holds_all_that_is_known(run) -> None:
    (signal,) = json.loads(run("AAPL", "--json").stdout)
    assert signal["action"] == "BUY"
    assert 0 < signal["confidence"] <= 1
    assert signal["price"] > 0
    assert signal["as_of"].endswith("+00:00")
    assert signal["age_s"] >= 0
    assert {c["voice"] for c in signal["contributions"]} >= {"trend", "volume"}
    assert all(c["reason"] for c in signal["contributions"])
    assert signal["missing"] == []


def test_some_symbols_without_a_signal_are_exit_code_3(run) -> None:
    result = run("AAPL", "BAD", "--json")
    assert result.exit_code == 3
    assert [one["symbol"] for one in json.loads(result.stdout)] == ["AAPL"]
    assert result.stderr == "argo-mw: BAD: BAD is not listed: check the symbol\n"
    table = run("AAPL", "BAD")
    assert table.exit_code == 3
    assert "check the symbol" in " ".join(table.stdout.split())


def test_no_signal_at_all_is_one_line_for_each_and_exit_code_1(run) -> None:
    result = run("BAD")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "argo-mw: BAD: BAD is not listed: check the symbol\n"


@pytest.mark.parametrize("arguments", [("show",), ("--json",)])
def test_no_symbol_is_wrong_usage(run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--universe" in result.stderr


def test_help_is_that_of_the_group(run) -> None:
    assert "show" in run("--help").stdout
    assert "--universe" in run("show", "--help").stdout


def test_a_universe_is_read_from_a_file_and_from_standard_input(run, tmp_path: Path) -> None:
    listed = "AAPL, MSFT # large\n\n# a comment\nIBM AAPL\n"
    (tmp_path / "universe.txt").write_text(listed)
    by_file = json.loads(run("--universe", "universe.txt", "FB", "--json").stdout)
    assert [one["symbol"] for one in by_file] == ["FB", "AAPL", "MSFT", "IBM"]
    by_input = json.loads(run("--universe", "-", "--json", text=listed).stdout)
    assert [one["symbol"] for one in by_input] == ["AAPL", "MSFT", "IBM"]


def test_a_symbol_that_is_spelt_twice_is_asked_once(run, elsewhere: Elsewhere) -> None:
    run("aapl", "AAPL", "msft", "--on", "elsewhere:4")
    assert [("AAPL", "MSFT")] == elsewhere.asked


def test_an_empty_universe_is_one_line(run, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    result = run("--universe", "empty.txt")
    assert result.exit_code == 1
    assert result.stderr == "argo-mw: empty.txt names no symbols; write them one to a line\n"


def test_a_universe_may_begin_with_a_byte_order_mark_and_must_be_text(run, tmp_path: Path) -> None:
    (tmp_path / "marked").write_text("\ufeffAAPL\n", "utf-8")
    assert run("--universe", "marked").exit_code == 0
    (tmp_path / "picture").write_bytes(bytes(range(256)))
    result = run("--universe", "picture")
    assert result.exit_code == 1
    assert result.output == (
        "argo-mw: picture is not text in UTF-8; write the symbols one to a line\n"
    )


def test_a_universe_that_is_not_there_is_wrong_usage(run) -> None:
    result = run("--universe", "nowhere.txt")
    assert result.exit_code == 2
    assert "nowhere.txt" in result.stderr


def test_universe_lines_may_hold_several_symbols() -> None:
    assert read_universe(["A B", "C,D,,A"], name="x") == ["A", "B", "C", "D"]


def test_a_watch_prints_every_round(run) -> None:
    result = run("AAPL", "--watch", "--rounds", "2", "--every", "0.001", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["symbol"] for line in result.stdout.splitlines()] == ["AAPL", "AAPL"]
    table = run("AAPL", "--watch", "--rounds", "2", "--every", "0.001")
    assert table.exit_code == 0
    assert [line.split()[0] for line in table.stdout.splitlines()] == ["symbol", "AAPL"] * 2


@pytest.mark.parametrize(("symbols", "code"), [(("AAPL", "BAD"), 3), (("BAD",), 1)])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_last_round_of_a_watch_decides_its_exit_code(
    run, symbols: tuple[str, ...], code: int, form: tuple[str, ...]
) -> None:
    result = run(*symbols, "--watch", "--rounds", "1", *form)
    assert code == result.exit_code
    assert "BAD is not listed" in result.output


def test_a_watch_on_a_terminal_draws_over_its_last_table(run, monkeypatch) -> None:
    monkeypatch.setattr(commands, "console", lambda: Console(force_terminal=True))
    result = run("AAPL", "--watch", "--rounds", "2", "--every", "0.001")
    assert result.exit_code == 0
    assert "\x1b[1A" in result.stdout


def opened(clock: FakeClock) -> Argo:
    plugins = {"exchange": exchange(), "signals": SignalsPlugin()}
    config = {"argo": {"shared": "memory://", "strict": True}}
    return Argo.open(config, plugins=plugins, installed=False, clock=clock)


async def test_rounds_begin_every_so_many_seconds() -> None:
    clock = FakeClock()
    began: list[float] = []
    async with opened(clock) as argo:

        async def watch() -> None:
            async for answers in repeat(argo, ["AAPL"], {}, every=15.0, rounds=3):
                assert isinstance(answers["AAPL"], Outcome)
                began.append(clock.monotonic())

        watching = asyncio.create_task(watch())
        for _ in range(2):
            await clock.advance(15.0)
        await watching
    assert np.diff(began).tolist() == [15.0, 15.0]


class Exchange:
    """A spread whose rounds are due every so many seconds while its exchange trades."""

    def __init__(self, clock: FakeClock, sessions: Sequence[tuple[float, float]]) -> None:
        self._clock = clock
        self._sessions = sessions
        self.takes = [0.0]
        self.began: list[float] = []

    async def map(self, name: str, symbols: Sequence[str], /, **parameters: object):
        self.began.append(self._clock.time())
        await self._clock.sleep(self.takes.pop(0) if self.takes else 0.0)
        return {symbol: Outcome(name) for symbol in symbols}

    async def next_round(self, moment: float, /, *, every: float, calendar: str = "") -> float:
        assert "XNYS" == calendar
        for begins, ends in self._sessions:
            due = begins
            while due <= ends:
                if due > moment:
                    return due
                due += every
        raise AssertionError


async def watch_exchange(exchange: Exchange, clock: FakeClock, rounds: int) -> None:
    async with opened(clock) as argo:
        options = {"every": 10.0, "rounds": rounds, "asker": exchange, "calendar": "XNYS"}

        async def watch() -> None:
            async for answers in in_sessions(argo, ["AAPL"], {}, **options):
                assert Outcome("signal") == answers["AAPL"]

        watching = asyncio.create_task(watch())
        async with asyncio.timeout(20):
            while not watching.done():
                await clock.advance(1.0)
        await watching


async def test_rounds_by_a_calendar_are_asked_while_the_exchange_trades(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = FakeClock(wall=1_000.0)
    exchange = Exchange(clock, [(1_030.0, 1_050.0), (1_500.0, 1_600.0)])
    await watch_exchange(exchange, clock, rounds=4)
    due = [1_030.0, 1_040.0, 1_050.0, 1_500.0]
    late = [began - moment for began, moment in zip(exchange.began, due, strict=True)]
    assert all(0 <= seconds < 10 for seconds in late)
    assert "XNYS does not trade; the next round is due at 1970-01-01T00:25:00" in (
        capsys.readouterr().err
    )


async def test_rounds_that_fall_behind_are_left_out_and_say_so() -> None:
    clock = FakeClock(wall=1_000.0)
    exchange = Exchange(clock, [(1_010.0, 2_000.0)])
    exchange.takes = [35.0]
    with structlog.testing.capture_logs() as logs:
        await watch_exchange(exchange, clock, rounds=2)
    assert exchange.began[1] - exchange.began[0] >= 40
    assert any("they fall behind: one over 1 symbols took" in str(entry) for entry in logs)


def test_a_calendar_without_a_spread_is_refused(run) -> None:
    result = run("AAPL", "--watch", "--calendar", "XNYS")
    assert 2 == result.exit_code
    assert "--calendar needs --watch, and --on" in result.stderr


async def test_an_interrupt_ends_a_watch_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    command = show.callback
    assert command is not None
    async with opened(clock) as argo:
        options = {"timeframe": "1Day", "days": 90, "as_json": False, "every": 15.0}
        watching = asyncio.create_task(
            command.__wrapped__(argo, ("AAPL",), None, watch=True, rounds=None, **options)
        )
        await clock.advance(15.0)
        watching.cancel()
        assert await watching is None
    assert "AAPL" in capsys.readouterr().out


def test_the_group_holds_every_command() -> None:
    own = {"show", "latest", "history", "close", "performance", "export", "import"}
    assert own == set(signals.commands)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (90, "90 s"), (150, "2 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_ages_are_told_in_fitting_units(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
