"""SIGTERM, where the program handles it itself or there is no loop to hear it."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from argo_mw.testing import settle
from argo_mw_persist.sigterm import SigtermHandler


async def nothing() -> None: ...


@pytest.fixture
def by_default():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


async def test_what_is_last_runs_once_and_the_signal_goes_on_to_its_end(by_default, monkeypatch):
    ran, sent = [], []
    monkeypatch.setattr("os.kill", lambda process, number: sent.append(number))

    async def last() -> None:
        ran.append(1)

    handler = SigtermHandler(last)
    handler.watch()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    while not sent:
        await asyncio.sleep(0)
    await settle()
    assert (ran, sent) == ([1], [signal.SIGTERM])
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


async def test_the_signal_ends_the_process_though_the_last_work_fails(by_default, monkeypatch):
    sent = []
    monkeypatch.setattr("os.kill", lambda process, number: sent.append(number))

    async def last() -> None:
        raise OSError("disk gone")

    handler = SigtermHandler(last)
    handler.watch()
    signal.raise_signal(signal.SIGTERM)
    while not sent:
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="disk gone"):
        await handler._ending


async def test_a_handler_of_the_programs_own_stays(by_default):
    def own(number, frame) -> None: ...

    signal.signal(signal.SIGTERM, own)
    handler = SigtermHandler(nothing)
    handler.watch()
    assert own is signal.getsignal(signal.SIGTERM)
    handler.unwatch()
    assert own is signal.getsignal(signal.SIGTERM)


async def test_leaving_puts_the_signal_back(by_default):
    handler = SigtermHandler(nothing)
    handler.watch()
    assert signal.SIG_DFL is not signal.getsignal(signal.SIGTERM)
    handler.unwatch()
    handler.unwatch()
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


def test_outside_the_main_thread_nothing_is_touched(by_default):
    async def watch() -> None:
        SigtermHandler(nothing).watch()

    thread = threading.Thread(target=lambda: asyncio.run(watch()))
    thread.start()
    thread.join()
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)
