"""How properties are tried: the same way each time, or, in ``make soak``, ever new ways."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from argo_mw.base import secret

_REPRODUCIBLE = settings.get_profile("ci")
settings.register_profile("explore", _REPRODUCIBLE, derandomize=False, max_examples=1_000)
settings.load_profile("ci")


# Programs that tests start ignore what is ignored here: SIGHUP under nohup, SIGINT in the
# background of a shell.
if threading.current_thread() is threading.main_thread():
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

_directories = itertools.count()

# Tables are as wide as their columns: processes that run tests are given a size of no terminal.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True, scope="session")
def _state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no fixture read the flags that are set on this machine, or leave something there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        yield


@pytest.fixture(autouse=True)
def _state_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Let no test read what another has left."""
    directory = tmp_path_factory.getbasetemp() / f"state-{next(_directories)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(directory))


@pytest.fixture(autouse=True)
def _the_log_is_configured_by_nobody() -> Iterator[None]:
    """Take back what a command has set up, or the log of later tests follows it."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
    logging.getLogger("argo_mw").setLevel(logging.NOTSET)
    root = logging.getLogger()
    for handler in [one for one in root.handlers if one.get_name() == "argo-mw"]:
        root.removeHandler(handler)


@pytest.fixture(autouse=True, scope="module")
def _secrets_end_with_their_module() -> Iterator[None]:
    """Forget the secrets of a module, or its words would be struck out of others' messages."""
    yield
    secret._known = secret._KnownSecrets()
