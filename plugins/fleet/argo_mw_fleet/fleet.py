"""The fleet as programs see it: ask an operation about many subjects, in many processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Final, Unpack

from argo_mw import Options
from argo_mw.plugin import (
    AnyOperation,
    Argo,
    BadParameter,
    ConfigError,
    Context,
    Outcome,
    Settings,
    config_of,
    context_of,
)
from argo_mw_fleet.asking import Answers, Asking, Question
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.engine import Engine, WorkerNow
from argo_mw_fleet.reach import reach
from argo_mw_fleet.rounds import Round, rounds
from argo_mw_fleet.schedule import Schedule

MAX_LOCAL: Final = 256

_GIVEN: Final = "the given configuration"


class Fleet:
    """Asks operations about many subjects, each at the worker that knows it.

    A subject goes to the same worker whenever the same workers are there, so that its kept answers,
    flights and learned volatility are there too. Open one with :func:`open_fleet`.

    Args:
        engine: What runs the workers.
        context: The context of the program's own application, whose codecs and operations are used.
        settings: Its settings, whose tenant asks.
    """

    def __init__(self, engine: Engine, context: Context, settings: Settings) -> None:
        self._engine = engine
        self._context = context
        self._tenant = settings.argo.tenant
        self._options: tuple[Options, ...] = ()

    def options(self, **options: Unpack[Options]) -> Fleet:
        """Return a fleet with other options for its calls, as :meth:`argo_mw.Caller.options`.

        Raises:
            BadParameter: There is no such option.
        """
        unknown = sorted(options.keys() - Options.__optional_keys__)
        if unknown:
            known = ", ".join(sorted(Options.__optional_keys__))
            msg = f"a call has no option {unknown[0]!r}: there are {known}"
            raise BadParameter(msg)
        other = object.__new__(Fleet)
        other._engine = self._engine
        other._context = self._context
        other._tenant = self._tenant
        other._options = (*self._options, options)
        return other

    async def map(
        self, operation: str | AnyOperation, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """Return the outcome or the error of *operation* for each of *subjects*.

        As :meth:`argo_mw.Caller.map`; when the caller leaves, workers end what it asked.

        Args:
            operation: What is asked.
            subjects: What it is asked about.
            parameters: Its other parameters.

        Raises:
            UnknownOperation: No plugin that is installed here offers it.
            ScopeConflict: As for :meth:`argo_mw.Caller.call`.
            BadParameter: The operation is about no subject, or *subjects* are not texts.
            NotEncodable: A parameter cannot be sent.
            FleetUnavailable: The scheduler cannot be reached, or there are no workers.
        """
        unique = _unique(subjects)
        async with self.each(operation, unique, **parameters) as answers:
            found = {subject: answer async for subject, answer in answers}
        return {subject: found[subject] for subject in unique}

    @contextlib.asynccontextmanager
    async def each(
        self, operation: str | AnyOperation, subjects: Iterable[str], /, **parameters: object
    ) -> AsyncIterator[Answers]:
        """Ask *operation* about *subjects*, for a block that takes the answers as they come.

        ``async for subject, answer in answers``, each an outcome or an error. Workers end what is
        under way when the block is left.

        Args:
            operation: What is asked.
            subjects: What it is asked about.
            parameters: Its other parameters.

        Raises:
            UnknownOperation: No plugin that is installed here offers it.
            ScopeConflict: As for :meth:`argo_mw.Caller.call`.
            BadParameter: The operation is about no subject, or *subjects* are not texts.
            NotEncodable: A parameter cannot be sent.
            FleetUnavailable: While answers are taken: the scheduler cannot be reached, or there
                are no workers.
        """
        name = operation if isinstance(operation, str) else operation.name
        if not self._context.operation(name).subject:
            msg = f"{name} has no subject to map over; call it once for each parameter"
            raise BadParameter(msg)
        unique = _unique(subjects)
        answers = Answers(len(unique))
        question = Question(name, parameters, self._options_of(name))
        question.check(self._context.codecs)
        asking = Asking(self._engine, self._context.codecs, question, answers)
        task = asyncio.create_task(asking.run(unique), name=f"argo-mw:fleet:{name}")
        try:
            yield answers
        finally:
            task.cancel()
            await _ended(task)

    async def rounds(
        self,
        operation: str | AnyOperation,
        subjects: Iterable[str],
        schedule: Schedule,
        /,
        **parameters: object,
    ) -> AsyncIterator[Round]:
        """Ask *operation* about *subjects* whenever a round is due, one round after the other.

        A round that is due while another is under way is left out: the next one says how many
        were, and that rounds fall behind is reported once. ``async for one in fleet.rounds(…)``
        goes on until the loop is left.

        Args:
            operation: What is asked.
            subjects: What it is asked about.
            schedule: When rounds are due.
            parameters: The operation's other parameters.

        Raises:
            ConfigError: The schedule's calendar is not known.
            FleetUnavailable: As for :meth:`map`, which each round is one of.
        """
        unique = _unique(subjects)
        going = rounds(self, self._context, operation, unique, schedule, parameters)
        async with contextlib.aclosing(going):
            async for one in going:
                yield one

    async def next_round(self, moment: float, /, *, every: float, calendar: str = "") -> float:
        """Return when the first round behind *moment* is due, both in seconds since the epoch.

        Args:
            moment: The moment, in seconds since the epoch.
            every: Seconds between two rounds.
            calendar: The exchange whose sessions rounds are in, as ``XNYS``; "" for rounds around
                the clock.

        Raises:
            ConfigError: There is no such calendar, or it has no session soon.
            BadParameter: Rounds are not that often.
        """
        try:
            schedule = Schedule(every, calendar)
        except ValueError as error:
            msg = f"rounds every {every:g} s cannot be asked; let a tenth of a second lie between"
            raise BadParameter(msg) from error
        return await asyncio.to_thread(schedule.next_after, moment)

    def _options_of(self, operation: str) -> tuple[Options, ...]:
        """Return the options for *operation*: an upstream asks it for the tenant that it answers.

        Raises:
            ScopeConflict: The upstream answers a public operation.
        """
        tenant = self._context.tenant_here(operation) or self._tenant
        return ({"tenant": tenant}, *self._options)

    async def workers(self) -> Mapping[str, WorkerNow]:
        """Return the workers that are there now, by name.

        Raises:
            FleetUnavailable: The scheduler cannot be reached.
        """
        return await self._engine.workers()


@contextlib.asynccontextmanager
async def open_fleet(argo: Argo, on: str) -> AsyncIterator[Fleet]:
    """Open the fleet *on* ``dask://HOST:PORT``, or on ``local:N``: N processes of this machine.

    Local workers read the configuration file that *argo* was opened with, and end with the block;
    those of a scheduler were started by ``argo-mw fleet worker``, with files of their own.

    Args:
        argo: The program's own application, open: its codecs, operations, tenant and certificates.
        on: Where workers are.

    Raises:
        ConfigError: *on* cannot be read, or is beyond this machine without certificates.
        FleetUnavailable: The scheduler cannot be reached, or local workers did not start.
    """
    config, context = config_of(argo, FleetConfig), context_of(argo)
    async with fleet_at(on, argo.settings, config=config, context=context) as fleet:
        yield fleet


@contextlib.asynccontextmanager
async def fleet_at(
    on: str, settings: Settings, *, config: FleetConfig, context: Context
) -> AsyncIterator[Fleet]:
    """Open the fleet *on*; see :func:`open_fleet`."""
    async with contextlib.AsyncExitStack() as stack:
        if on.startswith("local:"):
            count, file = _local_count(on), _file_of(settings)
            from argo_mw_fleet.local_fleet import local_fleet

            engine: Engine = await stack.enter_async_context(local_fleet(count, config, file))
        else:
            reached = reach(on, config)
            from argo_mw_fleet.dask_engine import connected

            engine = await stack.enter_async_context(connected(reached, config))
        yield Fleet(engine, context, settings)


def _local_count(on: str) -> int:
    text = on.removeprefix("local:").strip("/")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LOCAL:
        msg = f"{on}: write local:N, with N processes from 1 to {MAX_LOCAL}"
        raise ConfigError(msg)
    return int(text)


def _file_of(settings: Settings) -> str | None:
    """Return the file that *settings* were read from, or ``None`` for the defaults.

    Raises:
        ConfigError: They were read from none, so that no other process can read them.
    """
    if settings.source == _GIVEN:
        msg = (
            "local workers read their configuration from a file: open the application with the "
            "path of an argo.toml"
        )
        raise ConfigError(msg)
    file = Path(settings.source)
    return str(file.resolve()) if file.is_file() else None


def _unique(subjects: Iterable[str]) -> list[str]:
    if isinstance(subjects, str):
        msg = f"the subjects of a map are the text {subjects!r}; give a list of them"
        raise BadParameter(msg)
    unique = list(dict.fromkeys(subjects))
    given: list[object] = [*unique]
    others = [one for one in given if not isinstance(one, str)]
    if others:
        msg = f"a subject is {others[0]!r}, which is not text; subjects are placed by their texts"
        raise BadParameter(msg)
    return unique


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for the end of *task*, which was cancelled, also when this is being cancelled."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
