"""Answers live until the bar that they belong to has closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from argo_mw.plugin import hookimpl
from argo_mw_adaptive_ttl import Phase, PolicyFactory, Situation, TtlDecision
from attrs import field, frozen, validators

NAME = "bar_close"


@frozen
class Config:
    """The table ``[plugins.bar_close]``.

    Attributes:
        bar: Seconds from one close to the next, counted from midnight UTC.
        settle: Seconds after a close until vendors have the new bar.
        closed: Seconds that an answer lives while the symbol's market is not open.
    """

    bar: float = field(default=60.0, validator=validators.gt(0))
    settle: float = field(default=2.0, validator=validators.ge(0))
    closed: float = field(default=600.0, validator=validators.gt(0))


class BarClose:
    """Decides that answers live until the next bar is there.

    Args:
        config: Returns the current configuration.
    """

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config

    def decide(self, situation: Situation) -> TtlDecision:
        """Decide how long a fresh answer lives."""
        config = self._config()
        if situation.phase is not Phase.OPEN:
            return TtlDecision(config.closed, lambda: "the market is not open")
        into_bar = (situation.now - config.settle) % config.bar
        return TtlDecision(config.bar - into_bar, lambda: "until the bar has closed")


class Plugin:
    """What the plugin registers."""

    def __init__(self) -> None:
        self._config = Config()

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the plugin's table."""
        return Config

    @hookimpl
    async def startup(self, config: Config) -> None:
        """Take up the configuration."""
        self._config = config

    @hookimpl
    async def config_changed(self, config: Config) -> None:
        """Take up the new configuration."""
        self._config = config

    @hookimpl(optionalhook=True)
    def register_ttl_policies(self) -> Mapping[str, PolicyFactory]:
        """Return the policy by its name, for ``policy`` in ``[plugins.adaptive_ttl]``."""
        return {NAME: lambda stats, context: BarClose(lambda: self._config)}
