"""The hook with which other plugins add voices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from argo_mw.plugin import hookspec


@hookspec
def register_voices() -> Iterable[Mapping[str, object]]:  # type: ignore[empty-body]
    """Voices to hear in every signal, each a mapping with the keys

    ``name``
        Its name, unique among the voices.
    ``operation``
        The operation that is asked, with the parameter ``symbol``.
    ``window``
        Whether it is also asked with the signal's ``timeframe`` and ``days``; optional,
        by default not.
    ``parameters``
        Further parameters for it; optional.
    ``weight``
        How much it counts beside the built-in voices, which weigh about 1; optional.

    The operation's answer is a mapping, or any value with attributes, of ``score`` from -1 (sell)
    to 1 (buy), ``confidence`` from 0 to 1, and ``reason``, one line. A voice that fails, or is not
    there in time, is named in the signal and lowers its confidence.

    Implement it with ``@hookimpl(optionalhook=True)``, so that the plugin also works where no
    signals are installed.
    """
